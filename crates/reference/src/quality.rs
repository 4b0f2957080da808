//! What the integers cost: the exact engine beside the same files in `f64`, on texts.
//!
//! For every position but the last, both are asked for the next token. *Perplexity* is how
//! surprised each is by the text, *agreement* how often both like the same token best, *cosine* how
//! alike all logits are once their means, which softmax ignores, are taken off. *Saturated* counts
//! values of the residual stream that left the range in which sums are sure to be right.

use core::fmt;
use core::ops::Range;

use potluck_engine::engine::{Engine, ForwardError, Input, Output, OutputRequest, SessionError};
use potluck_importer::ImportError;

use crate::decoder::{FloatModel, softmax};

/// What one value of the residual may be, up or down: what `rescale` gives out at most.
const RESIDUAL_MAX: u32 = (1 << 30) - 1;
/// Parts in which the layers are gone through; the residual is looked at after each. Sessions are
/// few, and this takes one a part.
const PARTS: u32 = 8;

/// How the two compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Next tokens that were asked for.
    pub positions: usize,
    /// Of the exact engine.
    pub exact_perplexity: f64,
    /// Of the floats.
    pub float_perplexity: f64,
    /// The part of positions at which both like the same token best.
    pub agreement: f64,
    /// The largest difference of the best token's logit.
    pub worst_top_logit: f64,
    /// The smallest cosine between the logits of a position.
    pub least_cosine: f64,
    /// Values of the residual beyond their range.
    pub saturated: usize,
    /// Bits of the largest value of the residual; 30 are in range.
    pub residual_bits: u32,
}

/// The two could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// The floats' files.
    #[error(transparent)]
    Float(#[from] ImportError),
    /// The engine has no room.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The engine failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// Not the same model.
    #[error("the two are not the same model: {exact} and {float} tokens in their vocabularies")]
    Vocabulary {
        /// The exact model's.
        exact: usize,
        /// The floats'.
        float: usize,
    },
    /// No text with a next token.
    #[error("there is no text of two tokens or more to measure on")]
    NoText,
}

/// Runs both over `texts`; `progress` is called with how many positions are done. The
/// engine must hold all of the model, with `layers` layers, and have no sessions.
///
/// # Errors
/// If either fails, or they are not the same model.
pub async fn measure(
    engine: &mut Engine,
    layers: u32,
    float: &FloatModel,
    texts: &[Vec<u32>],
    progress: &mut dyn FnMut(usize),
) -> Result<Quality, QualityError> {
    let mut sums = Sums { least_cosine: 1.0, ..Sums::default() };
    for text in texts.iter().filter(|text| text.len() > 1) {
        let hidden = float.hidden(&text[..text.len() - 1])?;
        let parts = open(engine, layers)?;
        for (position, (pair, row)) in (0..).zip(text.windows(2).zip(&hidden)) {
            let exact = step(engine, &parts, position, pair[0], &mut sums).await?;
            let wanted = float.logits(row);
            if exact.len() != wanted.len() {
                return Err(QualityError::Vocabulary { exact: exact.len(), float: wanted.len() });
            }
            sums.add(&exact, &wanted, pair[1] as usize);
            progress(sums.positions);
        }
        parts.iter().for_each(|(id, _)| engine.close_session(*id));
    }
    if sums.positions == 0 {
        return Err(QualityError::NoText);
    }
    let positions = sums.positions as f64;
    Ok(Quality {
        positions: sums.positions,
        exact_perplexity: (sums.exact_loss / positions).exp(),
        float_perplexity: (sums.float_loss / positions).exp(),
        agreement: sums.same as f64 / positions,
        worst_top_logit: sums.worst_top_logit,
        least_cosine: sums.least_cosine,
        saturated: sums.saturated,
        residual_bits: u32::BITS - sums.largest.leading_zeros(),
    })
}

/// Sessions over all layers, one after the other.
fn open(engine: &mut Engine, layers: u32) -> Result<Vec<(u128, Range<u32>)>, SessionError> {
    let step = layers.div_ceil(PARTS).max(1);
    let ranges =
        (0..layers.div_ceil(step)).map(|part| part * step..((part + 1) * step).min(layers));
    let parts: Vec<(u128, Range<u32>)> = (1..).zip(ranges).collect();
    for (id, range) in &parts {
        engine.open_session(*id, range.clone())?;
    }
    Ok(parts)
}

/// One token through all parts; its logits.
async fn step(
    engine: &mut Engine,
    parts: &[(u128, Range<u32>)],
    position: u32,
    token: u32,
    sums: &mut Sums,
) -> Result<Vec<f64>, ForwardError> {
    let mut hidden = Vec::new();
    for (id, range) in parts {
        let input = if range.start == 0 { Input::Tokens(&[token]) } else { Input::Hidden(&hidden) };
        match engine.forward(*id, position, input, OutputRequest::Logits).await? {
            Output::Hidden(rows) => {
                sums.saturated +=
                    rows.iter().filter(|value| value.unsigned_abs() > RESIDUAL_MAX).count();
                sums.largest = rows
                    .iter()
                    .fold(sums.largest, |largest, value| largest.max(value.unsigned_abs()));
                hidden = rows;
            }
            Output::Logits(logits) => return Ok(logits.to_f64()),
            Output::Token(_) | Output::None => {}
        }
    }
    Ok(Vec::new())
}

#[derive(Default)]
struct Sums {
    positions: usize,
    same: usize,
    exact_loss: f64,
    float_loss: f64,
    worst_top_logit: f64,
    least_cosine: f64,
    saturated: usize,
    largest: u32,
}

impl Sums {
    fn add(&mut self, exact: &[f64], float: &[f64], next: usize) {
        let loss = |scores: &[f64]| -softmax(scores).get(next).copied().unwrap_or(0.0).ln();
        let best = largest(float);
        self.positions += 1;
        self.exact_loss += loss(exact);
        self.float_loss += loss(float);
        self.same += usize::from(largest(exact) == best);
        self.worst_top_logit = self.worst_top_logit.max((exact[best] - float[best]).abs());
        self.least_cosine = self.least_cosine.min(cosine(exact, float));
    }
}

/// The place of the largest; the first of equals.
fn largest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

/// Of the two after their means are taken off.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let centred = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x - mean).collect::<Vec<f64>>()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

impl Quality {
    /// How much larger the exact engine's perplexity is, as a part of the floats'.
    #[must_use]
    pub fn perplexity_change(&self) -> f64 {
        self.exact_perplexity / self.float_perplexity - 1.0
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = self.perplexity_change() * 100.0;
        writeln!(f, "positions          {}", self.positions)?;
        writeln!(
            f,
            "perplexity         {:.5} exact, {:.5} float ({change:+.3} %)",
            self.exact_perplexity, self.float_perplexity
        )?;
        writeln!(f, "greedy agreement   {:.2} %", self.agreement * 100.0)?;
        writeln!(f, "best logit         at most {:.4} off", self.worst_top_logit)?;
        writeln!(f, "logit cosine       at least {:.6}", self.least_cosine)?;
        write!(
            f,
            "saturated          {} values; the largest has {} of 30 bits",
            self.saturated, self.residual_bits
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_they_are_called() {
        let mut sums = Sums { least_cosine: 1.0, ..Sums::default() };
        sums.add(&[1.0, 2.0, 0.0], &[1.0, 2.0, 0.0], 1);
        assert_eq!((sums.positions, sums.same, sums.worst_top_logit), (1, 1, 0.0));
        assert!((sums.exact_loss - (1.0 + (-1.0_f64).exp() + (-2.0_f64).exp()).ln()).abs() < 1e-12);
        // A constant more on every logit changes no choice and no probability.
        sums.add(&[8.0, 9.0, 7.0], &[1.0, 2.0, 0.0], 1);
        assert!(
            (sums.exact_loss - sums.float_loss).abs() < 1e-12 && sums.least_cosine > 1.0 - 1e-12
        );
        assert_eq!((sums.same, sums.worst_top_logit), (2, 7.0));
        sums.add(&[2.0, 1.0, 0.0], &[1.0, 2.0, 0.0], 1);
        assert_eq!((sums.positions, sums.same), (3, 2));
        assert!(sums.exact_loss > sums.float_loss && (sums.least_cosine - 0.5).abs() < 1e-12);
    }
}

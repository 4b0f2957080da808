//! What the integers cost: the exact engine beside the same files in `f64`, on texts.
//!
//! For every position but the last, both are asked for the next token. *Perplexity* is how
//! surprised each is by the text, *agreement* how often both like the same token best, *cosine* how
//! alike all logits are once their means, which softmax ignores, are taken off. *Saturated* counts
//! values of the residual stream that left the range in which sums are sure to be right.

use core::fmt;
use core::ops::Range;

use potluck_engine::engine::{
    Engine, ForwardError, Input, MAX_ROWS, Output, OutputRequest, SessionError,
};
use potluck_importer::ImportError;

use crate::decoder::{FloatModel, softmax};
use crate::package::{Package, PackageError};

/// What one value of the residual may be, up or down: what `rescale` gives out at most.
const RESIDUAL_MAX: u32 = (1 << 30) - 1;
/// Parts in which the layers of a model that an engine holds are gone through; the residual is looked
/// at after each.
const PARTS: u32 = 8;
/// The session that is open, one at a time.
const SESSION: u128 = 1;
/// Rows whose float scores are computed at once: 64 MB for a vocabulary of 256,000, and the head is
/// read once for all of them.
const HEAD_ROWS: usize = 32;

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
    /// The exact model's files.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Not the same model.
    #[error("the two are not the same model: {exact} and {float} layers")]
    Layers {
        /// The exact model's.
        exact: u32,
        /// The floats'.
        float: u32,
    },
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

/// Runs both over `texts`; `progress` is called with how many positions' work is done. The
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
    let step = layers.div_ceil(PARTS).max(1);
    let ranges = (0..layers).step_by(step as usize).map(|from| from..(from + step).min(layers));
    let parts: Vec<Range<u32>> = ranges.collect();
    compare(engine, &parts, &mut |_, _| Ok(()), float, texts, 1, progress).await
}

/// The same of an installed model, a layer at a time: no more of it is in memory, and of the floats
/// a piece of a matrix. Of each text the first `given` tokens are read and not asked for.
///
/// # Errors
/// As [`measure`], and if the package cannot be read.
pub async fn measure_installed(
    package: &Package,
    float: &FloatModel,
    texts: &[Vec<u32>],
    given: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Quality, QualityError> {
    let mut engine = package.engine().await?;
    let parts: Vec<Range<u32>> =
        (0..package.manifest().config.layers).map(|layer| layer..layer + 1).collect();
    let mut hold = |engine: &mut Engine, part| package.hold_only(engine, part);
    compare(&mut engine, &parts, &mut hold, float, texts, given, progress).await
}

/// Makes an engine hold what a part needs; of the rest it may let go.
type Hold<'a> = &'a mut dyn FnMut(&mut Engine, Range<u32>) -> Result<(), PackageError>;

/// Both over every text, in step: a part of the layers in one, then in the other.
async fn compare(
    engine: &mut Engine,
    parts: &[Range<u32>],
    hold: Hold<'_>,
    float: &FloatModel,
    texts: &[Vec<u32>],
    given: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Quality, QualityError> {
    let layers = parts.last().map_or(0, |part| part.end);
    if float.layers() != layers {
        return Err(QualityError::Layers { exact: layers, float: float.layers() });
    }
    let mut sums = Sums { least_cosine: 1.0, ..Sums::default() };
    let mut before = 0;
    for text in texts.iter().filter(|text| text.len() > 1) {
        let read = &text[..text.len() - 1];
        let (mut x, mut rows) = (float.embedded(read)?, Vec::new());
        for (at, part) in parts.iter().enumerate() {
            part.clone().try_for_each(|layer| float.layer(layer, &mut x))?;
            hold(engine, part.clone())?;
            engine.open_session(SESSION, part.clone())?;
            if part.end < layers {
                rows = through(engine, part.start, read, &rows).await?;
                sums.look_at(&rows);
                progress(before + read.len() * (at + 1) / parts.len());
            } else {
                let hidden = float.last_normed(&x)?;
                let done = |positions| before + (read.len() * at + positions) / parts.len();
                for (chunk, hidden) in hidden.chunks(HEAD_ROWS).enumerate() {
                    let first = chunk * HEAD_ROWS;
                    for (position, wanted) in (first..).zip(float.logits(hidden)?) {
                        let exact = scores(engine, part.start, position, read, &rows).await?;
                        if exact.len() != wanted.len() {
                            let (exact, float) = (exact.len(), wanted.len());
                            return Err(QualityError::Vocabulary { exact, float });
                        }
                        if position + 1 >= given {
                            sums.add(&exact, &wanted, text[position + 1] as usize);
                        }
                        progress(done(position + 1));
                    }
                }
            }
            engine.close_session(SESSION);
        }
        before += read.len();
    }
    sums.quality()
}

/// What a part makes of the text's rows, `[positions, d_model]`.
async fn through(
    engine: &mut Engine,
    first_layer: u32,
    text: &[u32],
    rows: &[i32],
) -> Result<Vec<i32>, ForwardError> {
    let mut out = Vec::new();
    for from in (0..text.len()).step_by(MAX_ROWS) {
        let taken = from..(from + MAX_ROWS).min(text.len());
        let input = input(engine, first_layer, text, rows, taken);
        let output = engine.forward(SESSION, position(from), input, OutputRequest::Nothing).await?;
        if let Output::Hidden(rows) = output {
            out.extend(rows);
        }
    }
    Ok(out)
}

/// What the last part says after one of the text's rows, `[vocab]`.
async fn scores(
    engine: &mut Engine,
    first_layer: u32,
    at: usize,
    text: &[u32],
    rows: &[i32],
) -> Result<Vec<f64>, ForwardError> {
    let input = input(engine, first_layer, text, rows, at..at + 1);
    match engine.forward(SESSION, position(at), input, OutputRequest::Logits).await? {
        Output::Logits(logits) => Ok(logits.to_f64()),
        Output::Hidden(_) | Output::Token(_) | Output::None => Ok(Vec::new()),
    }
}

/// Some of a text's rows, as a part that begins at `first_layer` takes them.
fn input<'a>(
    engine: &Engine,
    first_layer: u32,
    text: &'a [u32],
    rows: &'a [i32],
    taken: Range<usize>,
) -> Input<'a> {
    let width = engine.d_model();
    match first_layer {
        0 => Input::Tokens(&text[taken]),
        _ => Input::Hidden(&rows[taken.start * width..taken.end * width]),
    }
}

/// A place in a text as sessions count it; one that is past all limits is refused as such.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
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
    /// Looks at rows of the residual.
    fn look_at(&mut self, rows: &[i32]) {
        for value in rows.iter().map(|value| value.unsigned_abs()) {
            self.saturated += usize::from(value > RESIDUAL_MAX);
            self.largest = self.largest.max(value);
        }
    }

    fn quality(&self) -> Result<Quality, QualityError> {
        if self.positions == 0 {
            return Err(QualityError::NoText);
        }
        let positions = self.positions as f64;
        Ok(Quality {
            positions: self.positions,
            exact_perplexity: (self.exact_loss / positions).exp(),
            float_perplexity: (self.float_loss / positions).exp(),
            agreement: self.same as f64 / positions,
            worst_top_logit: self.worst_top_logit,
            least_cosine: self.least_cosine,
            saturated: self.saturated,
            residual_bits: u32::BITS - self.largest.leading_zeros(),
        })
    }

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

/// How an encoder's integers compare with its floats.
#[derive(Clone, Debug, PartialEq)]
pub enum EncoderQuality {
    /// The cosine between both vectors of every text.
    Vectors(Vec<f64>),
    /// Both scores of every pair, the exact one first.
    Scores(Vec<(f64, f64)>),
}

impl EncoderQuality {
    /// The least cosine; of scores none.
    #[must_use]
    pub fn least_cosine(&self) -> Option<f64> {
        match self {
            Self::Vectors(cosines) => Some(cosines.iter().copied().fold(1.0, f64::min)),
            Self::Scores(_) => None,
        }
    }
}

/// The largest difference of scores from those of floats.
#[must_use]
pub fn widest(scores: &[(f64, f64)]) -> f64 {
    scores.iter().map(|(exact, float)| (exact - float).abs()).fold(0.0, f64::max)
}

impl fmt::Display for EncoderQuality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vectors(cosines) => {
                let least = cosines.iter().copied().fold(1.0, f64::min);
                let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
                let count = cosines.len();
                write!(f, "texts   {count}\ncosine  at least {least:.6}, {mean:.6} on average")
            }
            Self::Scores(scores) => {
                writeln!(f, "pairs   {}", scores.len())?;
                for (exact, float) in scores {
                    writeln!(f, "score   {exact:.4}, from floats {float:.4}")?;
                }
                write!(f, "apart   {:.4} at most", widest(scores))
            }
        }
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

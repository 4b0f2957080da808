//! Samples a token from logits, in integers (`docs/numerics.md`, "Sampling"), after a repetition
//! penalty where there is one. It knows how little of a vocabulary a sample usually needs, so that a GPU can leave the rest where it is. Randomness is
//! a hash of seed and position; there is no other.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use potluck_model::package::EXP2;
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MIN_REPETITION_PENALTY_MILLI, Sampling,
};

use crate::kernels::block::{bits, rescale};

/// The scores of every token of the vocabulary: `values * 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logits {
    /// `[vocab]`.
    pub values: Vec<i32>,
    /// One for all.
    pub exponent: i32,
}

impl Logits {
    /// As numbers, for comparing with floats; sampling stays in integers.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        let scale = f64::from(self.exponent).exp2();
        self.values.iter().map(|value| f64::from(*value) * scale).collect()
    }
}

/// Makes tokens that the text has already less likely, or likelier below 1000 thousandths: Hugging
/// Face's `RepetitionPenaltyLogitsProcessor`, in integers. To be followed by [`sample`], greedy or not.
///
/// The row is scaled to `PENALISED_BITS` first, so that rounding is fine and no difference of two
/// scores leaves 32 bits. Tokens outside the vocabulary are none.
pub fn penalise(logits: &mut Logits, seen: &BTreeSet<u32>, penalty_milli: u32) {
    let Logits { values, exponent } = logits;
    let largest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    let n = bits(largest) - PENALISED_BITS;
    values.iter_mut().for_each(|value| *value = rescale(*value, -n));
    *exponent += n;
    let penalty = i64::from(penalty_milli);
    for token in seen {
        let Some(value) = values.get_mut(*token as usize) else { continue };
        let wide = i64::from(*value);
        let penalised = if wide > 0 {
            (wide * 1000 + penalty / 2) / penalty
        } else {
            -((-wide * penalty + 500) / 1000)
        };
        *value = i32::try_from(penalised).unwrap_or(*value);
    }
}

/// Bits of the largest of a row's scores before a penalty, which at most doubles one: any two are less
/// than `2^31` apart then.
const PENALISED_BITS: i32 = 29;
const _: () = assert!(MAX_REPETITION_PENALTY_MILLI <= 2000 && MIN_REPETITION_PENALTY_MILLI >= 500);

/// The token for `position`. A pure function of its arguments: whoever takes over from another node
/// samples the same.
#[must_use]
pub fn sample(logits: &Logits, sampling: &Sampling, position: u32) -> u32 {
    let largest = logits.values.iter().copied().max().unwrap_or(0);
    let Some(coefficient) = coefficient(sampling) else {
        return index(logits.values.iter().position(|value| *value == largest).unwrap_or(0));
    };
    let weights = logits.values.iter().map(|value| {
        let distance = rescale(largest.wrapping_sub(*value), logits.exponent + 16);
        let d = (u64::from(distance.unsigned_abs()) * u64::from(coefficient)) >> 16;
        exp2_neg_q30(u32::try_from(d).unwrap_or(u32::MAX))
    });
    let mut all: Vec<Candidate> = weights
        .zip(0..)
        .filter(|(weight, _)| *weight > 0)
        .map(|(weight, token)| Candidate { weight, token })
        .collect();
    let total = all.iter().map(|candidate| u64::from(candidate.weight)).sum();
    if all.len() > HEAVIEST {
        all.select_nth_unstable_by(HEAVIEST, Candidate::order);
        if let Some(token) =
            (Candidates { heaviest: &mut all[..HEAVIEST], total }).sample(sampling, position)
        {
            return token;
        }
    }
    (Candidates { heaviest: &mut all, total }).sample(sampling, position).unwrap_or(0)
}

/// Tokens that are sorted before the rest is looked at, which a sample rarely needs.
pub(crate) const HEAVIEST: usize = 1024;

/// What distances between logits are multiplied with, Q16: `log2(e) / temperature`; none if the
/// largest is taken.
pub(crate) fn coefficient(sampling: &Sampling) -> Option<u32> {
    LOG2_E_Q16_MILLI.checked_div(sampling.temperature_milli)
}

/// A token that may be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// `2^30` for the largest logit, never 0.
    pub(crate) weight: u32,
    pub(crate) token: u32,
}

impl Candidate {
    /// The heavier comes first, of equals the one with the smaller number.
    fn order(&self, other: &Self) -> Ordering {
        other.weight.cmp(&self.weight).then(self.token.cmp(&other.token))
    }
}

/// What a token is sampled from.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    /// In any order; every other token comes after all of these.
    pub(crate) heaviest: &'a mut [Candidate],
    /// Of all tokens' weights.
    pub(crate) total: u64,
}

impl Candidates<'_> {
    /// The token for `position`; none if that takes more than the heaviest.
    pub(crate) fn sample(self, sampling: &Sampling, position: u32) -> Option<u32> {
        let Self { mut heaviest, mut total } = self;
        let sum = |candidates: &[Candidate]| {
            candidates.iter().map(|candidate| u64::from(candidate.weight)).sum()
        };
        let top_k = sampling.top_k as usize;
        if top_k > 0 && top_k < heaviest.len() {
            heaviest.select_nth_unstable_by(top_k, Candidate::order);
            heaviest = &mut heaviest[..top_k];
            total = sum(heaviest);
        } else if top_k > heaviest.len() && sum(heaviest) < total {
            return None;
        } else if top_k > 0 {
            total = sum(heaviest);
        }
        heaviest.sort_unstable_by(Candidate::order);
        let mut kept = total;
        if sampling.top_p_milli < 1000 {
            let enough = u128::from(total) * u128::from(sampling.top_p_milli);
            let sums = running_sums(heaviest);
            kept = sums.map(|(sum, _)| sum).find(|sum| u128::from(*sum) * 1000 >= enough)?;
        }
        let target = (u128::from(random_bits(sampling.seed, position)) * u128::from(kept)) >> 64;
        running_sums(heaviest).find(|(sum, _)| u128::from(*sum) > target).map(|(_, token)| token)
    }
}

/// Of every candidate and all before it, with its token.
fn running_sums(candidates: &[Candidate]) -> impl Iterator<Item = (u64, u32)> {
    candidates.iter().scan(0, |sum, candidate| {
        *sum += u64::from(candidate.weight);
        Some((*sum, candidate.token))
    })
}

/// `round(log2(e) * 2^16) * 1000`.
const LOG2_E_Q16_MILLI: u32 = 94_548_000;

/// 64 random bits for a place in a text.
fn random_bits(seed: u64, position: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"potluck sampling v1")
        .update(&seed.to_le_bytes())
        .update(&position.to_le_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// `2^(-d / 2^16)` as Q30.
fn exp2_neg_q30(d: u32) -> u32 {
    let d = d.min(31 << 16);
    let (n, f, r) = (d >> 16, ((d >> 8) & 255) as usize, d & 255);
    let (a, b) = (u32::from(EXP2[f]) << 15, u32::from(EXP2[f + 1]) << 15);
    (a - (((a - b) * r) >> 8)) >> n
}

fn index(token: usize) -> u32 {
    u32::try_from(token).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_model::synthetic::Random;

    fn sampling(temperature_milli: u32, seed: u64) -> Sampling {
        let repetition_penalty_milli = 1000;
        Sampling { temperature_milli, top_k: 0, top_p_milli: 1000, repetition_penalty_milli, seed }
    }

    /// Hugging Face's `RepetitionPenaltyLogitsProcessor`, in `f64`.
    fn by_definition(scores: &[f64], seen: &BTreeSet<u32>, penalty: f64) -> Vec<f64> {
        let penalised = |(token, score): (u32, &f64)| match (seen.contains(&token), *score < 0.0) {
            (false, _) => *score,
            (true, true) => score * penalty,
            (true, false) => score / penalty,
        };
        (0..).zip(scores).map(penalised).collect()
    }

    #[test]
    fn a_penalty_is_what_floats_make_of_it() {
        let mut random = Random::new(11);
        let edges = [0, 1, -1, i32::MAX, i32::MIN, i32::MIN + 1, 1 << 29, -(1 << 29), 1 << 30];
        for case in 0..400 {
            let limit = if case % 4 == 0 { i32::MAX - 1 } else { 1 << random.within(0, 28) };
            let mut values: Vec<i32> =
                (0..random.within(1, 40)).map(|_| random.within(-limit, limit)).collect();
            if case % 3 == 0 {
                let at = random.within(0, 8).unsigned_abs() as usize;
                values.extend([edges[at], edges[(at + 3) % 9]]);
            }
            let vocab = i32::try_from(values.len()).unwrap();
            let seen = (0..20).map(|_| random.within(0, vocab - 1).unsigned_abs()).collect();
            let penalty = random.within(500, 2000).unsigned_abs();
            let before = Logits { values, exponent: random.within(-30, 4) };
            let mut after = before.clone();
            penalise(&mut after, &seen, penalty);
            let expected = by_definition(&before.to_f64(), &seen, f64::from(penalty) / 1000.0);
            // Half a unit of the scaling, which may be doubled, and half a unit of the penalty.
            let unit = f64::from(after.exponent).exp2();
            for (token, (got, expected)) in after.to_f64().iter().zip(&expected).enumerate() {
                let off = (got - expected).abs();
                assert!(off <= 1.5 * unit, "token {token}: {got}, not {expected}, of {before:?}");
            }
            let (most, least) =
                (after.values.iter().max().unwrap(), after.values.iter().min().unwrap());
            assert!(most.checked_sub(*least).is_some(), "no difference wraps: {before:?}");
        }
    }

    #[test]
    fn penalties_by_hand() {
        let penalised = |values: &[i32], seen: &[u32], penalty| {
            let mut logits = Logits { values: values.to_vec(), exponent: -8 };
            penalise(&mut logits, &seen.iter().copied().collect(), penalty);
            (logits.values, logits.exponent)
        };
        // Scaled to 29 bits: 256 becomes 2^28, twenty places more.
        let scaled = |value: i32| value << 20;
        assert_eq!(
            penalised(&[256, -128, 0, 256, 64], &[0, 1, 2, 7], 2000),
            (vec![scaled(128), scaled(-256), 0, scaled(256), scaled(64)], -28)
        );
        assert_eq!(penalised(&[256, -128], &[0, 1], 500).0, [scaled(512), scaled(-64)]);
        assert_eq!(penalised(&[0, 0], &[1], 2000), (vec![0, 0], -37));
        // 2^28 / 1.1 and -2^27 * 1.1, to the nearest.
        assert_eq!(penalised(&[256, -128], &[0, 1], 1100).0, [244_032_233, -147_639_501]);
        assert_eq!(penalised(&[], &[3], 1100).0, [0; 0]);
        let (extreme, exponent) = penalised(&[i32::MIN, i32::MAX], &[0, 1], 2000);
        assert_eq!((extreme, exponent), (vec![-(1 << 29), 1 << 27], -5));
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        // The likeliest was seen, and the next is close behind it: greedy too.
        let logits = Logits { values: vec![1000, 950, -20], exponent: -6 };
        let mut once = logits.clone();
        penalise(&mut once, &BTreeSet::from([0]), 1100);
        assert_eq!(
            (sample(&logits, &sampling(0, 1), 5), sample(&once, &sampling(0, 1), 5)),
            (0, 1)
        );
        let mut both = logits;
        penalise(&mut both, &BTreeSet::from([0, 1]), 1100);
        assert_eq!(sample(&both, &sampling(0, 1), 5), 0, "both, and the order is as it was");
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let logits = Logits { values: vec![3, 9, 9, 1], exponent: -4 };
        assert_eq!(sample(&logits, &sampling(0, 5), 0), 1);
    }

    #[test]
    fn draws_follow_the_softmax() {
        // ln 3 apart: 3 to 1.
        let logits = Logits { values: vec![71_999, 0], exponent: -16 };
        let first = (0..4_000)
            .filter(|position| sample(&logits, &sampling(1000, 1), *position) == 0)
            .count();
        assert!((2_900..3_100).contains(&first), "{first} of 4000");
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = Logits { values: vec![0, 65_536, 131_072, 60_000], exponent: -16 };
        for position in 0..200 {
            let two = Sampling { top_k: 2, ..sampling(5000, 9) };
            assert!([1, 2].contains(&sample(&logits, &two, position)));
            let one = Sampling { top_p_milli: 1, ..sampling(5000, 9) };
            assert_eq!(sample(&logits, &one, position), 2);
        }
    }

    /// `docs/numerics.md` word for word: every token sorted, nothing left out.
    fn plain(logits: &Logits, sampling: &Sampling, position: u32) -> u32 {
        let largest = *logits.values.iter().max().unwrap();
        let coefficient = u64::from(LOG2_E_Q16_MILLI / sampling.temperature_milli);
        let mut candidates: Vec<(u64, u32)> = (0..)
            .zip(&logits.values)
            .map(|(token, value)| {
                let distance = rescale(largest - value, logits.exponent + 16);
                let d = (u64::from(distance.unsigned_abs()) * coefficient) >> 16;
                (u64::from(exp2_neg_q30(u32::try_from(d).unwrap_or(u32::MAX))), token)
            })
            .collect();
        candidates.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        if sampling.top_k > 0 {
            candidates.truncate(sampling.top_k as usize);
        }
        let total: u64 = candidates.iter().map(|(weight, _)| weight).sum();
        let (mut kept, mut count) = (0, 0);
        while count < candidates.len()
            && (count == 0 || kept * 1000 < total * u64::from(sampling.top_p_milli))
        {
            kept += candidates[count].0;
            count += 1;
        }
        let target = (u128::from(random_bits(sampling.seed, position)) * u128::from(kept)) >> 64;
        let mut sum = 0;
        let sampled = candidates[..count].iter().find(|(weight, _)| {
            sum += u128::from(*weight);
            sum > target
        });
        sampled.unwrap().1
    }

    #[test]
    fn draws_are_those_of_sorting_everything() {
        let mut random = Random::new(3);
        let mut below = |limit: i32| random.within(0, limit - 1).unsigned_abs();
        for case in 0..150 {
            let (spread, count) = (below(8), 1 + below(4 * 1024));
            // Equal ones, too.
            let values =
                (0..count).map(|_| (below(80_000).cast_signed() - 40_000) >> spread).collect();
            let logits = Logits { values, exponent: spread.cast_signed() - 12 };
            let top_k = if below(2) == 0 { 0 } else { 1 + below(3000) };
            let sampling = Sampling {
                temperature_milli: 1 + below(4000),
                top_k,
                top_p_milli: below(1100),
                repetition_penalty_milli: 1000,
                seed: case,
            };
            let position = below(i32::MAX);
            let expected = plain(&logits, &sampling, position);
            assert_eq!(
                sample(&logits, &sampling, position),
                expected,
                "{count} tokens, {sampling:?}"
            );
        }
    }

    #[test]
    fn what_a_draw_lacks_is_not_made_up() {
        let mut few = [Candidate { weight: 1 << 30, token: 4 }, Candidate { weight: 9, token: 2 }];
        let total = 1 << 32;
        let mut sampled = |sampling| Candidates { heaviest: &mut few, total }.sample(&sampling, 0);
        assert_eq!(sampled(Sampling { top_k: 1, ..sampling(800, 3) }), Some(4));
        assert_eq!(sampled(Sampling { top_k: 3, ..sampling(800, 3) }), None, "three of two");
        assert_eq!(sampled(Sampling { top_p_milli: 250, ..sampling(800, 3) }), Some(4));
        assert_eq!(
            sampled(Sampling { top_p_milli: 900, ..sampling(800, 3) }),
            None,
            "nine tenths of a quarter"
        );
    }

    #[test]
    fn a_draw_depends_on_seed_and_place_only() {
        let logits = Logits { values: (0..50).map(|i| (i * 7919) % 5000).collect(), exponent: -10 };
        let samples: Vec<u32> =
            (0..50).map(|position| sample(&logits, &sampling(1000, 42), position)).collect();
        let again: Vec<u32> =
            (0..50).map(|position| sample(&logits, &sampling(1000, 42), position)).collect();
        let other: Vec<u32> =
            (0..50).map(|position| sample(&logits, &sampling(1000, 43), position)).collect();
        assert_eq!(samples, again);
        assert_ne!(samples, other);
    }
}

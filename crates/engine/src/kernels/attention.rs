//! Attention of one token over the positions seen so far (`docs/numerics.md`, "Attention").
//!
//! | value | shape |
//! |---|---|
//! | `queries` | [`Heads`] `[heads, head_dim]`, rotated and scaled |
//! | keys, values of the cache | `[positions, kv_heads, head_dim]` and exponents `[positions, kv_heads]` |
//! | result | one block `[heads * head_dim]` |
//!
//! A layer may bound its scores, and its heads may have sinks: see [`Scores`].
//!
//! Sums are exact in two words, so neither the order of positions nor how they are cut matters.
//! [`reference()`] adds them up in 64 bits and is the specification; [`in_words`] does it in the
//! 32-bit words of `docs/numerics.md`, which compilers turn into SIMD.

mod words;

use core::ops::Range;

use crate::kv_cache::LayerCache;
use potluck_model::package::{Bias, ModelConfig, SoftCap, Tables};

use super::block::{bits, exp2_neg, fit, mul_shift, rescale, soft_cap};
use super::rope::Heads;
pub use words::{head_in_words, in_words};

/// What becomes of scores besides their softmax.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scores<'a> {
    /// Bounds every score.
    pub cap: Option<SoftCap>,
    /// One more score a head, which has no value.
    pub sinks: Option<&'a Bias>,
}

impl Scores<'_> {
    #[inline(always)]
    fn bounded(&self, tables: &Tables, score: i32) -> i32 {
        self.cap.map_or(score, |cap| soft_cap(tables, cap, score))
    }

    #[inline(always)]
    fn sink(&self, head: usize) -> Option<i32> {
        self.sinks.map(|sinks| sinks.mantissas[head])
    }
}

/// Attends with `queries` to the positions `seen`, at least one, all of which are in the cache; the
/// token's own is the last.
///
/// Returns one block, `[heads * head_dim]` mantissas and their exponent.
#[must_use]
pub fn reference(
    config: &ModelConfig,
    tables: &Tables,
    queries: &Heads,
    cache: &LayerCache,
    seen: Range<usize>,
    scoring: Scores<'_>,
) -> (Vec<i32>, i32) {
    let (width, kv_heads) = (config.head_dim as usize, config.kv_heads as usize);
    let group = (config.heads / config.kv_heads) as usize;
    let mut row = Vec::with_capacity(config.q_width());
    let mut exponents = Vec::with_capacity(config.heads as usize);
    for (head, query) in queries.mantissas.chunks_exact(width).enumerate() {
        let places =
            || seen.clone().map(|position| (position - cache.first) * kv_heads + head / group);
        let scores: Vec<i32> = places()
            .map(|at| {
                let key = &cache.keys[at * width..][..width];
                let sum: i64 =
                    query.iter().zip(key).map(|(q, k)| i64::from(*q) * i64::from(*k)).sum();
                let score = rescale(
                    wrap(sum >> 7),
                    queries.exponents[head] + cache.key_exponents[at] + SCORE_BITS,
                );
                scoring.bounded(tables, score)
            })
            .collect();
        let sink = scoring.sink(head);
        let largest = scores.iter().copied().chain(sink).max().unwrap_or(0);
        let exponent = places().map(|at| cache.value_exponents[at]).max().unwrap_or(0);
        let below = |score: i32| largest.wrapping_sub(score).cast_unsigned();
        let mut total = sink.map_or(0, |sink| exp2_neg(tables, below(sink)));
        let mut sums = vec![0_i64; width];
        for (at, score) in places().zip(&scores) {
            let weight = exp2_neg(tables, below(*score));
            total = total.wrapping_add(weight);
            for (sum, value) in sums.iter_mut().zip(&cache.values[at * width..][..width]) {
                let value = rescale(i32::from(*value), cache.value_exponents[at] - exponent);
                *sum += i64::from(weight) * i64::from(value);
            }
        }
        divide(&sums, total, &mut row);
        exponents.push(exponent - 16);
    }
    join(row, &exponents, width)
}

/// A score's 16 fraction bits and the 7 that its sum was cut by.
const SCORE_BITS: i32 = 16 + 7;

/// Appends the weighted means of a head: `sums / total`, with 16 more fraction bits.
#[inline(always)]
fn divide(sums: &[i64], total: u32, row: &mut Vec<i32>) {
    // The best score weighs 2^15, so there are at least 16 bits and nothing to divide by zero.
    let shift = bits(total) - 16;
    let inverse = (1_u32 << 31) / (total >> shift);
    row.extend(sums.iter().map(|sum| mul_shift(wrap(sum >> shift), inverse, 15)));
}

/// Gives all heads of a token, `[heads, head_dim]` with an exponent each, one exponent.
#[must_use]
#[inline(always)]
pub fn join(mut row: Vec<i32>, exponents: &[i32], width: usize) -> (Vec<i32>, i32) {
    let common = exponents.iter().copied().max().unwrap_or(0);
    for (head, exponent) in row.chunks_exact_mut(width).zip(exponents) {
        for value in head {
            *value = rescale(*value, exponent - common);
        }
    }
    let n = fit(&mut row);
    (row, common + n)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "defined modulo 2^32; in range for values that a package can hold"
)]
fn wrap(value: i64) -> i32 {
    value as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{tables, value};
    use potluck_model::synthetic::{Random, config};

    const PLAIN: Scores<'_> = Scores { cap: None, sinks: None };

    /// Two query heads share each of two kv heads.
    fn shape() -> ModelConfig {
        config(1, 32, 32, (4, 2, 8), 32, 64)
    }

    fn heads(random: &mut Random, count: usize, exponents: (i32, i32)) -> Heads {
        Heads {
            mantissas: (0..count * 8).map(|_| random.within(-16_383, 16_383)).collect(),
            exponents: (0..count).map(|_| random.within(exponents.0, exponents.1)).collect(),
        }
    }

    #[test]
    fn one_position_gives_its_own_value() {
        let (config, tables) = (shape(), tables(&shape()));
        let mut random = Random::new(1);
        let mut cache = LayerCache::default();
        let values = heads(&mut random, 2, (-12, -12));
        cache.push(&heads(&mut random, 2, (-12, -12)), &values);
        let (row, exponent) =
            reference(&config, &tables, &heads(&mut random, 4, (-12, -12)), &cache, 0..1, PLAIN);
        for (head, got) in row.chunks_exact(8).enumerate() {
            for (got, expected) in got.iter().zip(&values.mantissas[head / 2 * 8..]) {
                let error = value(*got, exponent) - value(*expected, -12);
                assert!(error.abs() <= value(2, -12), "head {head}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn it_is_the_softmax_of_the_products() {
        let (config, tables) = (shape(), tables(&shape()));
        let mut random = Random::new(2);
        for positions in [2, 3, 17, 64] {
            let mut cache = LayerCache::default();
            let mut kept = Vec::new();
            for _ in 0..positions {
                let (keys, values) =
                    (heads(&mut random, 2, (-15, -13)), heads(&mut random, 2, (-14, -12)));
                cache.push(&keys, &values);
                kept.push((keys, values));
            }
            let queries = heads(&mut random, 4, (-14, -12));
            let (row, exponent) =
                reference(&config, &tables, &queries, &cache, 0..positions, PLAIN);
            for head in 0..4 {
                let kv = head / 2;
                let query = &queries.mantissas[head * 8..][..8];
                let weights: Vec<f64> = kept
                    .iter()
                    .map(|(keys, _)| {
                        let key = &keys.mantissas[kv * 8..][..8];
                        let product: f64 =
                            query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                        (product * f64::from(queries.exponents[head] + keys.exponents[kv]).exp2())
                            .exp2()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for j in 0..8 {
                    let expected: f64 = weights
                        .iter()
                        .zip(&kept)
                        .map(|(weight, (_, values))| {
                            weight * value(values.mantissas[kv * 8 + j], values.exponents[kv])
                        })
                        .sum::<f64>()
                        / total;
                    let got = value(row[head * 8 + j], exponent);
                    assert!(
                        (got - expected).abs() < 2e-3,
                        "{positions} positions: {got} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn words_give_what_64_bits_give() {
        let (config, tables) = (shape(), tables(&shape()));
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let positions = usize::try_from(random.within(1, 40)).unwrap();
            let spread = random.within(0, 40);
            let mut cache = LayerCache::default();
            for _ in 0..positions {
                cache.push(
                    &heads(&mut random, 2, (-20 - spread, spread)),
                    &heads(&mut random, 2, (-spread, spread)),
                );
            }
            let queries = heads(&mut random, 4, (-20 - spread, spread));
            let expected = reference(&config, &tables, &queries, &cache, 0..positions, PLAIN);
            assert_eq!(
                in_words(&config, &tables, &queries, &cache, 0..positions, PLAIN),
                expected,
                "seed {seed}"
            );
        }
    }
}

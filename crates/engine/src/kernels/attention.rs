//! Attention of one token over the positions seen so far (`docs/numerics.md`, "Attention").
//!
//! | value | shape |
//! |---|---|
//! | `queries` | [`Heads`] `[heads, head_dim]`, rotated and scaled |
//! | keys, values of the cache | `[positions, kv_heads, head_dim]` and exponents `[positions, kv_heads]` |
//! | result | one block `[heads * head_dim]` |
//!
//! Sums are exact in two words, so neither the order of positions nor how they are cut matters.

use crate::kv_cache::LayerCache;
use crate::package::{ModelConfig, Tables};

use super::block::{bits, exp2_neg, fit, mul_shift, rescale};
use super::rope::Heads;

/// Attends with `queries` to the first `positions` entries of the cache; the token's own must be in it already.
#[must_use]
pub fn reference(
    config: &ModelConfig,
    tables: &Tables,
    queries: &Heads,
    cache: &LayerCache,
    positions: usize,
) -> (Vec<i32>, i32) {
    let (width, kv_heads) = (config.head_dim as usize, config.kv_heads as usize);
    let group = (config.heads / config.kv_heads) as usize;
    let mut row = Vec::with_capacity(config.q_width());
    let mut exponents = Vec::with_capacity(config.heads as usize);
    let mut scores = vec![0; positions];
    for (head, query) in queries.mantissas.chunks_exact(width).enumerate() {
        let kv = head / group;
        for (position, score) in scores.iter_mut().enumerate() {
            let at = position * kv_heads + kv;
            let key = &cache.keys[at * width..][..width];
            let sum: i64 = query.iter().zip(key).map(|(q, k)| i64::from(*q) * i64::from(*k)).sum();
            *score = rescale(wrap(sum >> 7), queries.exponents[head] + cache.key_exponents[at] + 23);
        }
        let largest = scores.iter().copied().max().unwrap_or(0);
        let exponent = (0..positions).map(|p| cache.value_exponents[p * kv_heads + kv]).max().unwrap_or(0);
        let mut total = 0_u32;
        let mut sums = vec![0_i64; width];
        for (position, score) in scores.iter().enumerate() {
            let weight = exp2_neg(tables, largest.wrapping_sub(*score).cast_unsigned());
            total = total.wrapping_add(weight);
            let at = position * kv_heads + kv;
            for (sum, value) in sums.iter_mut().zip(&cache.values[at * width..][..width]) {
                let value = rescale(i32::from(*value), cache.value_exponents[at] - exponent);
                *sum += i64::from(weight) * i64::from(value);
            }
        }
        let shift = bits(total) - 16;
        let normal = if shift >= 0 { total >> shift } else { total << -shift };
        let inverse = (1_u32 << 31) / normal;
        for sum in sums {
            let sum = if shift >= 0 { sum >> shift } else { sum << -shift };
            row.push(mul_shift(wrap(sum), inverse, 15));
        }
        exponents.push(exponent - 16);
    }
    // One exponent for the whole row.
    let common = exponents.iter().copied().max().unwrap_or(0);
    for (head, exponent) in row.chunks_exact_mut(width).zip(&exponents) {
        for value in head {
            *value = rescale(*value, exponent - common);
        }
    }
    let n = fit(&mut row);
    (row, common + n)
}

#[expect(clippy::cast_possible_truncation, reason = "defined modulo 2^32; in range for values that a package can hold")]
fn wrap(value: i64) -> i32 {
    value as i32
}

//! Attention in 32-bit words, as `docs/numerics.md` cuts its sums: equal to [`super::reference()`], faster on every processor.
//!
//! A score is `Σ hi·k + ((Σ lo·k) >> 7)` with `q = 128·hi + lo`, products of `i16` that are added in `i32`; a sum of weighted values is
//! kept as `Σ (p·v >> 16)` and `Σ (p·v & 0xffff)`. There are no intrinsics here: the loops are plain enough for a compiler to see.

use crate::kernels::block::{exp2_neg, rescale};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use crate::package::{ModelConfig, Tables};

use super::{SCORE_BITS, divide, join};

/// [`super::reference()`] in 32-bit words.
#[must_use]
pub fn in_words(
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
    let mut scores = Vec::with_capacity(positions);
    let mut sums = Sums::new(width);
    for (head, query) in queries.mantissas.chunks_exact(width).enumerate() {
        let places = || (0..positions).map(|position| position * kv_heads + head / group);
        let (high, low): (Vec<i16>, Vec<i16>) = query.iter().map(|q| (narrow(q >> 7), narrow(q & 127))).unzip();
        scores.clear();
        scores.extend(places().map(|at| {
            let key = &cache.keys[at * width..][..width];
            let sum = dot(&high, key).wrapping_add(dot(&low, key) >> 7);
            rescale(sum, queries.exponents[head] + cache.key_exponents[at] + SCORE_BITS)
        }));
        let largest = scores.iter().copied().max().unwrap_or(0);
        let exponent = places().map(|at| cache.value_exponents[at]).max().unwrap_or(0);
        let mut total = 0_u32;
        sums.clear();
        for (at, score) in places().zip(&scores) {
            let weight = exp2_neg(tables, largest.wrapping_sub(*score).cast_unsigned());
            if weight > 0 {
                total += weight;
                sums.add(
                    weight.cast_signed(),
                    &cache.values[at * width..][..width],
                    exponent - cache.value_exponents[at],
                );
            }
        }
        divide(&sums.joined(), total, &mut row);
        exponents.push(exponent - 16);
    }
    join(row, &exponents, width)
}

fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}

/// Sums of weighted values in two words each.
struct Sums {
    high: Vec<i32>,
    low: Vec<u32>,
}

impl Sums {
    fn new(width: usize) -> Self {
        Self { high: vec![0; width], low: vec![0; width] }
    }

    fn clear(&mut self) {
        self.high.fill(0);
        self.low.fill(0);
    }

    /// Adds `weight * rescale(values, -shift)`, `shift >= 0`; products have 30 bits.
    fn add(&mut self, weight: i32, values: &[i16], shift: i32) {
        let sums = self.high.iter_mut().zip(&mut self.low).zip(values);
        match shift {
            0 => {
                for ((high, low), value) in sums {
                    accumulate(high, low, weight * i32::from(*value));
                }
            }
            // The shift is the same for all, so this is `rescale` with its branches outside the loop.
            1..=16 => {
                for ((high, low), value) in sums {
                    accumulate(high, low, weight * (((i32::from(*value) >> (shift - 1)) + 1) >> 1));
                }
            }
            // Nothing of 15 bits is left.
            _ => {}
        }
    }

    fn joined(&self) -> Vec<i64> {
        self.high.iter().zip(&self.low).map(|(high, low)| (i64::from(*high) << 16) + i64::from(*low)).collect()
    }
}

fn accumulate(high: &mut i32, low: &mut u32, product: i32) {
    *high += product >> 16;
    *low += product.cast_unsigned() & 0xffff;
}

#[expect(clippy::cast_possible_truncation, reason = "halves of a block's mantissa, which has 15 bits")]
fn narrow(value: i32) -> i16 {
    value as i16
}

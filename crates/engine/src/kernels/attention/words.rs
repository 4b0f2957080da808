//! Attention in 32-bit words, as `docs/numerics.md` cuts its sums: equal to [`super::reference()`],
//! faster on every processor.
//!
//! A score is `Σ hi·k + ((Σ lo·k) >> 7)` with `q = 128·hi + lo`, products of `i16` that are added
//! in `i32`; a sum of weighted values is kept as `Σ (p·v >> 16)` and `Σ (p·v & 0xffff)`. There are
//! no intrinsics here: the loops are plain enough for a compiler to see. Values are summed up a few
//! places of the head at a time, whose sums stay in registers while all positions pass.

use core::ops::Range;

use crate::kernels::block::{exp2_neg, rescale};
use crate::kernels::rope::Heads;
use crate::kv_cache::LayerCache;
use potluck_model::package::{ModelConfig, Tables};

use super::{SCORE_BITS, Scores, divide, join};

/// [`super::reference()`] in 32-bit words.
#[must_use]
pub fn in_words(
    config: &ModelConfig,
    tables: &Tables,
    queries: &Heads,
    cache: &LayerCache,
    seen: Range<usize>,
    scoring: Scores<'_>,
) -> (Vec<i32>, i32) {
    let heads = (0..config.heads as usize)
        .map(|head| head_in_words(config, tables, queries, cache, (seen.clone(), head), scoring));
    let (rows, exponents): (Vec<_>, Vec<_>) = heads.unzip();
    join(rows.concat(), &exponents, config.head_dim as usize)
}

/// Places of a head whose sums are kept together: one cache line of values.
const PLACES: usize = 32;

/// One head of [`in_words`], `[head_dim]` and its exponent, before [`join`] makes the heads one
/// block.
#[must_use]
#[inline(always)]
pub fn head_in_words(
    config: &ModelConfig,
    tables: &Tables,
    queries: &Heads,
    cache: &LayerCache,
    (seen, head): (Range<usize>, usize),
    scoring: Scores<'_>,
) -> (Vec<i32>, i32) {
    let (width, kv_heads) = (config.head_dim as usize, config.kv_heads as usize);
    let kv_head = head / (config.heads / config.kv_heads) as usize;
    let places = || seen.clone().map(|position| (position - cache.first) * kv_heads + kv_head);
    let query = &queries.mantissas[head * width..][..width];
    let (high, low): (Vec<i16>, Vec<i16>) =
        query.iter().map(|q| (narrow(q >> 7), narrow(q & 127))).unzip();
    let scores: Vec<i32> = places()
        .map(|at| {
            let key = &cache.keys[at * width..][..width];
            let sum = dot(&high, key).wrapping_add(dot(&low, key) >> 7);
            let exponent = queries.exponents[head] + cache.key_exponents[at] + SCORE_BITS;
            scoring.bounded(tables, rescale(sum, exponent))
        })
        .collect();
    let sink = scoring.sink(head);
    let largest = scores.iter().copied().chain(sink).max().unwrap_or(0);
    let exponent = places().map(|at| cache.value_exponents[at]).max().unwrap_or(0);
    let below = |score: i32| largest.wrapping_sub(score).cast_unsigned();
    let mut total = sink.map_or(0, |sink| exp2_neg(tables, below(sink)));
    let mut weighted = Vec::with_capacity(scores.len());
    for (at, score) in places().zip(&scores) {
        let weight = exp2_neg(tables, below(*score));
        total += weight;
        let shift = exponent - cache.value_exponents[at];
        // Beyond 16 places nothing of 15 bits is left.
        if weight > 0 && shift <= 16 {
            weighted.push(Weighted { start: at * width, weight: weight.cast_signed(), shift });
        }
    }
    let mut sums = Vec::with_capacity(width);
    let mut place = 0;
    while place + PLACES <= width {
        sums.extend(sum::<PLACES>(&weighted, &cache.values, place));
        place += PLACES;
    }
    for place in place..width {
        sums.extend(sum::<1>(&weighted, &cache.values, place));
    }
    let mut row = Vec::with_capacity(width);
    divide(&sums, total, &mut row);
    (row, exponent - 16)
}

/// A position that counts.
struct Weighted {
    /// Where its values begin in the cache.
    start: usize,
    /// Q15.
    weight: i32,
    /// Places to the right, 0 to 16, that take its values to the common exponent.
    shift: i32,
}

#[inline(always)]
fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).fold(0, |sum, (a, b)| sum.wrapping_add(i32::from(*a) * i32::from(*b)))
}

/// `Σ weight * rescale(value, -shift)` of `N` neighbouring places, in two words until the end;
/// products have 30 bits.
#[inline(always)]
fn sum<const N: usize>(weighted: &[Weighted], values: &[i16], place: usize) -> [i64; N] {
    let (mut high, mut low) = ([0_i32; N], [0_u32; N]);
    for Weighted { start, weight, shift } in weighted {
        let values = &values[start + place..][..N];
        // The shift is the same for all, so this is `rescale` with its branches outside the loop.
        if *shift == 0 {
            for at in 0..N {
                let product = weight * i32::from(values[at]);
                high[at] += product >> 16;
                low[at] += product.cast_unsigned() & 0xffff;
            }
        } else {
            for at in 0..N {
                let product = weight * (((i32::from(values[at]) >> (shift - 1)) + 1) >> 1);
                high[at] += product >> 16;
                low[at] += product.cast_unsigned() & 0xffff;
            }
        }
    }
    core::array::from_fn(|at| (i64::from(high[at]) << 16) + i64::from(low[at]))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of a block's mantissa, which has 15 bits"
)]
fn narrow(value: i32) -> i16 {
    value as i16
}

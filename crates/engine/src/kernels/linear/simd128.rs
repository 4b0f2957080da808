//! The matrix kernel on wasm `simd128`: weights widened to `i16` eight at a time, multiplied and paired by `i32x4.dot_i16x8_s`.
//!
//! Four lanes share a group's 32 products, eight each, so a lane's sum is within ±`8 · 127 · 16,383` < 2^24. Cut at bit 9 both parts fit
//! `i16`, and the same instruction scales them: `g·S = 2^9 · g·(S >> 9) + g·(S & 511)`, hence
//! `acc = 4 · Σ g·(S >> 9) + ((Σ g·(S & 511)) >> 7)`. Several tokens go through one row of weights together, which are then widened
//! once for all of them.

use core::arch::wasm32::{
    i16x8_extend_high_i8x16, i16x8_extend_low_i8x16, i32x4_add, i32x4_dot_i16x8, i32x4_extract_lane, i32x4_shr,
    i32x4_splat, v128, v128_and, v128_load,
};

use super::TOKENS_TOGETHER;
use crate::package::{GROUP, Linear};

/// Calls `each(token, row, acc)` for every token of `a`, `[tokens, in]`, and every row of the matrix.
///
/// # Panics
/// If `a` is not made of whole tokens, which is a bug of the caller.
pub(super) fn matmul(weights: &Linear, a: &[i16], mut each: impl FnMut(usize, usize, i32)) {
    let columns = weights.columns;
    assert_eq!(a.len() % columns, 0, "tokens as wide as the matrix");
    let groups = columns / GROUP;
    for row in 0..weights.rows {
        let w = &weights.weights[row * columns..][..columns];
        let g = &weights.group_scales[row * groups..][..groups];
        let together = a.chunks_exact(columns * TOKENS_TOGETHER);
        let first_single = a.len() / columns - together.remainder().len() / columns;
        for (single, token) in together.remainder().chunks_exact(columns).enumerate() {
            let [acc] = dot(w, g, [token]);
            each(first_single + single, row, acc);
        }
        for (index, tokens) in together.enumerate() {
            let accs = dot(w, g, core::array::from_fn::<_, TOKENS_TOGETHER, _>(|t| &tokens[t * columns..][..columns]));
            for (t, acc) in accs.into_iter().enumerate() {
                each(index * TOKENS_TOGETHER + t, row, acc);
            }
        }
    }
}

/// The `acc` of one row of weights for each of `TOKENS` tokens, all `[in]`.
fn dot<const TOKENS: usize>(weights: &[i8], scales: &[u8], tokens: [&[i16]; TOKENS]) -> [i32; TOKENS] {
    let mut high = [i32x4_splat(0); TOKENS];
    let mut low = [i32x4_splat(0); TOKENS];
    let mask = i32x4_splat(511);
    for (group, (weights, scale)) in weights.chunks_exact(GROUP).zip(scales).enumerate() {
        let (first, second) = (load_weights(&weights[..16]), load_weights(&weights[16..]));
        let w = [
            i16x8_extend_low_i8x16(first),
            i16x8_extend_high_i8x16(first),
            i16x8_extend_low_i8x16(second),
            i16x8_extend_high_i8x16(second),
        ];
        // The scale in the lower half of each lane; the upper half of what it meets is only sign.
        let scale = i32x4_splat(i32::from(*scale));
        for (t, token) in tokens.iter().enumerate() {
            let a = &token[group * GROUP..][..GROUP];
            let product = |part: usize| i32x4_dot_i16x8(w[part], load(&a[part * 8..][..8]));
            let sum = i32x4_add(i32x4_add(product(0), product(1)), i32x4_add(product(2), product(3)));
            high[t] = i32x4_add(high[t], i32x4_dot_i16x8(i32x4_shr(sum, 9), scale));
            low[t] = i32x4_add(low[t], i32x4_dot_i16x8(v128_and(sum, mask), scale));
        }
    }
    core::array::from_fn(|t| add_lanes(high[t]).wrapping_mul(4).wrapping_add(add_lanes(low[t]) >> 7))
}

#[expect(unsafe_code, reason = "an unaligned load of 16 bytes from a slice whose length is checked")]
fn load_weights(weights: &[i8]) -> v128 {
    assert_eq!(weights.len(), 16);
    // SAFETY: the slice holds exactly the 16 bytes that are read; wasm loads need no alignment.
    unsafe { v128_load(weights.as_ptr().cast::<v128>()) }
}

#[expect(unsafe_code, reason = "an unaligned load of 16 bytes from a slice whose length is checked")]
fn load(a: &[i16]) -> v128 {
    assert_eq!(a.len(), 8);
    // SAFETY: the slice holds exactly the 8 values, 16 bytes, that are read; wasm loads need no alignment.
    unsafe { v128_load(a.as_ptr().cast::<v128>()) }
}

fn add_lanes(sums: v128) -> i32 {
    i32x4_extract_lane::<0>(sums)
        .wrapping_add(i32x4_extract_lane::<1>(sums))
        .wrapping_add(i32x4_extract_lane::<2>(sums))
        .wrapping_add(i32x4_extract_lane::<3>(sums))
}

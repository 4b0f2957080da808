//! The matrix kernel on AVX2: 16 weights widened to `i16` at a time, multiplied and paired by `vpmaddwd`.
//!
//! Eight lanes share a group's 32 products, four each, so a lane's sum is within ±`4 · 127 · 16,383` < 2^23. Cut at bit 8 both parts fit
//! `i16`, and `vpmaddwd` again (one instruction where a 32-bit multiplication takes two) scales them:
//! `g·S = 2^8 · g·(S >> 8) + g·(S & 255)`, hence `acc = 2 · Σ g·(S >> 8) + ((Σ g·(S & 255)) >> 7)`.
//! Several tokens go through one row of weights together, which are then widened once for all of them.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32, _mm256_add_epi32,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_srai_epi32,
};

use super::TOKENS_TOGETHER;
use crate::package::{GROUP, Linear};

/// Whether this processor can run this path.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// Calls `each(token, row, acc)` for every token of `a`, `[tokens, in]`, and every row of the matrix.
///
/// # Panics
/// If the processor has no AVX2 or `a` is not made of whole tokens, which are bugs of the caller.
#[expect(unsafe_code, reason = "calls a function that is compiled for AVX2, once AVX2 was found")]
pub(super) fn matmul(weights: &Linear, a: &[i16], each: impl FnMut(usize, usize, i32)) {
    assert!(is_available(), "this path was chosen on a processor with AVX2");
    assert_eq!(a.len() % weights.columns, 0, "tokens as wide as the matrix");
    // SAFETY: AVX2 was found by the line above but one.
    unsafe { matmul_avx2(weights, a, each) }
}

#[target_feature(enable = "avx2")]
fn matmul_avx2(weights: &Linear, a: &[i16], mut each: impl FnMut(usize, usize, i32)) {
    let columns = weights.columns;
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
#[target_feature(enable = "avx2")]
fn dot<const TOKENS: usize>(weights: &[i8], scales: &[u8], tokens: [&[i16]; TOKENS]) -> [i32; TOKENS] {
    let mut high = [_mm256_setzero_si256(); TOKENS];
    let mut low = [_mm256_setzero_si256(); TOKENS];
    let mask = _mm256_set1_epi32(255);
    for (group, (weights, scale)) in weights.chunks_exact(GROUP).zip(scales).enumerate() {
        let (w0, w1) = (widen(&weights[..16]), widen(&weights[16..]));
        // The scale in the lower half of each lane; the upper half of what it meets is only sign.
        let scale = _mm256_set1_epi32(i32::from(*scale));
        for (t, token) in tokens.iter().enumerate() {
            let a = &token[group * GROUP..][..GROUP];
            let products = [_mm256_madd_epi16(w0, load(&a[..16])), _mm256_madd_epi16(w1, load(&a[16..]))];
            let sum = _mm256_add_epi32(products[0], products[1]);
            high[t] = _mm256_add_epi32(high[t], _mm256_madd_epi16(_mm256_srai_epi32::<8>(sum), scale));
            low[t] = _mm256_add_epi32(low[t], _mm256_madd_epi16(_mm256_and_si256(sum, mask), scale));
        }
    }
    core::array::from_fn(|t| add_lanes(high[t]).wrapping_mul(2).wrapping_add(add_lanes(low[t]) >> 7))
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "an unaligned load of 16 bytes from a slice whose length is checked")]
fn widen(weights: &[i8]) -> __m256i {
    assert_eq!(weights.len(), 16);
    // SAFETY: the slice holds exactly the 16 bytes that are read.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(weights.as_ptr().cast::<__m128i>()) })
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "an unaligned load of 32 bytes from a slice whose length is checked")]
fn load(a: &[i16]) -> __m256i {
    assert_eq!(a.len(), 16);
    // SAFETY: the slice holds exactly the 16 values, 32 bytes, that are read.
    unsafe { _mm256_loadu_si256(a.as_ptr().cast::<__m256i>()) }
}

#[target_feature(enable = "avx2")]
fn add_lanes(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
    _mm_cvtsi128_si32(one)
}

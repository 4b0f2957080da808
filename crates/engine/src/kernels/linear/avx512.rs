//! The matrix kernel on AVX-512: four weights of each of 16 rows in a register, multiplied and added up by `vpdpbusd`.
//!
//! That instruction takes unsigned times signed bytes. Weights are stored as `w + 128`; activations are two planes, `a = 128·hi + lo`, so a
//! group's sum is `S = 128 · Σ (w + 128)·hi + Σ (w + 128)·lo - 128 · Σ a`, whose last term does not depend on the row and comes with
//! the activations. `vpdpwssd` applies the scale to both parts of `S` (`super`'s doc), one instruction each.
//!
//! Decode is bound by reading weights: asking for them 4 KiB ahead gave 15.2 for 13.3 GMAC/s on one thread of a Xeon with them in its
//! third-level cache.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm512_add_epi32, _mm512_and_si512, _mm512_cvtepu8_epi32,
    _mm512_dpbusd_epi32, _mm512_dpwssd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_slli_epi32, _mm512_srai_epi32, _mm512_storeu_si512,
};

use super::finish;
use super::packed::{Block, Kernel};
use crate::package::GROUP;

/// Whether this processor can run this path.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// The kernel; its methods may be called where [`is_available`] says so.
#[derive(Debug)]
pub(super) enum Avx512 {}

/// A group of activations in planes, four neighbours in a word.
#[derive(Debug)]
pub(super) struct Group {
    high: [i32; 8],
    low: [i32; 8],
    /// `-128 · Σ a`.
    start: i32,
}

const LANES: usize = 16;
const GROUP_BYTES: usize = LANES * GROUP;
/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 4096;

impl Kernel for Avx512 {
    const LANES: usize = LANES;
    const DEPTH: usize = 4;
    const OFFSET: u8 = 128;
    const TOGETHER: usize = 4;
    type Group = Group;

    fn group(a: &[i32]) -> Group {
        let word = |at: usize, plane: fn(i32) -> i32| {
            let bytes: [u8; 4] = core::array::from_fn(|i| plane(a[4 * at + i]).to_le_bytes()[0]);
            i32::from_le_bytes(bytes)
        };
        Group {
            high: core::array::from_fn(|at| word(at, |a| a >> 7)),
            low: core::array::from_fn(|at| word(at, |a| a & 127)),
            start: -128 * a.iter().sum::<i32>(),
        }
    }

    #[expect(unsafe_code, reason = "calls a function that is compiled for AVX-512, on a path that was checked")]
    fn tile<const TOKENS: usize>(block: Block<'_>, tokens: &[Group], y: &mut [i32]) {
        // SAFETY: nothing is packed for this kernel unless AVX-512 was found.
        unsafe { tile::<TOKENS>(block, tokens, y.as_chunks_mut().0) }
    }
}

/// The `y` of a block for `TOKENS` tokens, `[TOKENS, groups]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile<const TOKENS: usize>(block: Block<'_>, tokens: &[Group], y: &mut [[i32; LANES]]) {
    let (weights, scales) = (block.weights.as_chunks::<GROUP_BYTES>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Group]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    let mask = _mm512_set1_epi32(2047);
    let mut whole = [_mm512_setzero_si512(); TOKENS];
    let mut cut = [_mm512_setzero_si512(); TOKENS];
    for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
        let a: [&Group; TOKENS] = core::array::from_fn(|t| &tokens[t][group]);
        let mut high = [_mm512_setzero_si512(); TOKENS];
        let mut low: [__m512i; TOKENS] = core::array::from_fn(|t| _mm512_set1_epi32(a[t].start));
        for (at, weights) in weights.as_chunks::<64>().0.iter().enumerate() {
            if TOKENS == 1 {
                prefetch(weights);
            }
            let w = load(weights);
            for t in 0..TOKENS {
                high[t] = _mm512_dpbusd_epi32(high[t], w, _mm512_set1_epi32(a[t].high[at]));
                low[t] = _mm512_dpbusd_epi32(low[t], w, _mm512_set1_epi32(a[t].low[at]));
            }
        }
        let scales = widen(scales);
        for t in 0..TOKENS {
            let sum = _mm512_add_epi32(_mm512_slli_epi32::<7>(high[t]), low[t]);
            whole[t] = _mm512_dpwssd_epi32(whole[t], _mm512_srai_epi32::<11>(sum), scales);
            cut[t] = _mm512_dpwssd_epi32(cut[t], _mm512_and_si512(sum, mask), scales);
        }
    }
    for (t, y) in y.iter_mut().enumerate() {
        store(y, _mm512_add_epi32(_mm512_slli_epi32::<4>(whole[t]), _mm512_srai_epi32::<7>(cut[t])));
        finish(y, block.multipliers);
    }
}

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load from an array of its size")]
fn load(weights: &[u8; 64]) -> __m512i {
    // SAFETY: the array holds exactly the 64 bytes that are read; the load needs no alignment.
    unsafe { _mm512_loadu_si512(weights.as_ptr().cast()) }
}

/// The scale in the lower half of each lane; the upper half of what it meets is only sign.
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load from an array of its size")]
fn widen(scales: &[u8; LANES]) -> __m512i {
    // SAFETY: the array holds exactly the 16 bytes that are read; the load needs no alignment.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(scales.as_ptr().cast()) })
}

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a store to an array of its size")]
fn store(acc: &mut [i32; LANES], value: __m512i) {
    // SAFETY: the array holds exactly the 64 bytes that are written; the store needs no alignment.
    unsafe { _mm512_storeu_si512(acc.as_mut_ptr().cast(), value) }
}

#[expect(unsafe_code, reason = "a prefetch, which reads nothing")]
fn prefetch(weights: &[u8; 64]) {
    // SAFETY: a prefetch has no effect but on caches, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(weights.as_ptr().wrapping_add(PREFETCH_BYTES).cast()) }
}

//! The matrix kernel on AVX2: two weights of each of 8 rows, as `i16`, multiplied and paired by
//! `vpmaddwd`.
//!
//! The same instruction applies the scale to both parts of a group's sum (`super`'s doc), where a
//! 32-bit multiplication would take two. A block is two registers of rows, so that one broadcast of
//! two activations serves both.

use core::marker::PhantomData;
use std::arch::x86_64::{
    __m128i, __m256i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_prefetch, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_slli_epi32, _mm256_sra_epi32, _mm256_srl_epi32, _mm256_storeu_si256,
};

use super::finish;
use super::packed::{Block, Kernel, W8, W12, Width};
use potluck_model::package::GROUP;

/// Whether this processor can run this path.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// The kernel; its methods may be called where [`is_available`] says so.
#[derive(Debug)]
pub(super) struct Avx2<W>(PhantomData<W>);

/// How 16 weights become `i16`.
pub(super) trait Load: Width {
    type Weight: Copy + Send + Sync;

    fn weight(weight: i32) -> Self::Weight;

    /// Inlined where AVX2 is.
    fn load(weights: &[Self::Weight; 16]) -> __m256i;
}

impl Load for W8 {
    type Weight = i8;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of eight bits")]
    fn weight(weight: i32) -> i8 {
        weight as i8
    }

    #[expect(unsafe_code, reason = "a load from an array of its size")]
    #[inline(always)]
    fn load(weights: &[i8; 16]) -> __m256i {
        // SAFETY: called by `tile` alone, which has AVX2; the array holds exactly the 16 bytes that
        // are read, in any alignment.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.as_ptr().cast())) }
    }
}

impl Load for W12 {
    type Weight = i16;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of twelve bits")]
    fn weight(weight: i32) -> i16 {
        weight as i16
    }

    #[expect(unsafe_code, reason = "a load from an array of its size")]
    #[inline(always)]
    fn load(weights: &[i16; 16]) -> __m256i {
        // SAFETY: called by `tile` alone, which has AVX2; the array holds exactly the 32 bytes that
        // are read, in any alignment.
        unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) }
    }
}

/// A group of activations as `i16`, two neighbours in a word.
type Group = [i32; GROUP / 2];

const LANES: usize = 16;
const GROUP_WEIGHTS: usize = LANES * GROUP;
/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 4096;

impl<W: Load> Kernel for Avx2<W> {
    const LANES: usize = LANES;
    const DEPTH: usize = 2;
    const TOGETHER: usize = 3;
    type Weight = W::Weight;
    type Group = Group;

    fn weight(weight: i32) -> W::Weight {
        W::weight(weight)
    }

    fn group(a: &[i32]) -> Group {
        core::array::from_fn(|at| (a[2 * at] & 0xffff) | (a[2 * at + 1] << 16))
    }

    #[expect(
        unsafe_code,
        reason = "calls a function that is compiled for AVX2, on a path that was checked"
    )]
    fn tile<const TOKENS: usize>(block: Block<'_, W::Weight>, tokens: &[Group], y: &mut [i32]) {
        // SAFETY: nothing is packed for this kernel unless AVX2 was found.
        unsafe { tile::<TOKENS, W>(block, tokens, y.as_chunks_mut().0) }
    }
}

/// The `y` of a block for `TOKENS` tokens, `[TOKENS, groups]`.
#[target_feature(enable = "avx2")]
fn tile<const TOKENS: usize, W: Load>(
    block: Block<'_, W::Weight>,
    tokens: &[Group],
    y: &mut [[i32; LANES]],
) {
    let (weights, scales) =
        (block.weights.as_chunks::<GROUP_WEIGHTS>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Group]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    let (mask, split, cut_by) =
        (_mm256_set1_epi32((1 << W::SPLIT) - 1), count(W::SPLIT), count(W::CUT));
    let mut whole = [[_mm256_setzero_si256(); 2]; TOKENS];
    let mut cut = [[_mm256_setzero_si256(); 2]; TOKENS];
    for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
        let a: [&Group; TOKENS] = core::array::from_fn(|t| &tokens[t][group]);
        let mut sums = [[_mm256_setzero_si256(); 2]; TOKENS];
        for (at, weights) in weights.as_chunks::<32>().0.iter().enumerate() {
            if TOKENS == 1 {
                prefetch(weights);
            }
            let w = weights.as_chunks::<16>().0;
            let w = [W::load(&w[0]), W::load(&w[1])];
            for t in 0..TOKENS {
                let a = _mm256_set1_epi32(a[t][at]);
                sums[t][0] = _mm256_add_epi32(sums[t][0], _mm256_madd_epi16(w[0], a));
                sums[t][1] = _mm256_add_epi32(sums[t][1], _mm256_madd_epi16(w[1], a));
            }
        }
        for (half, scales) in scales.as_chunks::<8>().0.iter().enumerate() {
            let scales = widen_scales(scales);
            for t in 0..TOKENS {
                let (high, low) =
                    (_mm256_sra_epi32(sums[t][half], split), _mm256_and_si256(sums[t][half], mask));
                whole[t][half] = _mm256_add_epi32(whole[t][half], _mm256_madd_epi16(high, scales));
                cut[t][half] = _mm256_add_epi32(cut[t][half], _mm256_madd_epi16(low, scales));
            }
        }
    }
    for (t, y) in y.iter_mut().enumerate() {
        for (half, acc) in y.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (whole, cut) =
                (_mm256_slli_epi32::<4>(whole[t][half]), _mm256_srl_epi32(cut[t][half], cut_by));
            store(acc, _mm256_add_epi32(whole, cut));
        }
        finish(y, block.multipliers);
    }
}

/// A shift's count, which the compiler knows.
#[target_feature(enable = "avx2")]
fn count(bits: u32) -> __m128i {
    _mm_cvtsi32_si128(bits.cast_signed())
}

/// The scale in the lower half of each lane; the upper half of what it meets is only sign.
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "a load from an array of its size")]
fn widen_scales(scales: &[u8; 8]) -> __m256i {
    // SAFETY: the array holds exactly the 8 bytes that are read; the load needs no alignment.
    _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(scales.as_ptr().cast()) })
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "a store to an array of its size")]
fn store(acc: &mut [i32; 8], value: __m256i) {
    // SAFETY: the array holds exactly the 32 bytes that are written; the store needs no alignment.
    unsafe { _mm256_storeu_si256(acc.as_mut_ptr().cast(), value) }
}

#[expect(unsafe_code, reason = "a prefetch, which reads nothing")]
fn prefetch<W>(weights: &[W; 32]) {
    // SAFETY: a prefetch has no effect but on caches, whatever the address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(weights.as_ptr().wrapping_byte_add(PREFETCH_BYTES).cast())
    }
}

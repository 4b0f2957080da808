//! The matrix kernel on AVX-512: four weights of each of 16 rows in a register, multiplied and
//! added up by `vpdpbusd`.
//!
//! That instruction takes unsigned times signed bytes. Weights are stored as `w + 128`; activations
//! are two planes, `a = 128·hi + lo`, so a group's sum is
//! `S = 128 · Σ (w + 128)·hi + Σ (w + 128)·lo - 128 · Σ a`, whose last term does not depend on the
//! row and comes with the activations. `vpdpwssd` applies the scale to both parts of `S` (`super`'s
//! doc), one instruction each. It also multiplies weights of twelve bits, two of each row at a
//! time, which is as many instructions as two planes take.
//!
//! Decode is bound by reading weights: asking for them 4 KiB ahead gave 15.2 for 13.3 GMAC/s on one
//! thread of a Xeon with them in its third-level cache.

use core::marker::PhantomData;
use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_prefetch, _mm512_add_epi32,
    _mm512_and_si512, _mm512_cvtepu8_epi32, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32,
    _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_sra_epi32, _mm512_srl_epi32, _mm512_storeu_si512,
};

use super::finish;
use super::packed::{Block, Kernel, W8, W12, Width};
use potluck_model::package::GROUP;

/// Whether this processor can run this path.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vnni")
}

/// The kernel; its methods may be called where [`is_available`] says so.
#[derive(Debug)]
pub(super) struct Avx512<W>(PhantomData<W>);

/// A group of activations in planes, four neighbours in a word.
#[derive(Debug)]
pub(super) struct Planes {
    high: [i32; 8],
    low: [i32; 8],
    /// `-128 · Σ a`.
    start: i32,
}

/// A group of activations as `i16`, two neighbours in a word.
type Pairs = [i32; GROUP / 2];

const LANES: usize = 16;
const GROUP_WEIGHTS: usize = LANES * GROUP;
/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 4096;

impl Kernel for Avx512<W8> {
    const LANES: usize = LANES;
    const DEPTH: usize = 4;
    const TOGETHER: usize = 4;
    type Weight = u8;
    type Group = Planes;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a weight of eight bits, made positive"
    )]
    fn weight(weight: i32) -> u8 {
        (weight + 128) as u8
    }

    fn group(a: &[i32]) -> Planes {
        let word = |at: usize, plane: fn(i32) -> i32| {
            let bytes: [u8; 4] = core::array::from_fn(|i| plane(a[4 * at + i]).to_le_bytes()[0]);
            i32::from_le_bytes(bytes)
        };
        Planes {
            high: core::array::from_fn(|at| word(at, |a| a >> 7)),
            low: core::array::from_fn(|at| word(at, |a| a & 127)),
            start: -128 * a.iter().sum::<i32>(),
        }
    }

    #[expect(
        unsafe_code,
        reason = "calls a function that is compiled for AVX-512, on a path that was checked"
    )]
    fn tile<const TOKENS: usize>(block: Block<'_, u8>, tokens: &[Planes], y: &mut [i32]) {
        // SAFETY: nothing is packed for this kernel unless AVX-512 was found.
        unsafe { tile::<TOKENS>(block, tokens, y.as_chunks_mut().0) }
    }
}

impl Kernel for Avx512<W12> {
    const LANES: usize = LANES;
    const DEPTH: usize = 2;
    const TOGETHER: usize = 4;
    type Weight = i16;
    type Group = Pairs;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of twelve bits")]
    fn weight(weight: i32) -> i16 {
        weight as i16
    }

    fn group(a: &[i32]) -> Pairs {
        core::array::from_fn(|at| (a[2 * at] & 0xffff) | (a[2 * at + 1] << 16))
    }

    #[expect(
        unsafe_code,
        reason = "calls a function that is compiled for AVX-512, on a path that was checked"
    )]
    fn tile<const TOKENS: usize>(block: Block<'_, i16>, tokens: &[Pairs], y: &mut [i32]) {
        // SAFETY: nothing is packed for this kernel unless AVX-512 was found.
        unsafe { tile_of_twelve::<TOKENS>(block, tokens, y.as_chunks_mut().0) }
    }
}

/// The `y` of a block for `TOKENS` tokens, `[TOKENS, groups]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile<const TOKENS: usize>(block: Block<'_, u8>, tokens: &[Planes], y: &mut [[i32; LANES]]) {
    let (weights, scales) =
        (block.weights.as_chunks::<GROUP_WEIGHTS>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Planes]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    let mut sums = Sums::<TOKENS, W8>::new();
    for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
        let a: [&Planes; TOKENS] = core::array::from_fn(|t| &tokens[t][group]);
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
        sums.add(
            scales,
            core::array::from_fn(|t| _mm512_add_epi32(_mm512_slli_epi32::<7>(high[t]), low[t])),
        );
    }
    sums.finish(block.multipliers, y);
}

/// The `y` of a block of twelve-bit weights for `TOKENS` tokens, `[TOKENS, groups]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile_of_twelve<const TOKENS: usize>(
    block: Block<'_, i16>,
    tokens: &[Pairs],
    y: &mut [[i32; LANES]],
) {
    let (weights, scales) =
        (block.weights.as_chunks::<GROUP_WEIGHTS>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Pairs]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    let mut sums = Sums::<TOKENS, W12>::new();
    for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
        let a: [&Pairs; TOKENS] = core::array::from_fn(|t| &tokens[t][group]);
        let mut sum = [_mm512_setzero_si512(); TOKENS];
        for (at, weights) in weights.as_chunks::<32>().0.iter().enumerate() {
            let w = load(weights);
            for t in 0..TOKENS {
                sum[t] = _mm512_dpwssd_epi32(sum[t], w, _mm512_set1_epi32(a[t][at]));
            }
        }
        sums.add(scales, sum);
    }
    sums.finish(block.multipliers, y);
}

/// The scaled sums of groups, in two parts.
struct Sums<const TOKENS: usize, W> {
    whole: [__m512i; TOKENS],
    cut: [__m512i; TOKENS],
    width: PhantomData<W>,
}

impl<const TOKENS: usize, W: Width> Sums<TOKENS, W> {
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        let zeros = [_mm512_setzero_si512(); TOKENS];
        Self { whole: zeros, cut: zeros, width: PhantomData }
    }

    /// Adds a group's.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    #[inline]
    fn add(&mut self, scales: &[u8; LANES], sums: [__m512i; TOKENS]) {
        let (scales, mask) = (widen(scales), _mm512_set1_epi32((1 << W::SPLIT) - 1));
        for (t, sum) in sums.into_iter().enumerate() {
            let high = _mm512_sra_epi32(sum, _mm_cvtsi32_si128(W::SPLIT.cast_signed()));
            self.whole[t] = _mm512_dpwssd_epi32(self.whole[t], high, scales);
            self.cut[t] = _mm512_dpwssd_epi32(self.cut[t], _mm512_and_si512(sum, mask), scales);
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn finish(self, multipliers: &[u16], y: &mut [[i32; LANES]]) {
        for (t, y) in y.iter_mut().enumerate() {
            let cut = _mm512_srl_epi32(self.cut[t], _mm_cvtsi32_si128(W::CUT.cast_signed()));
            store(y, _mm512_add_epi32(_mm512_slli_epi32::<4>(self.whole[t]), cut));
            finish(y, multipliers);
        }
    }
}

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "a load from an array of its size")]
fn load<W, const COUNT: usize>(weights: &[W; COUNT]) -> __m512i {
    const { assert!(size_of::<W>() * COUNT == 64, "a register") }
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

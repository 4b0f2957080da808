//! The matrix kernel on NEON: a weight of each of 8 rows, as `i16`, multiplied by one activation
//! with `smlal`.
//!
//! Every 64-bit ARM processor has these instructions. The scale is applied by the 32-bit `mla`, to
//! both parts of a group's sum (`super`'s doc).

use core::arch::aarch64::{
    int16x8_t, int32x4_t, vaddq_s32, vandq_s32, vdupq_n_s32, vget_high_s16, vget_high_u16,
    vget_low_s16, vget_low_u16, vld1_s8, vld1_u8, vld1q_s16, vmlal_n_s16, vmlaq_s32, vmovl_s8,
    vmovl_u8, vmovl_u16, vreinterpretq_s32_u32, vreinterpretq_u32_s32, vshlq_n_s32, vshlq_s32,
    vshlq_u32, vst1q_s32,
};
use core::marker::PhantomData;

use super::finish;
use super::packed::{Block, Kernel, W8, W12, Width};
use potluck_model::package::GROUP;

/// The kernel.
#[derive(Debug)]
pub(super) struct Neon<W>(PhantomData<W>);

/// How 8 weights become `i16`.
pub(super) trait Load: Width {
    type Weight: Copy + Send + Sync;

    fn weight(weight: i32) -> Self::Weight;

    fn load(weights: &[Self::Weight; LANES]) -> int16x8_t;
}

impl Load for W8 {
    type Weight = i8;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of eight bits")]
    fn weight(weight: i32) -> i8 {
        weight as i8
    }

    #[expect(unsafe_code, reason = "a load from an array of its size")]
    #[inline(always)]
    fn load(weights: &[i8; LANES]) -> int16x8_t {
        // SAFETY: every 64-bit ARM processor has NEON; the array holds exactly the 8 bytes that are
        // read.
        unsafe { vmovl_s8(vld1_s8(weights.as_ptr())) }
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
    fn load(weights: &[i16; LANES]) -> int16x8_t {
        // SAFETY: every 64-bit ARM processor has NEON; the array holds exactly the 16 bytes that
        // are read.
        unsafe { vld1q_s16(weights.as_ptr()) }
    }
}

/// A group of activations.
type Group = [i16; GROUP];

const LANES: usize = 8;
const GROUP_WEIGHTS: usize = LANES * GROUP;

impl<W: Load> Kernel for Neon<W> {
    const LANES: usize = LANES;
    const DEPTH: usize = 1;
    const TOGETHER: usize = 3;
    type Weight = W::Weight;
    type Group = Group;

    fn weight(weight: i32) -> W::Weight {
        W::weight(weight)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a block's mantissas have 15 bits")]
    fn group(a: &[i32]) -> Group {
        core::array::from_fn(|at| a[at] as i16)
    }

    fn tile<const TOKENS: usize>(block: Block<'_, W::Weight>, tokens: &[Group], y: &mut [i32]) {
        tile::<TOKENS, W>(block, tokens, y.as_chunks_mut().0);
    }
}

/// The `y` of a block for `TOKENS` tokens, `[TOKENS, groups]`.
#[expect(unsafe_code, reason = "NEON's intrinsics, and loads and stores of arrays of their size")]
fn tile<const TOKENS: usize, W: Load>(
    block: Block<'_, W::Weight>,
    tokens: &[Group],
    y: &mut [[i32; LANES]],
) {
    let (weights, scales) =
        (block.weights.as_chunks::<GROUP_WEIGHTS>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Group]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    // SAFETY: every 64-bit ARM processor has NEON; what is read and written are arrays of exactly
    // the size of each access.
    unsafe {
        let mask = vdupq_n_s32((1 << W::SPLIT) - 1);
        // NEON shifts right by shifting left by less than nothing.
        let (split, cut_by) =
            (vdupq_n_s32(-W::SPLIT.cast_signed()), vdupq_n_s32(-W::CUT.cast_signed()));
        let zero: [int32x4_t; 2] = [vdupq_n_s32(0); 2];
        let mut whole = [zero; TOKENS];
        let mut cut = [zero; TOKENS];
        for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
            let mut sums = [zero; TOKENS];
            for (at, weights) in weights.as_chunks::<LANES>().0.iter().enumerate() {
                let w = W::load(weights);
                let (low, high) = (vget_low_s16(w), vget_high_s16(w));
                for t in 0..TOKENS {
                    let a = tokens[t][group][at];
                    sums[t] = [vmlal_n_s16(sums[t][0], low, a), vmlal_n_s16(sums[t][1], high, a)];
                }
            }
            let scales = vmovl_u8(vld1_u8(scales.as_ptr()));
            let scales = [vmovl_u16(vget_low_u16(scales)), vmovl_u16(vget_high_u16(scales))];
            for t in 0..TOKENS {
                for half in 0..2 {
                    let scales = vreinterpretq_s32_u32(scales[half]);
                    whole[t][half] =
                        vmlaq_s32(whole[t][half], vshlq_s32(sums[t][half], split), scales);
                    cut[t][half] = vmlaq_s32(cut[t][half], vandq_s32(sums[t][half], mask), scales);
                }
            }
        }
        for (t, y) in y.iter_mut().enumerate() {
            for (half, acc) in y.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let value = vaddq_s32(
                    vshlq_n_s32::<4>(whole[t][half]),
                    vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(cut[t][half]), cut_by)),
                );
                vst1q_s32(acc.as_mut_ptr(), value);
            }
            finish(y, block.multipliers);
        }
    }
}

//! The matrix kernel on wasm `simd128`: two weights of each of 4 rows, as `i16`, multiplied and
//! paired by `i32x4.dot_i16x8_s`.
//!
//! The same instruction applies the scale to both parts of a group's sum (`super`'s doc). A block
//! is two registers of rows, so that one splat of two activations serves both. In V8 on a Xeon,
//! writing out the steps of a group took decoding from 4.0 to 6.3 GMAC/s, and three tokens at once
//! gave 17.5 GMAC/s where four gave 17.0.

use core::arch::wasm32::{
    i16x8_load_extend_i8x8, i16x8_load_extend_u8x8, i32x4_add, i32x4_dot_i16x8,
    i32x4_extend_high_u16x8, i32x4_extend_low_u16x8, i32x4_shl, i32x4_shr, i32x4_splat, u32x4_shr,
    v128, v128_and, v128_load, v128_store,
};
use core::marker::PhantomData;

use super::finish;
use super::packed::{Block, Kernel, W8, W12, Width};
use potluck_model::package::GROUP;

/// The kernel.
#[derive(Debug)]
pub(super) struct Simd128<W>(PhantomData<W>);

/// How 8 weights become `i16`.
pub(super) trait Load: Width {
    type Weight: Copy + Send + Sync;

    fn weight(weight: i32) -> Self::Weight;

    /// The eight from `8 * at`.
    fn load(weights: &[Self::Weight; GROUP_WEIGHTS], at: usize) -> v128;
}

impl Load for W8 {
    type Weight = i8;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of eight bits")]
    fn weight(weight: i32) -> i8 {
        weight as i8
    }

    #[expect(unsafe_code, reason = "a load from within an array")]
    #[inline(always)]
    fn load(weights: &[i8; GROUP_WEIGHTS], at: usize) -> v128 {
        // SAFETY: `at` is below 32, so the 8 bytes are the array's; wasm loads need no alignment.
        unsafe { i16x8_load_extend_i8x8(weights.as_ptr().add(8 * at).cast()) }
    }
}

impl Load for W12 {
    type Weight = i16;

    #[expect(clippy::cast_possible_truncation, reason = "a weight of twelve bits")]
    fn weight(weight: i32) -> i16 {
        weight as i16
    }

    #[expect(unsafe_code, reason = "a load from within an array")]
    #[inline(always)]
    fn load(weights: &[i16; GROUP_WEIGHTS], at: usize) -> v128 {
        // SAFETY: `at` is below 32, so the 16 bytes are the array's; wasm loads need no alignment.
        unsafe { v128_load(weights.as_ptr().add(8 * at).cast()) }
    }
}

/// A group of activations as `i16`, two neighbours in a word.
type Group = [i32; GROUP / 2];

const LANES: usize = 8;
const GROUP_WEIGHTS: usize = LANES * GROUP;

impl<W: Load> Kernel for Simd128<W> {
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

    fn tile<const TOKENS: usize>(block: Block<'_, W::Weight>, tokens: &[Group], y: &mut [i32]) {
        tile::<TOKENS, W>(block, tokens, y.as_chunks_mut().0);
    }
}

/// The `y` of a block for `TOKENS` tokens, `[TOKENS, groups]`.
fn tile<const TOKENS: usize, W: Load>(
    block: Block<'_, W::Weight>,
    tokens: &[Group],
    y: &mut [[i32; LANES]],
) {
    let (weights, scales) =
        (block.weights.as_chunks::<GROUP_WEIGHTS>().0, block.scales.as_chunks::<LANES>().0);
    let groups = weights.len();
    let tokens: [&[Group]; TOKENS] = core::array::from_fn(|t| &tokens[t * groups..][..groups]);
    let mask = i32x4_splat((1 << W::SPLIT) - 1);
    let mut whole = [[i32x4_splat(0); 2]; TOKENS];
    let mut cut = [[i32x4_splat(0); 2]; TOKENS];
    for (group, (weights, scales)) in weights.iter().zip(scales).enumerate() {
        let a: [&Group; TOKENS] = core::array::from_fn(|t| &tokens[t][group]);
        let mut sums = [[i32x4_splat(0); 2]; TOKENS];
        let mut step = |at: usize| {
            let w = [W::load(weights, 2 * at), W::load(weights, 2 * at + 1)];
            for t in 0..TOKENS {
                let a = i32x4_splat(a[t][at]);
                sums[t][0] = i32x4_add(sums[t][0], i32x4_dot_i16x8(w[0], a));
                sums[t][1] = i32x4_add(sums[t][1], i32x4_dot_i16x8(w[1], a));
            }
        };
        // Several in a row, because an engine checks its stack at every turn of a loop; few, or
        // registers run out.
        for at in (0..GROUP / 2).step_by(if TOKENS == 1 { 4 } else { 2 }) {
            step(at);
            step(at + 1);
            if TOKENS == 1 {
                step(at + 2);
                step(at + 3);
            }
        }
        for (half, scales) in widen_scales(scales).into_iter().enumerate() {
            for t in 0..TOKENS {
                let (high, low) =
                    (i32x4_shr(sums[t][half], W::SPLIT), v128_and(sums[t][half], mask));
                whole[t][half] = i32x4_add(whole[t][half], i32x4_dot_i16x8(high, scales));
                cut[t][half] = i32x4_add(cut[t][half], i32x4_dot_i16x8(low, scales));
            }
        }
    }
    for (t, y) in y.iter_mut().enumerate() {
        for (half, acc) in y.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            store(acc, i32x4_add(i32x4_shl(whole[t][half], 4), u32x4_shr(cut[t][half], W::CUT)));
        }
        finish(y, block.multipliers);
    }
}

/// The scale in the lower half of each lane; the upper half of what it meets is only sign.
#[expect(unsafe_code, reason = "a load from an array of its size")]
fn widen_scales(scales: &[u8; LANES]) -> [v128; 2] {
    // SAFETY: the array holds exactly the 8 bytes that are read; wasm loads need no alignment.
    let scales = unsafe { i16x8_load_extend_u8x8(scales.as_ptr()) };
    [i32x4_extend_low_u16x8(scales), i32x4_extend_high_u16x8(scales)]
}

#[expect(unsafe_code, reason = "a store to an array of its size")]
fn store(acc: &mut [i32; 4], value: v128) {
    // SAFETY: the array holds exactly the 16 bytes that are written; wasm stores need no alignment.
    unsafe { v128_store(acc.as_mut_ptr().cast(), value) }
}

//! The packed form: blocks of rows, interleaved as a [`Kernel`] reads them, and the walk over
//! blocks and tokens.
//!
//! A block is [`Kernel::LANES`] rows. Its weights, each in one byte or two, lie as
//! `[groups, 32 / DEPTH, LANES, DEPTH]`, so that one load gives every row its next `DEPTH` columns;
//! its scales as `[groups, LANES]`. Rows that a matrix lacks are zeros. All blocks of all matrices
//! form one list, which threads share where there are threads.

use core::marker::PhantomData;

use crate::threads;
use potluck_model::package::{GROUP, Linear};

use super::Multiply;

/// Bits of a matrix's weights.
pub(super) trait Width: Send + Sync {
    /// Bits beyond eight.
    const EXTRA_BITS: u32;
    /// Where a group's sum is split (`super`'s doc).
    const SPLIT: u32 = 11 + Self::EXTRA_BITS;
    /// What the lower part's sum is cut by.
    const CUT: u32 = 7 + Self::EXTRA_BITS;
}

/// W8 bits a weight.
#[derive(Debug)]
pub(super) enum W8 {}

/// W12 bits a weight.
#[derive(Debug)]
pub(super) enum W12 {}

impl Width for W8 {
    const EXTRA_BITS: u32 = 0;
}

impl Width for W12 {
    const EXTRA_BITS: u32 = 4;
}

/// One way of computing blocks.
///
/// A kernel takes a token's activations a group at a time, in a form of its own.
pub(super) trait Kernel: Send + Sync {
    /// Rows of a block.
    const LANES: usize;
    /// Columns of a row that lie together.
    const DEPTH: usize;
    /// Tokens that go through a block at once, so that each weight is loaded once for all of them:
    /// what registers allow, 3 or 4.
    const TOGETHER: usize;
    /// A weight.
    type Weight: Copy + Send + Sync;
    /// A group of activations.
    type Group: Send + Sync;

    /// Converts a weight.
    fn weight(weight: i32) -> Self::Weight;

    /// Converts a group of activations, `[32]`.
    fn group(a: &[i32]) -> Self::Group;

    /// Computes `y`, `[TOKENS, LANES]`, of a block for `tokens`, `[TOKENS, groups]`.
    fn tile<const TOKENS: usize>(
        block: Block<'_, Self::Weight>,
        tokens: &[Self::Group],
        y: &mut [i32],
    );
}

/// A block's part of every plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a, W> {
    /// `[groups, 32 / DEPTH, LANES, DEPTH]`.
    pub(super) weights: &'a [W],
    /// `[groups, LANES]`.
    pub(super) scales: &'a [u8],
    /// `[LANES]`.
    pub(super) multipliers: &'a [u16],
}

/// Matrices of one width for the kernel `K`.
pub(super) struct Packed<K: Kernel> {
    columns: usize,
    /// Rows of each matrix.
    rows: Vec<usize>,
    /// `[blocks, LANES * columns]`.
    weights: Vec<K::Weight>,
    /// `[blocks, groups * LANES]`.
    scales: Vec<u8>,
    /// `[blocks, LANES]`.
    multipliers: Vec<u16>,
    kernel: PhantomData<K>,
}

/// Bytes of activations that go through a block together: they stay in a second-level cache while
/// all blocks pass.
const BYTES_OF_TOKENS: usize = 512 << 10;

impl<K: Kernel> Packed<K> {
    pub(super) fn new(matrices: &[Linear]) -> Self {
        let columns = matrices[0].columns;
        let blocks: usize = matrices.iter().map(|matrix| matrix.rows.div_ceil(K::LANES)).sum();
        let mut packed = Self {
            columns,
            rows: matrices.iter().map(|matrix| matrix.rows).collect(),
            weights: Vec::with_capacity(blocks * K::LANES * columns),
            scales: Vec::with_capacity(blocks * K::LANES * columns / GROUP),
            multipliers: Vec::with_capacity(blocks * K::LANES),
            kernel: PhantomData,
        };
        for matrix in matrices {
            for first in (0..matrix.rows).step_by(K::LANES) {
                packed.push_block(matrix, first);
            }
        }
        packed
    }

    fn push_block(&mut self, matrix: &Linear, first: usize) {
        let groups = self.columns / GROUP;
        let rows = first..first + K::LANES;
        for group in 0..groups {
            for column in (group * GROUP..(group + 1) * GROUP).step_by(K::DEPTH) {
                for row in rows.clone() {
                    let at = row * self.columns + column;
                    let weight = |at| if row < matrix.rows { matrix.weight(at) } else { 0 };
                    self.weights.extend((at..at + K::DEPTH).map(|at| K::weight(weight(at))));
                }
            }
            let scale =
                |row: usize| matrix.group_scales.get(row * groups + group).copied().unwrap_or(1);
            self.scales.extend(rows.clone().map(scale));
        }
        self.multipliers
            .extend(rows.map(|row| matrix.row_multipliers.get(row).copied().unwrap_or(1)));
    }

    /// Appends the products of a few tokens, `[tokens, groups]`.
    fn multiply_chunk(&self, a: &[K::Group], tokens: usize, outputs: &mut [Vec<i32>]) {
        // `[blocks, tokens, LANES]`: every block writes its own part.
        let mut products = vec![0; self.multipliers.len() * tokens];
        let (weights, scales) = (K::LANES * self.columns, K::LANES * self.columns / GROUP);
        threads::for_each_chunk(
            &mut products,
            tokens * K::LANES,
            tokens * weights,
            |index, products| {
                let block = Block {
                    weights: &self.weights[index * weights..][..weights],
                    scales: &self.scales[index * scales..][..scales],
                    multipliers: &self.multipliers[index * K::LANES..][..K::LANES],
                };
                multiply_block::<K>(block, a, products);
            },
        );
        let mut rest = &products[..];
        for (rows, output) in self.rows.iter().zip(outputs) {
            let (blocks, others) = rest.split_at(rows.next_multiple_of(K::LANES) * tokens);
            rest = others;
            for token in 0..tokens {
                let end = output.len() + rows;
                for block in blocks.chunks_exact(tokens * K::LANES) {
                    output.extend_from_slice(&block[token * K::LANES..][..K::LANES]);
                }
                output.truncate(end);
            }
        }
    }
}

impl<K: Kernel> Multiply for Packed<K> {
    fn multiply(&self, a: &[i32]) -> Vec<Vec<i32>> {
        let tokens = a.len() / self.columns;
        let groups = self.columns / GROUP;
        let together = (BYTES_OF_TOKENS / (groups * size_of::<K::Group>())).max(1);
        let mut outputs: Vec<Vec<i32>> =
            self.rows.iter().map(|rows| Vec::with_capacity(tokens * rows)).collect();
        for chunk in a.chunks(together * self.columns) {
            let converted: Vec<K::Group> = chunk.chunks_exact(GROUP).map(K::group).collect();
            self.multiply_chunk(&converted, chunk.len() / self.columns, &mut outputs);
        }
        outputs
    }
}

/// Computes `y`, `[tokens, LANES]`, of a block.
fn multiply_block<K: Kernel>(block: Block<'_, K::Weight>, tokens: &[K::Group], y: &mut [i32]) {
    let groups = block.scales.len() / K::LANES;
    let mut tiles = y.chunks_exact_mut(K::TOGETHER * K::LANES);
    let mut rest = tokens;
    for y in &mut tiles {
        let (these, others) = rest.split_at(K::TOGETHER * groups);
        if K::TOGETHER == 4 {
            K::tile::<4>(block, these, y);
        } else {
            K::tile::<3>(block, these, y);
        }
        rest = others;
    }
    for (token, y) in
        rest.chunks_exact(groups).zip(tiles.into_remainder().chunks_exact_mut(K::LANES))
    {
        K::tile::<1>(block, token, y);
    }
}

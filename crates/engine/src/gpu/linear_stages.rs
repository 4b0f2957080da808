//! The variants of Linear that an adapter runs, and which of them takes how many rows.

use super::compiled::{Stage, layout, run};
use super::kernels::{
    BLOCK_DOT, BLOCK_FMA, FOUR_DOT, FOUR_FMA, Kernel, MERGED, ONE_DOT, ONE_FMA, TILE_DOT, TILE_FMA,
};
use super::variants::{Arithmetic, Many, Variants};

/// The compiled kernels of Linear that an adapter runs. All take bind groups of
/// [`LinearStages::layout`].
#[derive(Debug)]
pub(super) struct LinearStages {
    kernels: Variants,
    /// Of one row, by rising slices.
    one: Vec<Sliced>,
    /// Of up to four rows, likewise; empty: `many` takes them.
    four: Vec<Sliced>,
    /// Of one row that attention left in heads, likewise.
    merged: Vec<Sliced>,
    many: Stage,
}

/// A kernel that spreads the inputs of an output over so many invocations.
#[derive(Debug)]
struct Sliced {
    slices: u32,
    stage: Stage,
}

/// Over how many invocations the inputs of an output can be spread.
const SLICES: [u32; 3] = [1, 4, 16];

/// Invocations of a workgroup of `one_`, `four_` and `block_`.
const FEW: u32 = 64;
/// Rows and outputs of a workgroup of `tile_`.
const TILE: u32 = 64;
/// Rows up to which four at a time are computed, whatever is best for many.
const FEW_ROWS: u32 = 8;

impl LinearStages {
    /// Everything that a model needs.
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        let four =
            Self::sliced(device, kernels, kernels.arithmetic.of(&FOUR_FMA, &FOUR_DOT), &SLICES);
        let merged = Self::sliced(device, kernels, &MERGED, &SLICES);
        Self { four, merged, ..Self::contender(device, kernels, &SLICES) }
    }

    /// What is needed to measure one row, with some slices only, and many.
    pub(super) fn contender(device: &wgpu::Device, kernels: Variants, slices: &[u32]) -> Self {
        let many = match kernels.many {
            Many::Four => kernels.arithmetic.of(&FOUR_FMA, &FOUR_DOT),
            Many::Block => kernels.arithmetic.of(&BLOCK_FMA, &BLOCK_DOT),
            Many::Tile => kernels.arithmetic.of(&TILE_FMA, &TILE_DOT),
        };
        let one = Self::sliced(device, kernels, kernels.arithmetic.of(&ONE_FMA, &ONE_DOT), slices);
        let many = Stage::new(device, kernels.shaders, many, &[]);
        Self { kernels, one, four: Vec::new(), merged: Vec::new(), many }
    }

    fn sliced(
        device: &wgpu::Device,
        kernels: Variants,
        kernel: &Kernel,
        slices: &[u32],
    ) -> Vec<Sliced> {
        let stage =
            |slices| Stage::new(device, kernels.shaders, kernel, &[("SLICES", f64::from(slices))]);
        slices.iter().map(|&slices| Sliced { slices, stage: stage(slices) }).collect()
    }

    /// What the bind groups of all of them look like.
    pub(super) fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "linear", ONE_FMA.bindings)
    }

    pub(super) fn arithmetic(&self) -> Arithmetic {
        self.kernels.arithmetic
    }

    pub(super) fn fused(&self) -> bool {
        self.kernels.fused
    }

    /// Multiplies `rows` rows with a matrix of `out_rows` outputs.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
        rows: u32,
    ) {
        let fours = rows.div_ceil(4);
        let few = match rows {
            1 => Some((&self.one, 1)),
            2..=FEW_ROWS => Some((&self.four, fours)),
            _ => None,
        };
        let sliced =
            few.and_then(|(stages, tiles)| Some((self.busy(stages, out_rows * tiles)?, tiles)));
        let (stage, workgroups) = if let Some((Sliced { slices, stage }, tiles)) = sliced {
            (stage, (out_rows.div_ceil(FEW / slices), tiles))
        } else {
            let workgroups = match self.kernels.many {
                Many::Four => (out_rows.div_ceil(FEW), fours),
                Many::Block => (out_rows.div_ceil(FEW * 4), fours),
                Many::Tile => (out_rows.div_ceil(TILE), rows.div_ceil(TILE)),
            };
            (&self.many, workgroups)
        };
        run(pass, &stage.pipeline, group, workgroups);
    }

    /// Multiplies the one row that attention left in heads; takes bind groups of
    /// [`LinearStages::merged_layout`].
    pub(super) fn encode_merged(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
    ) {
        let Some(Sliced { slices, stage }) = self.busy(&self.merged, out_rows) else { return };
        run(pass, &stage.pipeline, group, (out_rows.div_ceil(FEW / slices), 1));
    }

    /// What the bind groups of [`LinearStages::encode_merged`] look like.
    pub(super) fn merged_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "merged", MERGED.bindings)
    }

    /// Enough invocations that the adapter is busy, and no more slices than that takes.
    fn busy<'a>(&self, stages: &'a [Sliced], outputs: u32) -> Option<&'a Sliced> {
        let enough = |sliced: &&Sliced| outputs * sliced.slices >= self.kernels.busy_invocations;
        stages.iter().find(enough).or_else(|| stages.last())
    }
}

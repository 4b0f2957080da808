//! The variants of Linear that an adapter runs, and which of them takes how many rows.

use super::compiled::{BlockFormat, CompiledKernel, KernelCompiler, layout, run};
use super::kernels::{
    GEMM_4X4_DOT, GEMM_4X4_FMA, GEMM_TILED_64X64_DOT, GEMM_TILED_64X64_FMA, GEMV_HEADS,
    GEMV_ROWS1_DOT, GEMV_ROWS1_FMA, GEMV_ROWS4_DOT, GEMV_ROWS4_FMA, Kernel,
};
use super::variants::{Arithmetic, Gemm, Variants};

/// The compiled kernels of Linear that an adapter runs. All take bind groups of
/// [`LinearKernels::layout`].
#[derive(Debug)]
pub(super) struct LinearKernels {
    variants: Variants,
    /// For one row, by rising splits.
    gemv_rows1: Vec<SplitK>,
    /// For up to four rows, likewise; if empty, `gemm` takes them.
    gemv_rows4: Vec<SplitK>,
    /// For one row that attention left in heads, likewise.
    gemv_heads: Vec<SplitK>,
    /// For many rows.
    gemm: CompiledKernel,
}

/// A kernel that spreads the inputs of an output (`K`) over so many invocations.
#[derive(Debug)]
pub(super) struct SplitK {
    pub(super) splits: u32,
    pub(super) kernel: CompiledKernel,
}

/// Over how many invocations the inputs of an output can be spread.
const SPLITS: [u32; 3] = [1, 4, 16];

/// Invocations of a workgroup of `gemv_…` and `gemm_4x4_…` (`LANES` there).
pub(super) const LANES: u32 = 64;
/// Rows and outputs of a workgroup of `gemm_tiled_64x64_…`.
const TILE: u32 = 64;
/// Rows up to which `gemv_rows4_…` computes, whatever is best for many.
const FEW_ROWS: u32 = 8;

impl LinearKernels {
    /// Everything that a model needs.
    pub(super) fn new(device: &wgpu::Device, variants: Variants) -> Self {
        let rows4 = variants.arithmetic.of(&GEMV_ROWS4_FMA, &GEMV_ROWS4_DOT);
        Self {
            gemv_rows4: SplitK::compile(device, variants, rows4, &SPLITS),
            gemv_heads: SplitK::compile(device, variants, &GEMV_HEADS, &SPLITS),
            ..Self::to_measure(device, variants, &SPLITS)
        }
    }

    /// What is needed to measure one row, with some splits only, and many.
    pub(super) fn to_measure(device: &wgpu::Device, variants: Variants, splits: &[u32]) -> Self {
        let arithmetic = variants.arithmetic;
        let rows1 = arithmetic.of(&GEMV_ROWS1_FMA, &GEMV_ROWS1_DOT);
        let gemm = match variants.gemm {
            Gemm::Rows4 => arithmetic.of(&GEMV_ROWS4_FMA, &GEMV_ROWS4_DOT),
            Gemm::Block4x4 => arithmetic.of(&GEMM_4X4_FMA, &GEMM_4X4_DOT),
            Gemm::Tiled64x64 => arithmetic.of(&GEMM_TILED_64X64_FMA, &GEMM_TILED_64X64_DOT),
        };
        Self {
            variants,
            gemv_rows1: SplitK::compile(device, variants, rows1, splits),
            gemv_rows4: Vec::new(),
            gemv_heads: Vec::new(),
            gemm: CompiledKernel::new(device, variants.shaders, gemm, &[]),
        }
    }

    /// What the bind groups of all of them look like.
    pub(super) fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "linear", GEMV_ROWS1_FMA.bindings)
    }

    /// A kernel of the same kind, with every split.
    pub(super) fn splits(&self, device: &wgpu::Device, kernel: &Kernel) -> Vec<SplitK> {
        SplitK::compile(device, self.variants, kernel, &SPLITS)
    }

    /// Compiles kernels that write what these read.
    pub(super) fn compiler<'a>(&self, device: &'a wgpu::Device) -> KernelCompiler<'a> {
        KernelCompiler {
            device,
            shaders: self.variants.shaders,
            format: self.variants.arithmetic.of(BlockFormat::F32, BlockFormat::Planes),
        }
    }

    pub(super) fn arithmetic(&self) -> Arithmetic {
        self.variants.arithmetic
    }

    pub(super) fn fused(&self) -> bool {
        self.variants.fused
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
            1 => Some((&self.gemv_rows1, 1)),
            2..=FEW_ROWS => Some((&self.gemv_rows4, fours)),
            _ => None,
        };
        let split =
            few.and_then(|(kernels, tiles)| Some((self.busy(kernels, out_rows * tiles)?, tiles)));
        let (kernel, workgroups) = if let Some((SplitK { splits, kernel }, tiles)) = split {
            (kernel, (out_rows.div_ceil(LANES / splits), tiles))
        } else {
            let workgroups = match self.variants.gemm {
                Gemm::Rows4 => (out_rows.div_ceil(LANES), fours),
                Gemm::Block4x4 => (out_rows.div_ceil(LANES * 4), fours),
                Gemm::Tiled64x64 => (out_rows.div_ceil(TILE), rows.div_ceil(TILE)),
            };
            (&self.gemm, workgroups)
        };
        run(pass, &kernel.pipeline, group, workgroups);
    }

    /// Multiplies the one row that attention left in heads; takes bind groups of
    /// [`LinearKernels::gemv_heads_layout`].
    pub(super) fn encode_heads(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        group: &wgpu::BindGroup,
        out_rows: u32,
    ) {
        let Some(SplitK { splits, kernel }) = self.busy(&self.gemv_heads, out_rows) else { return };
        run(pass, &kernel.pipeline, group, (out_rows.div_ceil(LANES / splits), 1));
    }

    /// What the bind groups of [`LinearKernels::encode_heads`] look like.
    pub(super) fn gemv_heads_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
        layout(device, "gemv heads", GEMV_HEADS.bindings)
    }

    /// Enough invocations that the adapter is busy, and no more splits than that takes.
    pub(super) fn busy<'a>(&self, kernels: &'a [SplitK], outputs: u32) -> Option<&'a SplitK> {
        let enough = |split: &&SplitK| outputs * split.splits >= self.variants.busy_invocations;
        kernels.iter().find(enough).or_else(|| kernels.last())
    }
}

impl SplitK {
    /// A kernel with each of these splits.
    fn compile(
        device: &wgpu::Device,
        variants: Variants,
        kernel: &Kernel,
        splits: &[u32],
    ) -> Vec<Self> {
        let compile = |splits| {
            let constants = [("SPLIT_K", f64::from(splits))];
            CompiledKernel::new(device, variants.shaders, kernel, &constants)
        };
        splits.iter().map(|&splits| Self { splits, kernel: compile(splits) }).collect()
    }
}

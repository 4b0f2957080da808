//! The compiled kernels of an encoder's layers.

use crate::gpu::compiled::{BlockFormat, CompiledKernel, KernelCompiler, run};
use crate::gpu::kernels::{
    ADD_NORM, ADD_NORM_BEFORE, ATTENTION_TEXTS, FIT_ROWS, GELU, GEMM_8X4_W12, MERGE_HEADS,
    SILU_MUL, SPLIT_HEADS, TURN_HEADS,
};
use crate::gpu::matrix::Matrix;
use crate::gpu::variants::Shaders;
use potluck_model::encoder::Family;

/// Rows and outputs of a workgroup of `gemm_8x4_w12`.
const W12_ROWS: u32 = 8;
const W12_OUTPUTS: u32 = 4 * 32;

/// All compiled kernels of an encoder.
#[derive(Debug)]
pub(super) struct EncoderKernels {
    gemm_8x4_w12: CompiledKernel,
    pub(super) fit_rows: CompiledKernel,
    /// `turn_heads` where queries and keys turn.
    pub(super) split_heads: CompiledKernel,
    pub(super) attention: CompiledKernel,
    pub(super) merge_heads: CompiledKernel,
    /// `add_norm_before` where norms are before.
    pub(super) add_norm: CompiledKernel,
    /// `silu_mul` where the MLP is gated.
    pub(super) activation: CompiledKernel,
}

impl EncoderKernels {
    /// Those of a family.
    pub(super) fn new(device: &wgpu::Device, shaders: Shaders, family: Family) -> Self {
        let compiler = KernelCompiler { device, shaders, format: BlockFormat::I32 };
        Self {
            gemm_8x4_w12: CompiledKernel::new(device, shaders, &GEMM_8X4_W12, &[]),
            fit_rows: compiler.compile(&FIT_ROWS),
            split_heads: compiler.compile(if family.turns() { &TURN_HEADS } else { &SPLIT_HEADS }),
            attention: compiler.compile(&ATTENTION_TEXTS),
            merge_heads: compiler.compile(&MERGE_HEADS),
            add_norm: compiler.compile(if family.norms_before() {
                &ADD_NORM_BEFORE
            } else {
                &ADD_NORM
            }),
            activation: compiler.compile(if family.gated() { &SILU_MUL } else { &GELU }),
        }
    }

    /// What the bind groups of [`EncoderKernels::encode_w12`] look like.
    pub(super) fn w12_layout(&self) -> &wgpu::BindGroupLayout {
        &self.gemm_8x4_w12.bindings
    }

    /// Multiplies `rows` rows with a matrix whose weights have twelve bits.
    pub(super) fn encode_w12(&self, pass: &mut wgpu::ComputePass<'_>, matrix: &Matrix, rows: u32) {
        for (group, out_rows) in matrix.pieces() {
            let workgroups = (out_rows.div_ceil(W12_OUTPUTS), rows.div_ceil(W12_ROWS));
            run(pass, &self.gemm_8x4_w12.pipeline, group, workgroups);
        }
    }
}

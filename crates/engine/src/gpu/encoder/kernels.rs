//! The compiled kernels of an encoder's layers.

use crate::gpu::compiled::{BlockFormat, CompiledKernel, KernelCompiler, run};
use crate::gpu::kernels::{
    ADD_NORM, ATTENTION_TEXTS, FIT_ROWS, GELU, GEMM_8X4_W12, MERGE_HEADS, SPLIT_HEADS,
};
use crate::gpu::matrix::Matrix;
use crate::gpu::variants::Shaders;

/// Rows and outputs of a workgroup of `gemm_8x4_w12`.
const W12_ROWS: u32 = 8;
const W12_OUTPUTS: u32 = 4 * 32;

/// All compiled kernels of an encoder.
#[derive(Debug)]
pub(super) struct EncoderKernels {
    gemm_8x4_w12: CompiledKernel,
    pub(super) fit_rows: CompiledKernel,
    pub(super) split_heads: CompiledKernel,
    pub(super) attention: CompiledKernel,
    pub(super) merge_heads: CompiledKernel,
    pub(super) add_norm: CompiledKernel,
    pub(super) gelu: CompiledKernel,
}

impl EncoderKernels {
    pub(super) fn new(device: &wgpu::Device, shaders: Shaders) -> Self {
        let compiler = KernelCompiler { device, shaders, format: BlockFormat::I32 };
        Self {
            gemm_8x4_w12: CompiledKernel::new(device, shaders, &GEMM_8X4_W12, &[]),
            fit_rows: compiler.compile(&FIT_ROWS),
            split_heads: compiler.compile(&SPLIT_HEADS),
            attention: compiler.compile(&ATTENTION_TEXTS),
            merge_heads: compiler.compile(&MERGE_HEADS),
            add_norm: compiler.compile(&ADD_NORM),
            gelu: compiler.compile(&GELU),
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

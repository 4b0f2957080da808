//! The compiled kernels of a model's layers and head.

use super::compiled::{BlockFormat, CompiledKernel, KernelCompiler};
use super::kernels::{
    ATTENTION, FINISH_HEADS, GATHER, LARGEST, MERGE_HEADS, RMS_NORM, ROPE, ROPE_ATTENTION,
    SILU_MUL, WEIGH,
};
use super::linear_kernels::LinearKernels;
use super::variants::Variants;

/// All compiled kernels.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) rms_norm: CompiledKernel,
    pub(super) linear: LinearKernels,
    pub(super) linear_layout: wgpu::BindGroupLayout,
    pub(super) gemv_heads_layout: wgpu::BindGroupLayout,
    pub(super) finish_heads: CompiledKernel,
    pub(super) rope: CompiledKernel,
    pub(super) attention: CompiledKernel,
    pub(super) rope_attention: CompiledKernel,
    pub(super) merge_heads: CompiledKernel,
    pub(super) silu_mul: CompiledKernel,
    pub(super) largest: CompiledKernel,
    pub(super) weigh: CompiledKernel,
    pub(super) gather: CompiledKernel,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        // The kernels before Linear write what its arithmetic reads.
        let compiler = KernelCompiler {
            device,
            shaders: kernels.shaders,
            format: kernels.arithmetic.of(BlockFormat::F32, BlockFormat::Planes),
        };
        Self {
            rms_norm: compiler.compile(&RMS_NORM),
            linear: LinearKernels::new(device, kernels),
            linear_layout: LinearKernels::layout(device),
            gemv_heads_layout: LinearKernels::gemv_heads_layout(device),
            finish_heads: compiler.compile(&FINISH_HEADS),
            rope: compiler.compile(&ROPE),
            attention: compiler.compile(&ATTENTION),
            rope_attention: compiler.compile(&ROPE_ATTENTION),
            merge_heads: compiler.compile(&MERGE_HEADS),
            silu_mul: compiler.compile(&SILU_MUL),
            largest: compiler.compile(&LARGEST),
            weigh: compiler.compile(&WEIGH),
            gather: compiler.compile(&GATHER),
        }
    }
}

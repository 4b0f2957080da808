//! The compiled kernels of a model's layers and head.

use super::compiled::CompiledKernel;
use super::kernels::{
    ADD_ROW, ATTENTION, CAP_LOGITS, FINISH_HEADS, FIT_ROWS, GATHER, GELU, LARGEST, LAYER_NORM,
    MERGE_HEADS, NORMALISE_ROWS, RMS_NORM, ROPE, ROPE_ATTENTION, SILU_MUL, WEIGH,
};
use super::linear_kernels::LinearKernels;
use super::variants::Variants;

/// All compiled kernels.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) rms_norm: CompiledKernel,
    pub(super) layer_norm: CompiledKernel,
    pub(super) fit_rows: CompiledKernel,
    pub(super) linear: LinearKernels,
    pub(super) linear_layout: wgpu::BindGroupLayout,
    pub(super) gemv_heads_layout: wgpu::BindGroupLayout,
    pub(super) finish_heads: CompiledKernel,
    pub(super) normalise_rows: CompiledKernel,
    pub(super) rope: CompiledKernel,
    pub(super) attention: CompiledKernel,
    pub(super) rope_attention: CompiledKernel,
    pub(super) merge_heads: CompiledKernel,
    pub(super) silu_mul: CompiledKernel,
    pub(super) gelu: CompiledKernel,
    pub(super) add_row: CompiledKernel,
    pub(super) cap_logits: CompiledKernel,
    pub(super) largest: CompiledKernel,
    pub(super) weigh: CompiledKernel,
    pub(super) gather: CompiledKernel,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        let linear = LinearKernels::new(device, kernels);
        // The kernels before Linear write what its arithmetic reads.
        let compiler = linear.compiler(device);
        Self {
            rms_norm: compiler.compile(&RMS_NORM),
            layer_norm: compiler.compile(&LAYER_NORM),
            fit_rows: compiler.compile(&FIT_ROWS),
            linear_layout: LinearKernels::layout(device),
            gemv_heads_layout: LinearKernels::gemv_heads_layout(device),
            finish_heads: compiler.compile(&FINISH_HEADS),
            normalise_rows: compiler.compile(&NORMALISE_ROWS),
            rope: compiler.compile(&ROPE),
            attention: compiler.compile(&ATTENTION),
            rope_attention: compiler.compile(&ROPE_ATTENTION),
            merge_heads: compiler.compile(&MERGE_HEADS),
            silu_mul: compiler.compile(&SILU_MUL),
            gelu: compiler.compile(&GELU),
            add_row: compiler.compile(&ADD_ROW),
            cap_logits: compiler.compile(&CAP_LOGITS),
            largest: compiler.compile(&LARGEST),
            weigh: compiler.compile(&WEIGH),
            gather: compiler.compile(&GATHER),
            linear,
        }
    }
}

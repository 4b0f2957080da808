//! The compiled kernels of a model's layers and head.

use super::compiled::{Between, Form, Stage};
use super::kernels::{
    ATTENTION, ATTENTION_ONE, FINISH_HEADS, GATHER, LARGEST, MERGE_HEADS, RMS_NORM, ROPE, SILU_MUL,
    WEIGH,
};
use super::linear_stages::LinearStages;
use super::variants::Variants;

/// All compiled kernels.
#[derive(Debug)]
pub(super) struct Pipelines {
    pub(super) rms_norm: Stage,
    pub(super) linear: LinearStages,
    pub(super) linear_layout: wgpu::BindGroupLayout,
    pub(super) merged_layout: wgpu::BindGroupLayout,
    pub(super) finish_heads: Stage,
    pub(super) rope: Stage,
    pub(super) attention: Stage,
    pub(super) attention_one: Stage,
    pub(super) merge_heads: Stage,
    pub(super) silu_mul: Stage,
    pub(super) largest: Stage,
    pub(super) weigh: Stage,
    pub(super) gather: Stage,
}

impl Pipelines {
    pub(super) fn new(device: &wgpu::Device, kernels: Variants) -> Self {
        // The kernels before Linear write what its arithmetic reads.
        let between = Between {
            device,
            shaders: kernels.shaders,
            form: kernels.arithmetic.of(Form::Floats, Form::Planes),
        };
        Self {
            rms_norm: between.stage(&RMS_NORM),
            linear: LinearStages::new(device, kernels),
            linear_layout: LinearStages::layout(device),
            merged_layout: LinearStages::merged_layout(device),
            finish_heads: between.stage(&FINISH_HEADS),
            rope: between.stage(&ROPE),
            attention: between.stage(&ATTENTION),
            attention_one: between.stage(&ATTENTION_ONE),
            merge_heads: between.stage(&MERGE_HEADS),
            silu_mul: between.stage(&SILU_MUL),
            largest: between.stage(&LARGEST),
            weigh: between.stage(&WEIGH),
            gather: between.stage(&GATHER),
        }
    }
}

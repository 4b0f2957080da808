//! The compiled kernels of an encoder's layers.

use crate::gpu::compiled::{Between, Form, Stage, run};
use crate::gpu::kernels::{
    ADD_NORM, ATTENTION_TEXTS, FIT_ROWS, GELU, MERGE_HEADS, SPLIT_HEADS, TWELVE,
};
use crate::gpu::matrix::Matrix;
use crate::gpu::variants::Shaders;

/// Rows and outputs of a workgroup of `twelve`.
const TWELVE_ROWS: u32 = 8;
const TWELVE_OUTPUTS: u32 = 4 * 32;

/// All compiled kernels of an encoder.
#[derive(Debug)]
pub(super) struct EncoderStages {
    twelve: Stage,
    pub(super) fit_rows: Stage,
    pub(super) split_heads: Stage,
    pub(super) attention: Stage,
    pub(super) merge_heads: Stage,
    pub(super) add_norm: Stage,
    pub(super) gelu: Stage,
}

impl EncoderStages {
    pub(super) fn new(device: &wgpu::Device, shaders: Shaders) -> Self {
        let between = Between { device, shaders, form: Form::Whole };
        Self {
            twelve: Stage::new(device, shaders, &TWELVE, &[]),
            fit_rows: between.stage(&FIT_ROWS),
            split_heads: between.stage(&SPLIT_HEADS),
            attention: between.stage(&ATTENTION_TEXTS),
            merge_heads: between.stage(&MERGE_HEADS),
            add_norm: between.stage(&ADD_NORM),
            gelu: between.stage(&GELU),
        }
    }

    /// What the bind groups of [`EncoderStages::encode_twelve`] look like.
    pub(super) fn twelve_layout(&self) -> &wgpu::BindGroupLayout {
        &self.twelve.bindings
    }

    /// Multiplies `rows` rows with a matrix whose weights have twelve bits.
    pub(super) fn encode_twelve(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        matrix: &Matrix,
        rows: u32,
    ) {
        for (group, out_rows) in matrix.pieces() {
            let workgroups = (out_rows.div_ceil(TWELVE_OUTPUTS), rows.div_ceil(TWELVE_ROWS));
            run(pass, &self.twelve.pipeline, group, workgroups);
        }
    }
}

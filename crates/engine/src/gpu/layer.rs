//! One layer's weights on the device and the ten dispatches that run it; the head's and its two. Everything bound here is
//! made once, when the weights arrive.

use super::matrix::{Destination, Ends, Matrix, storage, uniform};
use super::model::{Model, activation};
use super::pipelines::Pipelines;
use super::session::Cache;
use super::uniforms;
use crate::package::{Gain, LayerWeights, Linear};

/// Linear's exponent is that of its input, plus that of its weights, plus this (`docs/numerics.md`).
const LINEAR_EXPONENT: i32 = 22;

/// What making a layer or head needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker<'a> {
    pub(super) device: &'a wgpu::Device,
    pub(super) queue: &'a wgpu::Queue,
    pub(super) pipelines: &'a Pipelines,
    pub(super) model: &'a Model,
    /// Bound of a matrix's pieces.
    pub(super) piece_bytes: usize,
}

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct Layer {
    attention_norm: wgpu::BindGroup,
    query_key_value: Matrix,
    rope: wgpu::BindGroup,
    attention_output: Matrix,
    mlp_norm: wgpu::BindGroup,
    gate_up: Matrix,
    silu_mul: wgpu::BindGroup,
    down: Matrix,
}

impl Layer {
    pub(super) fn new(maker: Maker<'_>, weights: &LayerWeights) -> Self {
        let Maker { device, queue, pipelines, model, .. } = maker;
        let buffers = &model.buffers;
        let from_norm = |outputs| Ends {
            forward: &buffers.forward,
            mantissas: &buffers.mantissas,
            exponents: &buffers.norm_exponents,
            outputs,
        };
        let to_residual = Ends { exponents: &buffers.inner_exponents, ..from_norm(&buffers.rows) };
        let residual = |linear: &Linear| Destination::Residual {
            exponent: linear.exponent + LINEAR_EXPONENT,
            fraction_bits: model.config.residual_fraction_bits.cast_signed(),
        };
        let projections = uniforms::Projections {
            query_exponent: weights.q.exponent + LINEAR_EXPONENT,
            key_exponent: weights.k.exponent + LINEAR_EXPONENT,
            value_exponent: weights.v.exponent + LINEAR_EXPONENT,
        };
        let gate_up = uniforms::GateUp {
            gate_exponent: weights.gate.exponent + LINEAR_EXPONENT,
            up_exponent: weights.up.exponent + LINEAR_EXPONENT,
        };
        Self {
            attention_norm: maker.norm(&weights.attention_norm),
            query_key_value: maker.matrix(
                &[&weights.q, &weights.k, &weights.v],
                Destination::Stored,
                from_norm(&buffers.projected),
            ),
            rope: pipelines.rope.bind(
                device,
                &[
                    &buffers.shape,
                    &buffers.forward,
                    &uniform(device, queue, "projections", &projections),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.rotation,
                    &buffers.queries,
                    &buffers.query_exponents,
                ],
            ),
            attention_output: maker.matrix(&[&weights.o], residual(&weights.o), to_residual),
            mlp_norm: maker.norm(&weights.mlp_norm),
            gate_up: maker.matrix(&[&weights.gate, &weights.up], Destination::Stored, from_norm(&buffers.projected)),
            silu_mul: pipelines.silu_mul.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "gate and up", &gate_up),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.sigmoid,
                    &buffers.mantissas,
                    &buffers.inner_exponents,
                ],
            ),
            down: maker.matrix(&[&weights.down], residual(&weights.down), to_residual),
        }
    }

    /// Runs the layer over the residual stream's first `rows` rows and appends them to `cache`.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        model: &Model,
        cache: &Cache,
        rows: u32,
    ) {
        let config = &model.config;
        run(pass, &pipelines.rms_norm.pipeline, &self.attention_norm, (rows, 1));
        self.query_key_value.encode(pass, pipelines, rows);
        pass.set_bind_group(1, &cache.write, &[]);
        run(pass, &pipelines.rope.pipeline, &self.rope, (config.heads + 2 * config.kv_heads, rows));
        pass.set_bind_group(1, &cache.read, &[]);
        run(pass, &pipelines.attention.pipeline, &model.attention, (config.heads, rows));
        run(pass, &pipelines.merge_heads.pipeline, &model.merge_heads, (rows, 1));
        self.attention_output.encode(pass, pipelines, rows);
        run(pass, &pipelines.rms_norm.pipeline, &self.mlp_norm, (rows, 1));
        self.gate_up.encode(pass, pipelines, rows);
        run(pass, &pipelines.silu_mul.pipeline, &self.silu_mul, (rows, 1));
        self.down.encode(pass, pipelines, rows);
    }
}

/// The final norm and the output matrix, ready to run.
#[derive(Debug)]
pub(super) struct Head {
    norm: wgpu::BindGroup,
    output: Matrix,
    /// `[vocab]`: the head is only asked for one row.
    pub(super) logits: wgpu::Buffer,
    /// To be added to the exponent of the norm's block.
    pub(super) exponent: i32,
}

impl Head {
    pub(super) fn new(maker: Maker<'_>, norm: &Gain, output: &Linear) -> Self {
        let buffers = &maker.model.buffers;
        let logits = activation(maker.device, "logits", u64::from(maker.model.config.vocab) * 4);
        let ends = Ends {
            forward: &buffers.forward,
            mantissas: &buffers.mantissas,
            exponents: &buffers.norm_exponents,
            outputs: &logits,
        };
        Self {
            norm: maker.norm(norm),
            output: maker.matrix(&[output], Destination::Stored, ends),
            exponent: output.exponent + LINEAR_EXPONENT,
            logits,
        }
    }

    /// Runs the head over the residual stream's first row.
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, pipelines: &Pipelines) {
        run(pass, &pipelines.rms_norm.pipeline, &self.norm, (1, 1));
        self.output.encode(pass, pipelines, 1);
    }
}

fn run(
    pass: &mut wgpu::ComputePass<'_>,
    pipeline: &wgpu::ComputePipeline,
    group: &wgpu::BindGroup,
    (x, y): (u32, u32),
) {
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, group, &[]);
    pass.dispatch_workgroups(x, y, 1);
}

impl Maker<'_> {
    fn norm(&self, gain: &Gain) -> wgpu::BindGroup {
        let Self { device, queue, pipelines, model, .. } = *self;
        let mantissas: Vec<i32> = gain.mantissas.iter().map(|&mantissa| i32::from(mantissa)).collect();
        let buffers = &model.buffers;
        pipelines.rms_norm.bind(
            device,
            &[
                &buffers.shape,
                &uniform(device, queue, "norm", &uniforms::Norm { gain_exponent: gain.exponent }),
                &buffers.rows,
                &storage(device, queue, "gains", bytemuck::cast_slice(&mantissas)),
                &buffers.rsqrt,
                &buffers.mantissas,
                &buffers.norm_exponents,
            ],
        )
    }

    fn matrix(&self, parts: &[&Linear], destination: Destination, ends: Ends<'_>) -> Matrix {
        let Self { device, queue, pipelines, piece_bytes, .. } = *self;
        Matrix::new(device, queue, pipelines, piece_bytes, parts, destination, ends)
    }
}

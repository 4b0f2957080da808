//! One layer's weights on the device and the dispatches that run it: eight for one row where
//! kernels are fused, else ten (one more where a model has biases or normalised heads); the head's
//! and its two. Everything bound here is made once, when the weights arrive.

use super::draw::{Drawer, HEAD_ROWS};
use super::matrix::{Destination, Ends, Matrix, Merged, count, storage, uniform};
use super::model::{Model, activation};
use super::pipelines::{PART_STRIDE, Pipelines, run, run_part};
use super::session::Cache;
use super::uniforms;
use crate::engine::Want;
use crate::package::{Gain, LayerWeights, Linear};

/// Linear's exponent is that of its input, plus that of its weights, plus this
/// (`docs/numerics.md`).
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
    /// Of models with biases or normalised heads.
    finish_heads: Option<wgpu::BindGroup>,
    rope: wgpu::BindGroup,
    attention_one: wgpu::BindGroup,
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
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs,
            merged: None,
        };
        let to_residual = Ends { exponents: &buffers.inner_exponents, ..from_norm(&buffers.rows) };
        let merged = Merged {
            layout: &pipelines.merged_layout,
            shape: &buffers.shape,
            head_outputs: &buffers.head_outputs,
            head_exponents: &buffers.head_exponents,
        };
        let residual = |linear: &Linear| Destination::Residual {
            exponent: linear.exponent + LINEAR_EXPONENT,
            fraction_bits: model.config.residual_fraction_bits.cast_signed(),
        };
        let finish_heads = maker.finish_heads(weights);
        let projections = match finish_heads {
            Some(_) => uniforms::Projections {
                query_exponent: 0,
                key_exponent: 0,
                value_exponent: 0,
                exponents_a_row: model.config.heads + 2 * model.config.kv_heads,
            },
            None => uniforms::Projections {
                query_exponent: weights.q.exponent + LINEAR_EXPONENT,
                key_exponent: weights.k.exponent + LINEAR_EXPONENT,
                value_exponent: weights.v.exponent + LINEAR_EXPONENT,
                exponents_a_row: 1,
            },
        };
        let projected_exponents = if finish_heads.is_some() {
            &buffers.projected_exponents
        } else {
            &buffers.norm_exponents
        };
        let projections = uniform(device, queue, "projections", &projections);
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
            finish_heads,
            rope: pipelines.rope.bind(
                device,
                &[
                    &buffers.shape,
                    &buffers.forward,
                    &projections,
                    &buffers.projected,
                    projected_exponents,
                    &buffers.rotation,
                    &buffers.queries,
                    &buffers.query_exponents,
                ],
            ),
            attention_one: pipelines.attention_one.bind(
                device,
                &[
                    &buffers.shape,
                    &buffers.forward,
                    &buffers.projected,
                    projected_exponents,
                    &buffers.exp2,
                    &buffers.head_outputs,
                    &buffers.head_exponents,
                    &buffers.rotation,
                    &projections,
                ],
            ),
            attention_output: maker.matrix(
                &[&weights.o],
                residual(&weights.o),
                Ends { merged: Some(merged), ..to_residual },
            ),
            mlp_norm: maker.norm(&weights.mlp_norm),
            gate_up: maker.matrix(
                &[&weights.gate, &weights.up],
                Destination::Stored,
                from_norm(&buffers.projected),
            ),
            silu_mul: pipelines.silu_mul.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "gate and up", &gate_up),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.sigmoid,
                    &buffers.block,
                    &buffers.inner_exponents,
                ],
            ),
            down: maker.matrix(&[&weights.down], residual(&weights.down), to_residual),
        }
    }

    /// Runs the layer over the residual stream's first `rows` rows. `parts` are the caches that
    /// they are appended to, with how many of them go there, in order; where those begin is in the
    /// `Forward`s behind the call's own.
    pub(super) fn encode<'a>(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        model: &Model,
        parts: impl Iterator<Item = (&'a Cache, u32)>,
        rows: u32,
    ) {
        let config = &model.config;
        run(pass, &pipelines.rms_norm.pipeline, &self.attention_norm, (rows, 1));
        self.query_key_value.encode(pass, &pipelines.linear, rows);
        let all_heads = config.heads + 2 * config.kv_heads;
        if let Some(finish_heads) = &self.finish_heads {
            run(pass, &pipelines.finish_heads.pipeline, finish_heads, (all_heads, rows));
        }
        let alone = rows == 1 && pipelines.linear.fused();
        for ((cache, rows), offset) in parts.zip((1..).map(|at| at * PART_STRIDE)) {
            pass.set_bind_group(1, &cache.group, &[]);
            if alone {
                let attention_one = &pipelines.attention_one.pipeline;
                run_part(pass, attention_one, &self.attention_one, offset, (config.heads, 1));
            } else {
                run_part(pass, &pipelines.rope.pipeline, &self.rope, offset, (all_heads, rows));
                run_part(
                    pass,
                    &pipelines.attention.pipeline,
                    &model.attention,
                    offset,
                    (config.heads, rows),
                );
            }
        }
        if alone {
            self.attention_output.encode_merged(pass, &pipelines.linear);
        } else {
            run(pass, &pipelines.merge_heads.pipeline, &model.merge_heads, (rows, 1));
            self.attention_output.encode(pass, &pipelines.linear, rows);
        }
        run(pass, &pipelines.rms_norm.pipeline, &self.mlp_norm, (rows, 1));
        self.gate_up.encode(pass, &pipelines.linear, rows);
        run(pass, &pipelines.silu_mul.pipeline, &self.silu_mul, (rows, 1));
        self.down.encode(pass, &pipelines.linear, rows);
    }
}

/// The final norm, the output matrix and what draws from its logits, ready to run.
#[derive(Debug)]
pub(super) struct Head {
    norm: wgpu::BindGroup,
    output: Matrix,
    /// The `Forward` of its rows.
    forward: wgpu::Buffer,
    /// `[HEAD_ROWS, vocab]`.
    pub(super) logits: wgpu::Buffer,
    pub(super) drawer: Drawer,
    /// `[HEAD_ROWS, d_model]`: rows on their way to the front of the residual stream.
    pub(super) picked: wgpu::Buffer,
    /// To be added to the exponent of the norm's block.
    pub(super) exponent: i32,
}

impl Head {
    pub(super) fn new(maker: Maker<'_>, norm: &Gain, output: &Linear) -> Self {
        let Maker { device, queue, model, .. } = maker;
        let buffers = &model.buffers;
        let rows =
            |label, width: u32| activation(device, label, HEAD_ROWS as u64 * u64::from(width) * 4);
        let logits = rows("logits", model.config.vocab);
        let forward = uniform(
            device,
            queue,
            "head's rows",
            &uniforms::Forward { position: 0, rows: 0, first_row: 0 },
        );
        let ends = Ends {
            forward: &forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs: &logits,
            merged: None,
        };
        let exponent = output.exponent + LINEAR_EXPONENT;
        Self {
            norm: maker.norm(norm),
            output: maker.matrix(&[output], Destination::Stored, ends),
            drawer: Drawer::new(maker, &logits, exponent),
            picked: rows("picked rows", model.config.d_model),
            forward,
            logits,
            exponent,
        }
    }

    /// Says what is wanted of each of the residual stream's first rows. To be called before the
    /// submission.
    pub(super) fn write(&self, queue: &wgpu::Queue, wants: &[Want]) {
        let forward = uniforms::Forward { position: 0, rows: count(wants.len()), first_row: 0 };
        queue.write_buffer(&self.forward, 0, bytemuck::bytes_of(&forward));
        if wants.iter().any(|want| matches!(want, Want::Token(_))) {
            self.drawer.write(queue, wants);
        }
    }

    /// Runs the head over those rows.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        wants: &[Want],
    ) {
        let rows = count(wants.len());
        run(pass, &pipelines.rms_norm.pipeline, &self.norm, (rows, 1));
        self.output.encode(pass, &pipelines.linear, rows);
        self.drawer.encode(pass, pipelines, wants);
    }
}

impl Maker<'_> {
    fn norm(&self, gain: &Gain) -> wgpu::BindGroup {
        let Self { device, queue, pipelines, model, .. } = *self;
        let mantissas: Vec<i32> =
            gain.mantissas.iter().map(|&mantissa| i32::from(mantissa)).collect();
        let buffers = &model.buffers;
        pipelines.rms_norm.bind(
            device,
            &[
                &buffers.shape,
                &uniform(device, queue, "norm", &uniforms::Norm { gain_exponent: gain.exponent }),
                &buffers.rows,
                &storage(device, queue, "gains", bytemuck::cast_slice(&mantissas)),
                &buffers.rsqrt,
                &buffers.block,
                &buffers.norm_exponents,
            ],
        )
    }

    /// What adds biases to heads and normalises them, if the layer does either.
    fn finish_heads(&self, weights: &LayerWeights) -> Option<wgpu::BindGroup> {
        let Self { device, queue, pipelines, model, .. } = *self;
        let (biases, gains) = (&weights.qkv_bias, &weights.qk_norm);
        if biases.is_none() && gains.is_none() {
            return None;
        }
        let bias_exponent = |at: usize| biases.as_ref().map_or(0, |biases| biases[at].exponent);
        let gain_exponent = |at: usize| gains.as_ref().map_or(0, |gains| gains[at].exponent);
        let eps = model.config.qk_norm.unwrap_or_else(|| model.config.eps());
        let heads = uniforms::Heads {
            query_exponent: weights.q.exponent + LINEAR_EXPONENT,
            key_exponent: weights.k.exponent + LINEAR_EXPONENT,
            value_exponent: weights.v.exponent + LINEAR_EXPONENT,
            query_bias_exponent: bias_exponent(0),
            key_bias_exponent: bias_exponent(1),
            value_bias_exponent: bias_exponent(2),
            query_gain_exponent: gain_exponent(0),
            key_gain_exponent: gain_exponent(1),
            eps_mantissa: eps.mantissa,
            eps_exponent: eps.exponent,
            biased: u32::from(biases.is_some()),
            normalised: u32::from(gains.is_some()),
        };
        // A binding must have something in it, read or not.
        let biases = biases
            .as_ref()
            .map_or_else(|| vec![0], |all| all.each_ref().map(|bias| &bias.mantissas[..]).concat());
        let gains = gains.as_ref().map_or_else(
            || vec![0],
            |all| {
                all.iter()
                    .flat_map(|gain| gain.mantissas.iter().map(|mantissa| i32::from(*mantissa)))
                    .collect()
            },
        );
        let buffers = &model.buffers;
        Some(pipelines.finish_heads.bind(
            device,
            &[
                &buffers.shape,
                &uniform(device, queue, "heads", &heads),
                &buffers.projected,
                &buffers.norm_exponents,
                &buffers.projected_exponents,
                &storage(device, queue, "biases", bytemuck::cast_slice(&biases)),
                &storage(device, queue, "head gains", bytemuck::cast_slice(&gains)),
                &buffers.rsqrt,
            ],
        ))
    }

    fn matrix(&self, parts: &[&Linear], destination: Destination, ends: Ends<'_>) -> Matrix {
        let Self { device, queue, pipelines, piece_bytes, .. } = *self;
        Matrix::new(device, queue, &pipelines.linear_layout, piece_bytes, parts, destination, ends)
    }
}

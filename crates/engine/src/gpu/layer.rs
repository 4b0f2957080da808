//! One layer's weights on the device and the dispatches that run it: eight for one row where
//! kernels are fused, else ten (one more where a model has biases or normalised heads). Everything
//! bound here is made once, when the weights arrive.

use super::build::{BuildContext, LINEAR_EXPONENT};
use super::compiled::{PART_STRIDE, run, run_part};
use super::matrix::{Destination, HeadsInput, Matrix, MatrixBuffers, uniform};
use super::model::Model;
use super::pipelines::Pipelines;
use super::session::Cache;
use super::uniforms;
use potluck_model::package::{LayerWeights, Linear};

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct Layer {
    attention_norm: wgpu::BindGroup,
    query_key_value: Matrix,
    /// Of models with biases or normalised heads.
    finish_heads: Option<wgpu::BindGroup>,
    rope: wgpu::BindGroup,
    rope_attention: wgpu::BindGroup,
    attention_output: Matrix,
    mlp_norm: wgpu::BindGroup,
    gate_up: Matrix,
    silu_mul: wgpu::BindGroup,
    down: Matrix,
}

impl Layer {
    pub(super) fn new(context: BuildContext<'_>, weights: &LayerWeights) -> Self {
        let BuildContext { device, queue, pipelines, model, .. } = context;
        let buffers = &model.buffers;
        let from_norm = |outputs| MatrixBuffers {
            forward: &buffers.forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs,
            heads: None,
        };
        let to_residual =
            MatrixBuffers { exponents: &buffers.inner_exponents, ..from_norm(&buffers.rows) };
        let heads = HeadsInput {
            layout: &pipelines.gemv_heads_layout,
            shape: &buffers.shape,
            head_outputs: &buffers.head_outputs,
            head_exponents: &buffers.head_exponents,
        };
        let residual = |linear: &Linear| Destination::Residual {
            exponent: linear.exponent + LINEAR_EXPONENT,
            fraction_bits: model.config.residual_fraction_bits.cast_signed(),
        };
        let finish_heads = context.finish_heads(weights);
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
            attention_norm: context.norm(&weights.attention_norm),
            query_key_value: context.matrix(
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
            rope_attention: pipelines.rope_attention.bind(
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
            attention_output: context.matrix(
                &[&weights.o],
                residual(&weights.o),
                MatrixBuffers { heads: Some(heads), ..to_residual },
            ),
            mlp_norm: context.norm(&weights.mlp_norm),
            gate_up: context.matrix(
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
            down: context.matrix(&[&weights.down], residual(&weights.down), to_residual),
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
                let rope_attention = &pipelines.rope_attention.pipeline;
                run_part(pass, rope_attention, &self.rope_attention, offset, (config.heads, 1));
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
            self.attention_output.encode_heads(pass, &pipelines.linear);
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

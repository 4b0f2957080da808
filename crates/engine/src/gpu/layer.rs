//! One layer's weights on the device and the dispatches that run it: eight for one row where
//! kernels are fused, else ten (one more for each of what models have besides: biases or normalised
//! heads, norms of whole rows, biases or norms of what is added). Everything bound here is made once,
//! when the weights arrive.

use super::build::{Block, BuildContext, LINEAR_EXPONENT};
use super::compiled::{PART_STRIDE, run, run_part};
use super::experts::{Experts, Router};
use super::matrix::{Destination, HeadsInput, Matrix, MatrixBuffers, uniform};
use super::mlp::{Mlp, Ungated};
use super::model::Model;
use super::pipelines::Pipelines;
use super::session::Cache;
use super::uniforms;
use crate::step::ring;
use potluck_model::package::{LayerKind, LayerWeights, Mlp as MlpPart};

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct Layer {
    attention_input: Block,
    query_key_value: Matrix,
    /// Of models with biases or normalised heads.
    finish_heads: Option<wgpu::BindGroup>,
    /// Of models with norms of whole query and key rows.
    normalise_rows: Option<wgpu::BindGroup>,
    attention: wgpu::BindGroup,
    rope: wgpu::BindGroup,
    rope_attention: wgpu::BindGroup,
    attention_output: Matrix,
    /// Where a bias or norm comes before the residual stream; so the other.
    add_attention: Option<wgpu::BindGroup>,
    mlp_input: Block,
    mlp: FeedForward,
}

/// What comes after attention.
#[derive(Debug)]
enum FeedForward {
    Dense(Mlp),
    Ungated(Ungated),
    Routed(Router),
    /// A router of a model without experts: there is none where the config was checked.
    None,
}

impl Layer {
    pub(super) fn new(context: BuildContext<'_>, kind: LayerKind, weights: &LayerWeights) -> Self {
        let BuildContext { device, queue, pipelines, model, .. } = context;
        let buffers = &model.buffers;
        let add_attention = context.add_row(
            &weights.o,
            weights.output_bias.as_ref(),
            weights.attention_post_norm.as_ref(),
        );
        let heads = HeadsInput {
            layout: &pipelines.gemv_heads_layout,
            shape: &buffers.shape,
            head_outputs: &buffers.head_outputs,
            head_exponents: &buffers.head_exponents,
        };
        let half = model.config.head_dim / 2;
        let rotation_start = kind.rotation.unwrap_or(0) * model.config.max_positions * half;
        let rotates = u32::from(kind.rotation.is_some());
        let dropped = kind.window.map_or(0, |window| !(ring(window) - 1));
        let scoring = model.scoring(kind, weights.sinks.as_ref());
        let scoring = uniform(device, queue, "scoring", &scoring);
        let finish_heads = context.finish_heads(weights);
        let projections = match finish_heads {
            Some(_) => uniforms::Projections {
                query_exponent: 0,
                key_exponent: 0,
                value_exponent: 0,
                exponents_a_row: model.config.heads + 2 * model.config.kv_heads,
                rotates,
                rotation_start,
                dropped,
            },
            None => uniforms::Projections {
                query_exponent: weights.q.exponent + LINEAR_EXPONENT,
                key_exponent: weights.k.exponent + LINEAR_EXPONENT,
                value_exponent: weights.v.exponent + LINEAR_EXPONENT,
                exponents_a_row: 1,
                rotates,
                rotation_start,
                dropped,
            },
        };
        let projected_exponents = if finish_heads.is_some() {
            &buffers.projected_exponents
        } else {
            &buffers.norm_exponents
        };
        let projections = uniform(device, queue, "projections", &projections);
        Self {
            attention_input: context.block(weights.attention_norm.as_ref()),
            query_key_value: context.matrix(
                &[&weights.q, &weights.k, &weights.v],
                Destination::Stored,
                context.normed(&buffers.projected),
            ),
            finish_heads,
            normalise_rows: context.normalise_rows(weights),
            attention: pipelines.attention.bind(
                device,
                &[
                    &buffers.shape,
                    &buffers.forward,
                    &buffers.queries,
                    &buffers.query_exponents,
                    &buffers.exp2,
                    &buffers.head_outputs,
                    &buffers.head_exponents,
                    &scoring,
                ],
            ),
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
                    &scoring,
                    &buffers.rotation,
                    &projections,
                ],
            ),
            attention_output: context.matrix(
                &[&weights.o],
                context.residual(&weights.o, add_attention.is_some()),
                MatrixBuffers { heads: Some(heads), ..context.inner(add_attention.is_some()) },
            ),
            add_attention,
            mlp_input: context.block(weights.mlp_norm.as_ref()),
            mlp: match (&weights.mlp, &model.experts) {
                (MlpPart::Dense(mlp), _) => {
                    FeedForward::Dense(Mlp::new(context, mlp, weights.mlp_post_norm.as_ref()))
                }
                (MlpPart::Ungated(mlp), _) => {
                    FeedForward::Ungated(Ungated::new(context, mlp, weights.mlp_post_norm.as_ref()))
                }
                (MlpPart::Routed(router), Some(set)) => {
                    FeedForward::Routed(Router::new(context, set, router))
                }
                (MlpPart::Routed(_), None) => FeedForward::None,
            },
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
        experts: Option<&Experts>,
        parts: impl Iterator<Item = (&'a Cache, u32)>,
        rows: u32,
    ) {
        let config = &model.config;
        self.attention_input.encode(pass, pipelines, rows);
        self.query_key_value.encode(pass, &pipelines.linear, rows);
        let all_heads = config.heads + 2 * config.kv_heads;
        if let Some(finish_heads) = &self.finish_heads {
            run(pass, &pipelines.finish_heads.pipeline, finish_heads, (all_heads, rows));
        }
        if let Some(normalise_rows) = &self.normalise_rows {
            run(pass, &pipelines.normalise_rows.pipeline, normalise_rows, (2, rows));
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
                    &self.attention,
                    offset,
                    (config.heads, rows),
                );
            }
        }
        if alone && self.add_attention.is_none() {
            self.attention_output.encode_heads(pass, &pipelines.linear);
        } else {
            run(pass, &pipelines.merge_heads.pipeline, &model.merge_heads, (rows, 1));
            self.attention_output.encode(pass, &pipelines.linear, rows);
        }
        if let Some(add) = &self.add_attention {
            run(pass, &pipelines.add_row.pipeline, add, (rows, 1));
        }
        self.mlp_input.encode(pass, pipelines, rows);
        match (&self.mlp, &model.experts, experts) {
            (FeedForward::Dense(mlp), ..) => mlp.encode(pass, pipelines, rows),
            (FeedForward::Ungated(mlp), ..) => mlp.encode(pass, pipelines, rows),
            (FeedForward::Routed(router), Some(set), Some(experts)) => {
                router.encode(pass, pipelines, set, rows);
                experts.encode(pass, pipelines, set, rows);
            }
            // The call was refused.
            (FeedForward::Routed(_) | FeedForward::None, ..) => {}
        }
    }
}

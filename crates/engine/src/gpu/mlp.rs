//! A layer's MLP on the device: its matrices, the activation between them, and what adds the outputs.

use super::build::{BuildContext, LINEAR_EXPONENT};
use super::compiled::run;
use super::matrix::{Destination, Matrix, storage, uniform};
use super::pipelines::Pipelines;
use super::uniforms;
use potluck_model::package::{Gain, MlpWeights, UngatedWeights};

/// An MLP, ready to run.
#[derive(Debug)]
pub(super) struct Mlp {
    gate_up: Matrix,
    silu_mul: wgpu::BindGroup,
    down: Matrix,
    /// Where a bias or norm comes before the residual stream.
    add: Option<wgpu::BindGroup>,
}

impl Mlp {
    /// Uploads and binds; `norm` comes after it.
    pub(super) fn new(
        context: BuildContext<'_>,
        weights: &MlpWeights,
        norm: Option<&Gain>,
    ) -> Self {
        let BuildContext { device, queue, pipelines, model, .. } = context;
        let buffers = &model.buffers;
        let bias = weights.bias.as_ref();
        let gate_up = uniforms::GateUp {
            gate_exponent: weights.gate.exponent + LINEAR_EXPONENT,
            up_exponent: weights.up.exponent + LINEAR_EXPONENT,
            gate_bias_exponent: bias.map_or(0, |[gate, ..]| gate.exponent),
            up_bias_exponent: bias.map_or(0, |[_, up, _]| up.exponent),
            biased: u32::from(bias.is_some()),
            limit: model.config.mlp_limit.unwrap_or(0).cast_signed(),
        };
        // A binding must have something in it, read or not.
        let gate_up_bias = bias.map_or_else(
            || vec![0],
            |[gate, up, _]| [&gate.mantissas[..], &up.mantissas[..]].concat(),
        );
        let add = context.add_row(&weights.down, bias.map(|[.., down]| down), norm);
        Self {
            gate_up: context.matrix(
                &[&weights.gate, &weights.up],
                Destination::Stored,
                context.normed(&buffers.projected),
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
                    &storage(device, queue, "biases", bytemuck::cast_slice(&gate_up_bias)),
                ],
            ),
            down: context.matrix(
                &[&weights.down],
                context.residual(&weights.down, add.is_some()),
                context.inner(add.is_some()),
            ),
            add,
        }
    }

    /// Takes the first `rows` rows of the block through it, into the residual stream.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        rows: u32,
    ) {
        self.gate_up.encode(pass, &pipelines.linear, rows);
        run(pass, &pipelines.silu_mul.pipeline, &self.silu_mul, (rows, 1));
        self.down.encode(pass, &pipelines.linear, rows);
        if let Some(add) = &self.add {
            run(pass, &pipelines.add_row.pipeline, add, (rows, 1));
        }
    }
}

/// An MLP without a gate, ready to run.
#[derive(Debug)]
pub(super) struct Ungated {
    up: Matrix,
    gelu: wgpu::BindGroup,
    down: Matrix,
    /// Where a bias or norm comes before the residual stream.
    add: Option<wgpu::BindGroup>,
}

impl Ungated {
    /// Uploads and binds; `norm` comes after it.
    pub(super) fn new(
        context: BuildContext<'_>,
        weights: &UngatedWeights,
        norm: Option<&Gain>,
    ) -> Self {
        let BuildContext { device, queue, pipelines, model, .. } = context;
        let buffers = &model.buffers;
        let [up_bias, down_bias] =
            weights.bias.as_ref().map_or([None; 2], |[up, down]| [Some(up), Some(down)]);
        let gelu = uniforms::Gelu {
            exponent: weights.up.exponent + LINEAR_EXPONENT,
            bias_exponent: up_bias.map_or(0, |bias| bias.exponent),
            biased: u32::from(up_bias.is_some()),
        };
        // A binding must have something in it, read or not.
        let up_bias = up_bias.map_or(&[0][..], |bias| &bias.mantissas);
        let add = context.add_row(&weights.down, down_bias, norm);
        Self {
            up: context.matrix(
                &[&weights.up],
                Destination::Stored,
                context.normed(&buffers.projected),
            ),
            gelu: pipelines.gelu.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "gelu", &gelu),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.sigmoid,
                    &buffers.block,
                    &buffers.inner_exponents,
                    &storage(device, queue, "bias", bytemuck::cast_slice(up_bias)),
                ],
            ),
            down: context.matrix(
                &[&weights.down],
                context.residual(&weights.down, add.is_some()),
                context.inner(add.is_some()),
            ),
            add,
        }
    }

    /// Takes the first `rows` rows of the block through it, into the residual stream.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        rows: u32,
    ) {
        self.up.encode(pass, &pipelines.linear, rows);
        run(pass, &pipelines.gelu.pipeline, &self.gelu, (rows, 1));
        self.down.encode(pass, &pipelines.linear, rows);
        if let Some(add) = &self.add {
            run(pass, &pipelines.add_row.pipeline, add, (rows, 1));
        }
    }
}

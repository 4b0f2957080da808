//! One layer of an encoder on the device, and the ten dispatches that run it.

use super::kernels::EncoderKernels;
use super::views::{Turns, Views};
use crate::gpu::compiled::run;
use crate::gpu::matrix::{Destination, Matrix, MatrixBuffers, storage, uniform};
use crate::gpu::model::Buffers;
use crate::gpu::uniforms;
use potluck_model::encoder::{Biased, EncoderLayer, Family, Norm};
use potluck_model::package::{Bias, LayerKind};

/// What the exponent of a matrix's output has beyond those of its input and its weights, of twelve
/// bits (`docs/numerics.md`).
const EXPONENT: i32 = 26;

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct Layer {
    query_key_value: Matrix,
    split_heads: wgpu::BindGroup,
    window: Option<u32>,
    output: Matrix,
    after_attention: wgpu::BindGroup,
    up: Matrix,
    activation: wgpu::BindGroup,
    down: Matrix,
    after_mlp: wgpu::BindGroup,
}

/// What all layers bind alike, and their heads.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) views: &'a Views,
    pub(super) merge_heads: &'a wgpu::BindGroup,
}

impl Layer {
    /// Runs the layer over the residual stream's first `rows` rows.
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        kernels: &EncoderKernels,
        shared: &Shared<'_>,
        rows: u32,
    ) {
        let Shared { heads, kv_heads, views, merge_heads } = *shared;
        let Some(attention) = views.attention(self.window) else { return };
        kernels.encode_w12(pass, &self.query_key_value, rows);
        run(pass, &kernels.split_heads.pipeline, &self.split_heads, (heads + 2 * kv_heads, rows));
        run(pass, &kernels.attention.pipeline, attention, (heads, rows));
        run(pass, &kernels.merge_heads.pipeline, merge_heads, (rows, 1));
        kernels.encode_w12(pass, &self.output, rows);
        run(pass, &kernels.add_norm.pipeline, &self.after_attention, (rows, 1));
        kernels.encode_w12(pass, &self.up, rows);
        run(pass, &kernels.activation.pipeline, &self.activation, (rows, 1));
        kernels.encode_w12(pass, &self.down, rows);
        run(pass, &kernels.add_norm.pipeline, &self.after_mlp, (rows, 1));
    }
}

/// What making a layer needs.
#[derive(Debug)]
pub(super) struct BuildContext<'a> {
    pub(super) device: &'a wgpu::Device,
    pub(super) queue: &'a wgpu::Queue,
    pub(super) kernels: &'a EncoderKernels,
    pub(super) buffers: &'a Buffers,
    pub(super) family: Family,
    pub(super) turns: &'a Turns,
    /// Bound of a matrix's pieces.
    pub(super) piece_bytes: usize,
}

impl BuildContext<'_> {
    /// Uploads and binds a layer of this kind. `next` is the norm that what follows begins with, where
    /// norms are before.
    pub(super) fn layer(
        &self,
        kind: LayerKind,
        weights: &EncoderLayer,
        next: Option<&Norm>,
    ) -> Layer {
        let Self { device, queue, kernels, buffers, family, .. } = *self;
        let [q, k, v, o, up, down] = &weights.matrices;
        let heads = uniforms::Heads {
            query_exponent: q.weights.exponent + EXPONENT,
            key_exponent: k.weights.exponent + EXPONENT,
            value_exponent: v.weights.exponent + EXPONENT,
            query_bias_exponent: q.bias.exponent,
            key_bias_exponent: k.bias.exponent,
            value_bias_exponent: v.bias.exponent,
            query_gain_exponent: 0,
            key_gain_exponent: 0,
            eps_mantissa: 0,
            eps_exponent: 0,
            biased: 1,
            normalised: 0,
        };
        let biases = [q, k, v].map(|part| &part.bias.mantissas[..]).concat();
        let biases = storage(device, queue, "biases", bytemuck::cast_slice(&biases));
        // The one after attention comes before the MLP.
        let attention_norm = weights.attention_norm.as_ref().unwrap_or(&weights.output_norm);
        let (after_attention, after_mlp) = if family.norms_before() {
            (&weights.output_norm, next.unwrap_or(&weights.output_norm))
        } else {
            (attention_norm, &weights.output_norm)
        };
        let ups: Vec<&Biased> = weights.gate.iter().chain([up]).collect();
        Layer {
            query_key_value: self.matrix(&[q, k, v]),
            split_heads: kernels.split_heads.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "heads", &heads),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    self.turns.of(kind).unwrap_or(&biases),
                    &buffers.queries,
                    &buffers.query_exponents,
                ],
            ),
            window: kind.window,
            output: self.matrix(&[o]),
            after_attention: self.add_norm(o, after_attention),
            up: self.matrix(&ups),
            activation: self.activation(weights),
            down: self.matrix(&[down]),
            after_mlp: self.add_norm(down, after_mlp),
        }
    }

    /// What is between up, or gate and up, and down.
    fn activation(&self, weights: &EncoderLayer) -> wgpu::BindGroup {
        let Self { device, queue, kernels, buffers, .. } = *self;
        let [.., up, _] = &weights.matrices;
        let exponent = up.weights.exponent + EXPONENT;
        let exponents = match &weights.gate {
            Some(gate) => uniform(
                device,
                queue,
                "gate and up",
                &uniforms::GateUp {
                    gate_exponent: gate.weights.exponent + EXPONENT,
                    up_exponent: exponent,
                    gate_bias_exponent: 0,
                    up_bias_exponent: 0,
                    biased: 0,
                    limit: 0,
                },
            ),
            None => {
                let gelu = uniforms::Gelu { exponent, bias_exponent: up.bias.exponent, biased: 1 };
                uniform(device, queue, "gelu", &gelu)
            }
        };
        kernels.activation.bind(
            device,
            &[
                &buffers.shape,
                &exponents,
                &buffers.projected,
                &buffers.norm_exponents,
                &buffers.sigmoid,
                &buffers.block,
                &buffers.inner_exponents,
                &storage(device, queue, "bias", bytemuck::cast_slice(&up.bias.mantissas)),
            ],
        )
    }

    fn matrix(&self, parts: &[&Biased]) -> Matrix {
        let Self { device, queue, kernels, buffers, piece_bytes, .. } = *self;
        let matrix_buffers = MatrixBuffers {
            forward: &buffers.forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs: &buffers.projected,
            heads: None,
        };
        let parts: Vec<_> = parts.iter().map(|part| &part.weights).collect();
        Matrix::new(
            device,
            queue,
            kernels.w12_layout(),
            piece_bytes,
            &parts,
            Destination::Stored,
            matrix_buffers,
        )
    }

    /// What adds a matrix's outputs to the rows, and normalises them.
    fn add_norm(&self, Biased { weights, bias }: &Biased, norm: &Norm) -> wgpu::BindGroup {
        let Self { device, queue, kernels, buffers, .. } = *self;
        let Norm { gain, bias: Bias { mantissas: shift, exponent: norm_bias_exponent } } = norm;
        let add = uniforms::AddNorm {
            exponent: weights.exponent + EXPONENT,
            bias_exponent: bias.exponent,
            gain_exponent: gain.exponent,
            norm_bias_exponent: *norm_bias_exponent,
        };
        let gains: Vec<i32> = gain.mantissas.iter().map(|mantissa| i32::from(*mantissa)).collect();
        let vectors = [&gains[..], shift, &bias.mantissas].concat();
        kernels.add_norm.bind(
            device,
            &[
                &buffers.shape,
                &buffers.rows,
                &buffers.block,
                &buffers.norm_exponents,
                &uniform(device, queue, "add and norm", &add),
                &storage(device, queue, "vectors", bytemuck::cast_slice(&vectors)),
                &buffers.rsqrt,
                &buffers.projected,
                &buffers.inner_exponents,
            ],
        )
    }
}

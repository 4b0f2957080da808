//! One layer of an encoder on the device, and the ten dispatches that run it.

use super::kernels::EncoderKernels;
use crate::gpu::compiled::run;
use crate::gpu::matrix::{Destination, Matrix, MatrixBuffers, storage, uniform};
use crate::gpu::model::Buffers;
use crate::gpu::uniforms;
use potluck_model::encoder::{Biased, EncoderLayer, Norm};
use potluck_model::package::Bias;

/// What the exponent of a matrix's output has beyond those of its input and its weights, of twelve
/// bits (`docs/numerics.md`).
const EXPONENT: i32 = 26;

/// A layer, ready to run.
#[derive(Debug)]
pub(super) struct Layer {
    query_key_value: Matrix,
    split_heads: wgpu::BindGroup,
    output: Matrix,
    attention_norm: wgpu::BindGroup,
    up: Matrix,
    gelu: wgpu::BindGroup,
    down: Matrix,
    output_norm: wgpu::BindGroup,
}

/// What all layers bind alike, and their heads.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) heads: u32,
    pub(super) kv_heads: u32,
    pub(super) attention: &'a wgpu::BindGroup,
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
        let Shared { heads, kv_heads, attention, merge_heads } = *shared;
        kernels.encode_w12(pass, &self.query_key_value, rows);
        run(pass, &kernels.split_heads.pipeline, &self.split_heads, (heads + 2 * kv_heads, rows));
        run(pass, &kernels.attention.pipeline, attention, (heads, rows));
        run(pass, &kernels.merge_heads.pipeline, merge_heads, (rows, 1));
        kernels.encode_w12(pass, &self.output, rows);
        run(pass, &kernels.add_norm.pipeline, &self.attention_norm, (rows, 1));
        kernels.encode_w12(pass, &self.up, rows);
        run(pass, &kernels.gelu.pipeline, &self.gelu, (rows, 1));
        kernels.encode_w12(pass, &self.down, rows);
        run(pass, &kernels.add_norm.pipeline, &self.output_norm, (rows, 1));
    }
}

/// What making a layer needs.
#[derive(Debug)]
pub(super) struct BuildContext<'a> {
    pub(super) device: &'a wgpu::Device,
    pub(super) queue: &'a wgpu::Queue,
    pub(super) kernels: &'a EncoderKernels,
    pub(super) buffers: &'a Buffers,
    /// Bound of a matrix's pieces.
    pub(super) piece_bytes: usize,
}

impl BuildContext<'_> {
    /// Uploads and binds a layer.
    pub(super) fn layer(&self, weights: &EncoderLayer) -> Layer {
        let Self { device, queue, kernels, buffers, .. } = *self;
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
        let gelu = uniforms::Gelu {
            exponent: up.weights.exponent + EXPONENT,
            bias_exponent: up.bias.exponent,
        };
        Layer {
            query_key_value: self.matrix(&[q, k, v]),
            split_heads: kernels.split_heads.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "heads", &heads),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &storage(device, queue, "biases", bytemuck::cast_slice(&biases)),
                    &buffers.queries,
                    &buffers.query_exponents,
                ],
            ),
            output: self.matrix(&[o]),
            attention_norm: self.add_norm(o, &weights.attention_norm),
            up: self.matrix(&[up]),
            gelu: kernels.gelu.bind(
                device,
                &[
                    &buffers.shape,
                    &uniform(device, queue, "gelu", &gelu),
                    &buffers.projected,
                    &buffers.norm_exponents,
                    &buffers.sigmoid,
                    &buffers.block,
                    &buffers.inner_exponents,
                    &storage(device, queue, "bias", bytemuck::cast_slice(&up.bias.mantissas)),
                ],
            ),
            down: self.matrix(&[down]),
            output_norm: self.add_norm(down, &weights.output_norm),
        }
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
        let vectors = [&bias.mantissas[..], &gains, shift].concat();
        kernels.add_norm.bind(
            device,
            &[
                &buffers.shape,
                &buffers.rows,
                &buffers.block,
                &buffers.norm_exponents,
                &uniform(device, queue, "add and norm", &add),
                &buffers.projected,
                &buffers.inner_exponents,
                &storage(device, queue, "vectors", bytemuck::cast_slice(&vectors)),
                &buffers.rsqrt,
            ],
        )
    }
}

//! What layers and the head are made of: norms, matrices and what finishes heads, with their
//! weights uploaded and everything bound.

use super::compiled::run;
use super::matrix::{Destination, Matrix, MatrixBuffers, storage, uniform};
use super::model::Model;
use super::pipelines::Pipelines;
use super::uniforms;
use potluck_model::package::{Bias, Gain, LayerWeights, Linear};

/// Linear's exponent is that of its input, plus that of its weights, plus this
/// (`docs/numerics.md`).
pub(super) const LINEAR_EXPONENT: i32 = 22;

/// What making a layer or head needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuildContext<'a> {
    pub(super) device: &'a wgpu::Device,
    pub(super) queue: &'a wgpu::Queue,
    pub(super) pipelines: &'a Pipelines,
    pub(super) model: &'a Model,
    /// Bound of a matrix's pieces.
    pub(super) piece_bytes: usize,
}

/// Residual rows on their way into a matrix.
#[derive(Debug)]
pub(super) enum Block {
    /// Through `rms_norm`.
    Normalised(wgpu::BindGroup),
    /// Through `layer_norm`.
    Centred(wgpu::BindGroup),
    /// Through `fit_rows`.
    Fitted(wgpu::BindGroup),
}

impl Block {
    pub(super) fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        pipelines: &Pipelines,
        rows: u32,
    ) {
        let (kernel, group) = match self {
            Self::Normalised(group) => (&pipelines.rms_norm, group),
            Self::Centred(group) => (&pipelines.layer_norm, group),
            Self::Fitted(group) => (&pipelines.fit_rows, group),
        };
        run(pass, &kernel.pipeline, group, (rows, 1));
    }
}

impl BuildContext<'_> {
    /// Residual rows into the block that the next matrix reads, normalised if there is a norm.
    pub(super) fn block(&self, gain: Option<&Gain>) -> Block {
        let Self { device, pipelines, model, .. } = *self;
        let buffers = &model.buffers;
        match gain {
            Some(gain) => self.norm(gain),
            None => {
                let bound =
                    [&buffers.shape, &buffers.rows, &buffers.block, &buffers.norm_exponents];
                Block::Fitted(pipelines.fit_rows.bind(device, &bound))
            }
        }
    }

    /// What adds the outputs of a matrix, which are in `projected`, to the residual stream with a bias
    /// or a norm, if the layer has either.
    pub(super) fn add_row(
        &self,
        matrix: &Linear,
        bias: Option<&Bias>,
        gain: Option<&Gain>,
    ) -> Option<wgpu::BindGroup> {
        let Self { device, queue, pipelines, model, .. } = *self;
        if bias.is_none() && gain.is_none() {
            return None;
        }
        let add = uniforms::AddRow {
            exponent: matrix.exponent + LINEAR_EXPONENT,
            bias_exponent: bias.map_or(0, |bias| bias.exponent),
            gain_exponent: gain.map_or(0, |gain| gain.exponent),
            biased: u32::from(bias.is_some()),
            normalised: u32::from(gain.is_some()),
        };
        let mut vectors = vec![0; 2 * matrix.rows];
        let (biases, gains) = vectors.split_at_mut(matrix.rows);
        if let Some(bias) = bias {
            biases.copy_from_slice(&bias.mantissas);
        }
        if let Some(gain) = gain {
            gains.iter_mut().zip(&gain.mantissas).for_each(|(to, from)| *to = i32::from(*from));
        }
        let buffers = &model.buffers;
        Some(pipelines.add_row.bind(
            device,
            &[
                &buffers.shape,
                &uniform(device, queue, "add row", &add),
                &buffers.rows,
                &buffers.projected,
                &buffers.inner_exponents,
                &storage(device, queue, "vectors", bytemuck::cast_slice(&vectors)),
                &buffers.rsqrt,
            ],
        ))
    }

    /// What normalises whole query and key rows, if the layer does.
    pub(super) fn normalise_rows(&self, weights: &LayerWeights) -> Option<wgpu::BindGroup> {
        let Self { device, queue, pipelines, model, .. } = *self;
        let [query, key] = weights.qk_row_norm.as_ref()?;
        let [query_eps, key_eps] = model.config.qk_row_norm?;
        let norms = uniforms::RowNorms {
            query_gain_exponent: query.exponent,
            key_gain_exponent: key.exponent,
            query_eps_mantissa: query_eps.mantissa,
            query_eps_exponent: query_eps.exponent,
            key_eps_mantissa: key_eps.mantissa,
            key_eps_exponent: key_eps.exponent,
        };
        let gains = query.mantissas.iter().chain(&key.mantissas);
        let gains: Vec<i32> = gains.map(|mantissa| i32::from(*mantissa)).collect();
        let buffers = &model.buffers;
        Some(pipelines.normalise_rows.bind(
            device,
            &[
                &buffers.shape,
                &uniform(device, queue, "row norms", &norms),
                &buffers.projected,
                &buffers.projected_exponents,
                &storage(device, queue, "row gains", bytemuck::cast_slice(&gains)),
                &buffers.rsqrt,
            ],
        ))
    }

    /// A norm of the residual stream, into the block that the next matrix reads.
    pub(super) fn norm(&self, gain: &Gain) -> Block {
        let Self { device, queue, pipelines, model, .. } = *self;
        let mantissas: Vec<i32> =
            gain.mantissas.iter().map(|&mantissa| i32::from(mantissa)).collect();
        let buffers = &model.buffers;
        if let Some(bias) = &gain.bias {
            let norm = uniforms::AddNorm {
                exponent: 0,
                bias_exponent: 0,
                gain_exponent: gain.exponent,
                norm_bias_exponent: bias.exponent,
            };
            let vectors = [&mantissas[..], &bias.mantissas].concat();
            return Block::Centred(pipelines.layer_norm.bind(
                device,
                &[
                    &buffers.shape,
                    // Nobody reads the projections between a matrix's outputs and the next norm's.
                    &buffers.projected,
                    &buffers.block,
                    &buffers.norm_exponents,
                    &uniform(device, queue, "norm", &norm),
                    &storage(device, queue, "vectors", bytemuck::cast_slice(&vectors)),
                    &buffers.rsqrt,
                    &buffers.rows,
                ],
            ));
        }
        Block::Normalised(pipelines.rms_norm.bind(
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
        ))
    }

    /// What adds biases to heads and normalises them, if the layer does either; and what gives every
    /// head an exponent, for norms of whole rows.
    pub(super) fn finish_heads(&self, weights: &LayerWeights) -> Option<wgpu::BindGroup> {
        let Self { device, queue, pipelines, model, .. } = *self;
        let (biases, gains) = (&weights.qkv_bias, &weights.qk_norm);
        if biases.is_none() && gains.is_none() && weights.qk_row_norm.is_none() {
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

    /// A matrix that reads the block which a norm made.
    pub(super) fn normed<'b>(&'b self, outputs: &'b wgpu::Buffer) -> MatrixBuffers<'b> {
        let buffers = &self.model.buffers;
        MatrixBuffers {
            forward: &buffers.forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs,
            heads: None,
        }
    }

    /// A matrix whose outputs go to the residual stream: by itself, or by what [adds](Self::add_row)
    /// them.
    pub(super) fn inner(&self, is_added: bool) -> MatrixBuffers<'_> {
        let buffers = &self.model.buffers;
        MatrixBuffers {
            exponents: &buffers.inner_exponents,
            ..self.normed(if is_added { &buffers.projected } else { &buffers.rows })
        }
    }

    /// Where those outputs go.
    pub(super) fn residual(&self, linear: &Linear, is_added: bool) -> Destination {
        if is_added {
            return Destination::Stored;
        }
        Destination::Residual {
            exponent: linear.exponent + LINEAR_EXPONENT,
            fraction_bits: self.model.config.residual_fraction_bits.cast_signed(),
        }
    }

    /// A matrix of `parts`, one below the other.
    pub(super) fn matrix(
        &self,
        parts: &[&Linear],
        destination: Destination,
        buffers: MatrixBuffers<'_>,
    ) -> Matrix {
        let Self { device, queue, pipelines, piece_bytes, .. } = *self;
        Matrix::new(
            device,
            queue,
            &pipelines.linear_layout,
            piece_bytes,
            parts,
            destination,
            buffers,
        )
    }
}

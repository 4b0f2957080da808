//! An encoder's layers on a GPU: texts' rows go up, pass through all layers in one submission of
//! ten dispatches a layer, and come back to be pooled. Embedding and pooling are the processor's
//! (`crate::encoder`): a few additions a token.
//!
//! Texts of one call lie one after the other in the rows, and each row knows where its own text
//! begins. What does not fit the buffers at once goes in several calls; a text is never cut.

use std::borrow::Cow;
use std::sync::Arc;

use super::device::{Device, Part};
use super::matrix::{Destination, Ends, Matrix, count, storage, uniform};
use super::model::{Buffers, activation, check_limits};
use super::pipelines::{EncoderStages, run};
use super::read_back::{self, Ring};
use super::tune::Shaders;
use super::{GpuError, GpuInfo, tune, uniforms};
use crate::encoder::{Embedding, EncodeError, Frame};
use crate::package::{
    Bias, Biased, BlobError, BlobRole, EncoderLayer, EncoderManifest, ModelConfig, Norm,
};
use crate::threads;

/// Rows that go through the layers at once, at least: enough to keep an adapter busy, few enough
/// that a visitor's memory holds them. An encoder with more positions takes as many as it has.
const ROWS_AT_ONCE: u32 = 512;
/// What rows are a multiple of: `twelve` takes so many at a time.
const ROWS_TOGETHER: u32 = 8;
/// What the exponent of a matrix's output has beyond those of its input and its weights, of twelve
/// bits (`docs/numerics.md`).
const EXPONENT: i32 = 26;

/// An encoder with its layers on a GPU.
#[derive(Debug)]
pub struct GpuEncoder {
    frame: Frame,
    device: Device,
    stages: EncoderStages,
    buffers: Buffers,
    /// `[rows]`: where a row's text begins, and how many rows it has.
    texts: wgpu::Buffer,
    /// Keys, values and their exponents, of one layer after the other.
    cache: wgpu::BindGroup,
    fit_rows: wgpu::BindGroup,
    attention: wgpu::BindGroup,
    merge_heads: wgpu::BindGroup,
    layers: Vec<Layer>,
    rows: u32,
    staging: Ring,
}

/// A GPU could not take an encoder in, or encode with it.
#[derive(Debug, thiserror::Error)]
pub enum GpuEncoderError {
    /// A blob is not what the manifest's shapes need.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A text cannot be encoded.
    #[error(transparent)]
    Text(#[from] EncodeError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

#[derive(Debug)]
struct Layer {
    query_key_value: Matrix,
    split_heads: wgpu::BindGroup,
    output: Matrix,
    attention_norm: wgpu::BindGroup,
    up: Matrix,
    gelu: wgpu::BindGroup,
    down: Matrix,
    output_norm: wgpu::BindGroup,
}

impl GpuEncoder {
    /// Opens the best adapter and takes an encoder in; `blob` gives the bytes of every part, whose
    /// hashes the caller has checked.
    ///
    /// # Errors
    /// If there is no adapter, or only one that computes in software and `accept_software` is
    /// false, or it has no room, or a blob is not what the manifest's shapes need.
    pub async fn new<'a>(
        accept_software: bool,
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, GpuEncoderError> {
        let device = Device::open(accept_software).await?;
        let shaders = tune::shaders(&device);
        Self::with_device(device, shaders, manifest, blob).await
    }

    /// On the best adapter, software or not, with kernels compiled like this; for tests and
    /// measurements.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn with_shaders<'a>(
        shaders: Shaders,
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, GpuEncoderError> {
        let device = Device::open(true).await?;
        let shaders = device.able(shaders);
        Self::with_device(device, shaders, manifest, blob).await
    }

    async fn with_device<'a>(
        mut device: Device,
        shaders: Shaders,
        manifest: Arc<EncoderManifest>,
        blob: impl Fn(BlobRole) -> Cow<'a, [u8]>,
    ) -> Result<Self, GpuEncoderError> {
        let frame = Frame::new(Arc::clone(&manifest), &blob)?;
        let config = manifest.config;
        let rows = config.max_positions.max(ROWS_AT_ONCE).next_multiple_of(ROWS_TOGETHER);
        check_limits(&config, rows as usize, &device.limits)?;
        let stages =
            device.allocate(Part::Kernels, |device, _| EncoderStages::new(device, shaders))?;
        let made = device.allocate(Part::Model, |handle, queue| {
            let buffers = Buffers::new(handle, queue, &config, &frame.tables, rows as usize);
            let plane = |label, width: u32| {
                activation(handle, label, u64::from(rows) * u64::from(width) * 4)
            };
            let texts = plane("texts", 2);
            let kv_width = config.kv_heads * config.head_dim / 2;
            let cache = [
                plane("keys", kv_width),
                plane("values", kv_width),
                plane("cache exponents", 2 * config.kv_heads),
            ];
            let cache = stages.split_heads.bind_cache(handle, &cache.each_ref());
            let fit_rows = [&buffers.shape, &buffers.rows, &buffers.block, &buffers.norm_exponents];
            let attention = [
                &buffers.shape,
                &texts,
                &buffers.queries,
                &buffers.query_exponents,
                &buffers.exp2,
                &buffers.head_outputs,
                &buffers.head_exponents,
            ];
            let merge_heads = [
                &buffers.shape,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &buffers.block,
                &buffers.inner_exponents,
            ];
            let fit_rows = stages.fit_rows.bind(handle, &fit_rows);
            let attention = stages.attention.bind(handle, &attention);
            let merge_heads = stages.merge_heads.bind(handle, &merge_heads);
            (buffers, texts, cache, [fit_rows, attention, merge_heads])
        })?;
        let (buffers, texts, cache, [fit_rows, attention, merge_heads]) = made;
        let piece_bytes = device.piece_bytes();
        let mut layers = Vec::new();
        for index in 0..config.layers {
            let weights = EncoderLayer::from_bytes(&config, index, &blob(BlobRole::Layer(index)))?;
            layers.push(device.allocate(Part::Layer(index), |device, queue| {
                Maker { device, queue, stages: &stages, buffers: &buffers, piece_bytes }
                    .layer(&weights)
            })?);
        }
        // A browser answers only now whether there was room.
        device.settle(|_| {}).await?;
        Ok(Self {
            frame,
            device,
            stages,
            buffers,
            texts,
            cache,
            fit_rows,
            attention,
            merge_heads,
            layers,
            rows,
            staging: Ring::default(),
        })
    }

    /// What it is.
    #[must_use]
    pub fn manifest(&self) -> &EncoderManifest {
        &self.frame.manifest
    }

    /// What the GPU calls itself.
    #[must_use]
    pub fn info(&self) -> &GpuInfo {
        &self.device.info
    }

    /// The vectors of texts, each given with the tokens around it.
    ///
    /// # Errors
    /// If a text is empty, too long, or has a token that the model has not, or the device fails.
    pub async fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Embedding>, GpuEncoderError> {
        self.frame.check(texts)?;
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in batches(texts, self.rows as usize) {
            let rows = threads::enter(|| self.frame.embed(texts));
            let rows = self.forward(texts, &rows).await?;
            vectors.extend(self.frame.pool(texts, &rows));
        }
        Ok(vectors)
    }

    /// Takes the rows of some texts, `[rows, d_model]`, through all layers.
    async fn forward(&mut self, texts: &[&[u32]], rows: &[i32]) -> Result<Vec<i32>, GpuError> {
        self.device.settle(|_| {}).await?;
        let mut spans = Vec::new();
        for text in texts {
            let span = [count(spans.len()), count(text.len())];
            spans.extend(std::iter::repeat_n(span, text.len()));
        }
        let (buffers, queue, row_count) = (&self.buffers, &self.device.queue, count(spans.len()));
        let forward = uniforms::Forward { position: 0, rows: row_count, first_row: 0 };
        queue.write_buffer(&buffers.forward, 0, bytemuck::bytes_of(&forward));
        queue.write_buffer(&self.texts, 0, bytemuck::cast_slice(&spans));
        queue.write_buffer(&buffers.rows, 0, bytemuck::cast_slice(rows));
        let mut encoder =
            self.device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(1, &self.cache, &[]);
            run(&mut pass, &self.stages.fit_rows.pipeline, &self.fit_rows, (row_count, 1));
            for layer in &self.layers {
                self.encode_layer(&mut pass, layer, row_count);
            }
        }
        let size_bytes = rows.len() as u64 * 4;
        let staging = self.staging.take(&self.device.handle, size_bytes);
        encoder.copy_buffer_to_buffer(&buffers.rows, 0, &staging, 0, size_bytes);
        let index = queue.submit([encoder.finish()]);
        let result = read_back::read(&self.device.handle, &staging, rows.len(), index).await;
        // Why the device failed says more than that the map did.
        self.device.check()?;
        let output = result?;
        self.staging.put_back(staging);
        Ok(output)
    }

    fn encode_layer(&self, pass: &mut wgpu::ComputePass<'_>, layer: &Layer, rows: u32) {
        let ModelConfig { heads, kv_heads, .. } = self.frame.manifest.config;
        let stages = &self.stages;
        layer.query_key_value.encode_twelve(pass, stages, rows);
        run(pass, &stages.split_heads.pipeline, &layer.split_heads, (heads + 2 * kv_heads, rows));
        run(pass, &stages.attention.pipeline, &self.attention, (heads, rows));
        run(pass, &stages.merge_heads.pipeline, &self.merge_heads, (rows, 1));
        layer.output.encode_twelve(pass, stages, rows);
        run(pass, &stages.add_norm.pipeline, &layer.attention_norm, (rows, 1));
        layer.up.encode_twelve(pass, stages, rows);
        run(pass, &stages.gelu.pipeline, &layer.gelu, (rows, 1));
        layer.down.encode_twelve(pass, stages, rows);
        run(pass, &stages.add_norm.pipeline, &layer.output_norm, (rows, 1));
    }
}

/// Consecutive texts that have at most `rows` tokens together; no text has more.
fn batches<'a, 'b>(texts: &'a [&'b [u32]], rows: usize) -> impl Iterator<Item = &'a [&'b [u32]]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |text: &&[u32]| {
            tokens += text.len();
            tokens <= rows
        };
        let (batch, others) = rest.split_at(rest.iter().copied().take_while(fits).count());
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}

/// What making a layer needs.
struct Maker<'a> {
    device: &'a wgpu::Device,
    queue: &'a wgpu::Queue,
    stages: &'a EncoderStages,
    buffers: &'a Buffers,
    /// Bound of a matrix's pieces.
    piece_bytes: usize,
}

impl Maker<'_> {
    fn layer(&self, weights: &EncoderLayer) -> Layer {
        let Self { device, queue, stages, buffers, .. } = *self;
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
            split_heads: stages.split_heads.bind(
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
            gelu: stages.gelu.bind(
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
        let Self { device, queue, stages, buffers, piece_bytes, .. } = *self;
        let ends = Ends {
            forward: &buffers.forward,
            block: &buffers.block,
            exponents: &buffers.norm_exponents,
            outputs: &buffers.projected,
            merged: None,
        };
        let parts: Vec<_> = parts.iter().map(|part| &part.weights).collect();
        Matrix::new(
            device,
            queue,
            stages.twelve_layout(),
            piece_bytes,
            &parts,
            Destination::Stored,
            ends,
        )
    }

    /// What adds a matrix's outputs to the rows, and normalises them.
    fn add_norm(&self, Biased { weights, bias }: &Biased, norm: &Norm) -> wgpu::BindGroup {
        let Self { device, queue, stages, buffers, .. } = *self;
        let Norm { gain, bias: Bias { mantissas: shift, exponent: norm_bias_exponent } } = norm;
        let add = uniforms::AddNorm {
            exponent: weights.exponent + EXPONENT,
            bias_exponent: bias.exponent,
            gain_exponent: gain.exponent,
            norm_bias_exponent: *norm_bias_exponent,
        };
        let gains: Vec<i32> = gain.mantissas.iter().map(|mantissa| i32::from(*mantissa)).collect();
        let vectors = [&bias.mantissas[..], &gains, shift].concat();
        stages.add_norm.bind(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_together_but_never_cut() {
        let texts: [&[u32]; 5] = [&[1; 3], &[2; 5], &[3; 1], &[4; 8], &[5; 2]];
        let lengths: Vec<Vec<usize>> =
            batches(&texts, 8).map(|batch| batch.iter().map(|text| text.len()).collect()).collect();
        assert_eq!(lengths, [vec![3, 5], vec![1], vec![8], vec![2]]);
        assert_eq!(batches(&[], 8).count(), 0);
    }
}

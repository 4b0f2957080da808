//! An encoder's layers on a GPU: texts' rows go up, pass through all layers in one submission of
//! ten dispatches a layer, and come back to be pooled. Embedding and pooling are the processor's
//! (`crate::encoder`): a few additions a token.
//!
//! Texts of one call lie one after the other in the rows, and each row knows where its own text
//! begins. What does not fit the buffers at once goes in several calls; a text is never cut.

mod kernels;
mod layer;

use std::borrow::Cow;
use std::sync::Arc;

use self::kernels::EncoderKernels;
use self::layer::{BuildContext, Layer, Shared};
use crate::encoder::{Embedding, EncodeError, Frame};
use crate::gpu::compiled::run;
use crate::gpu::device::{Device, Part};
use crate::gpu::matrix::{count, uniform};
use crate::gpu::model::{Buffers, activation, check_limits};
use crate::gpu::read_back::{self, Ring};
use crate::gpu::variants::Shaders;
use crate::gpu::{GpuError, GpuInfo, uniforms};
use crate::threads;
use bytemuck::Zeroable as _;
use potluck_model::encoder::{EncoderLayer, EncoderManifest};
use potluck_model::package::{BlobError, BlobRole, ModelConfig};

/// Rows that go through the layers at once, at least: enough to keep an adapter busy, few enough
/// that a visitor's memory holds them. An encoder with more positions takes as many as it has.
const ROWS_AT_ONCE: u32 = 512;
/// What rows are a multiple of: `gemm_8x4_w12` takes so many at a time.
const ROWS_TOGETHER: u32 = 8;

/// An encoder with its layers on a GPU.
#[derive(Debug)]
pub struct GpuEncoder {
    frame: Frame,
    device: Device,
    kernels: EncoderKernels,
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
        let shaders = device.best_shaders();
        Self::with_device(device, shaders, manifest, blob).await
    }

    /// On the best adapter, software or not, with kernels compiled like this; hidden because only
    /// tests choose that.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[doc(hidden)]
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
        let config = manifest.config.clone();
        let rows = config.max_positions.max(ROWS_AT_ONCE).next_multiple_of(ROWS_TOGETHER);
        check_limits(&config, rows as usize, &device.limits)?;
        let kernels =
            device.allocate(Part::Kernels, |device, _| EncoderKernels::new(device, shaders))?;
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
            let cache = kernels.split_heads.bind_cache(handle, &cache.each_ref());
            let fit_rows = [&buffers.shape, &buffers.rows, &buffers.block, &buffers.norm_exponents];
            let attention = [
                &buffers.shape,
                &texts,
                &buffers.queries,
                &buffers.query_exponents,
                &buffers.exp2,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &uniform(handle, queue, "scoring", &uniforms::Scoring::zeroed()),
            ];
            let merge_heads = [
                &buffers.shape,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &buffers.block,
                &buffers.inner_exponents,
            ];
            let fit_rows = kernels.fit_rows.bind(handle, &fit_rows);
            let attention = kernels.attention.bind(handle, &attention);
            let merge_heads = kernels.merge_heads.bind(handle, &merge_heads);
            (buffers, texts, cache, [fit_rows, attention, merge_heads])
        })?;
        let (buffers, texts, cache, [fit_rows, attention, merge_heads]) = made;
        let piece_bytes = device.piece_bytes();
        let mut layers = Vec::new();
        for index in 0..config.layers {
            let weights = EncoderLayer::from_bytes(&config, index, &blob(BlobRole::Layer(index)))?;
            layers.push(device.allocate(Part::Layer(index), |device, queue| {
                BuildContext { device, queue, kernels: &kernels, buffers: &buffers, piece_bytes }
                    .layer(&weights)
            })?);
        }
        // A browser answers only now whether there was room.
        device.await_allocations(|_| {}).await?;
        Ok(Self {
            frame,
            device,
            kernels,
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
        self.device.await_allocations(|_| {}).await?;
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
            run(&mut pass, &self.kernels.fit_rows.pipeline, &self.fit_rows, (row_count, 1));
            let ModelConfig { heads, kv_heads, .. } = self.frame.manifest.config;
            let shared = Shared {
                heads,
                kv_heads,
                attention: &self.attention,
                merge_heads: &self.merge_heads,
            };
            for layer in &self.layers {
                layer.encode(&mut pass, &self.kernels, &shared, row_count);
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

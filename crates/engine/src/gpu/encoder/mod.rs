//! An encoder's layers on a GPU: texts' rows go up, pass through all layers in one submission of
//! ten dispatches a layer, and come back to be pooled. Embedding, pooling and the head of a score are
//! the processor's (`crate::encoder`): a few additions a token, two matrices a text.
//!
//! Texts of one call lie one after the other in the rows, and each row knows which rows it sees. What does not fit the buffers at once goes in several calls; a text is never cut.

mod kernels;
mod layer;
mod views;

use std::borrow::Cow;
use std::sync::Arc;

use self::kernels::EncoderKernels;
use self::layer::{BuildContext, Layer, Shared};
use self::views::{Turns, Views};
use crate::encoder::{Embedding, EncodeError, Frame, Text, lengths};
use crate::gpu::compiled::run;
use crate::gpu::device::{Device, Part};
use crate::gpu::matrix::count;
use crate::gpu::model::{Buffers, activation, check_limits};
use crate::gpu::read_back::{self, Ring};
use crate::gpu::variants::Shaders;
use crate::gpu::{GpuError, GpuInfo, uniforms};
use crate::kernels::linear::CpuPath;
use crate::threads;
use potluck_model::encoder::{EncoderLayer, EncoderManifest, Pair};
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
    views: Views,
    turns: Turns,
    /// Keys, values and their exponents, of one layer after the other.
    cache: wgpu::BindGroup,
    fit_rows: wgpu::BindGroup,
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
        let frame = Frame::new(CpuPath::detect(), Arc::clone(&manifest), &blob)?;
        let family = manifest.family();
        let config = manifest.config.clone();
        let rows = config.max_positions.max(ROWS_AT_ONCE).next_multiple_of(ROWS_TOGETHER);
        check_limits(&config, rows as usize, &device.limits)?;
        let kernels = device
            .allocate(Part::Kernels, |device, _| EncoderKernels::new(device, shaders, family))?;
        let made = device.allocate(Part::Model, |handle, queue| {
            let buffers = Buffers::new(handle, queue, &config, &frame.tables, rows as usize);
            let plane = |label, width: u32| {
                activation(handle, label, u64::from(rows) * u64::from(width) * 4)
            };
            let windows = (0..config.layers).map(|index| config.layer_kind(index).window);
            let views = Views::new(handle, queue, &kernels, &buffers, (windows, rows));
            let turns = Turns::new(handle, frame.tables.rotations.len(), rows, config.head_dim / 2);
            let kv_width = config.kv_heads * config.head_dim / 2;
            let cache = [
                plane("keys", kv_width),
                plane("values", kv_width),
                plane("cache exponents", 2 * config.kv_heads),
            ];
            let cache = kernels.split_heads.bind_cache(handle, &cache.each_ref());
            let fit_rows = [&buffers.shape, &buffers.rows, &buffers.block, &buffers.norm_exponents];
            let merge_heads = [
                &buffers.shape,
                &buffers.head_outputs,
                &buffers.head_exponents,
                &buffers.block,
                &buffers.inner_exponents,
            ];
            let fit_rows = kernels.fit_rows.bind(handle, &fit_rows);
            let merge_heads = kernels.merge_heads.bind(handle, &merge_heads);
            (buffers, (views, turns), cache, [fit_rows, merge_heads])
        })?;
        let (buffers, (views, turns), cache, [fit_rows, merge_heads]) = made;
        let piece_bytes = device.piece_bytes();
        let mut layers = Vec::new();
        let read =
            |index| EncoderLayer::from_bytes(&manifest, index, &blob(BlobRole::Layer(index)));
        let mut following = Some(read(0)?);
        for index in 0..config.layers {
            let Some(weights) = following.take() else { break };
            if index + 1 < config.layers {
                following = Some(read(index + 1)?);
            }
            let next = following.as_ref().and_then(|next| next.attention_norm.as_ref());
            layers.push(device.allocate(Part::Layer(index), |device, queue| {
                let (kernels, buffers, turns) = (&kernels, &buffers, &turns);
                BuildContext { device, queue, kernels, buffers, family, turns, piece_bytes }.layer(
                    config.layer_kind(index),
                    &weights,
                    next,
                )
            })?);
        }
        // A browser answers only now whether there was room.
        device.await_allocations(|_| {}).await?;
        Ok(Self {
            frame,
            device,
            kernels,
            buffers,
            views,
            turns,
            cache,
            fit_rows,
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
    /// If a text is empty, too long, or has a token that the model has not, or the model scores pairs, or
    /// the device fails.
    pub async fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Embedding>, GpuEncoderError> {
        let texts = self.frame.texts(texts)?;
        self.run(&texts).await
    }

    /// The scores of pairs, each a vector of one number.
    ///
    /// # Errors
    /// If a pair is empty, too long, or has a token that the model has not, or the model makes vectors, or
    /// the device fails.
    pub async fn score(&mut self, pairs: &[Pair]) -> Result<Vec<Embedding>, GpuEncoderError> {
        let texts = self.frame.pairs(pairs)?;
        self.run(&texts).await
    }

    async fn run(&mut self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, GpuEncoderError> {
        self.frame.check(texts)?;
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in batches(texts, self.rows as usize) {
            let rows = threads::enter(|| self.frame.embed(texts));
            let lengths = lengths(texts);
            let rows = self.forward(&lengths, &rows).await?;
            vectors.extend(threads::enter(|| self.frame.pool(&lengths, rows)));
        }
        Ok(vectors)
    }

    /// Takes the rows of texts of these lengths, `[rows, d_model]`, through all layers.
    async fn forward(&mut self, lengths: &[usize], rows: &[i32]) -> Result<Vec<i32>, GpuError> {
        self.device.await_allocations(|_| {}).await?;
        let (buffers, queue, row_count) =
            (&self.buffers, &self.device.queue, count(lengths.iter().sum()));
        let forward = uniforms::Forward { position: 0, rows: row_count, first_row: 0 };
        queue.write_buffer(&buffers.forward, 0, bytemuck::bytes_of(&forward));
        self.views.write(queue, lengths);
        let pairs = self.frame.manifest.config.head_dim as usize / 2;
        self.turns.write(queue, &self.frame.tables.rotations, (lengths, pairs));
        queue.write_buffer(&buffers.rows, 0, bytemuck::cast_slice(rows));
        let mut encoder =
            self.device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(1, &self.cache, &[]);
            run(&mut pass, &self.kernels.fit_rows.pipeline, &self.fit_rows, (row_count, 1));
            let ModelConfig { heads, kv_heads, .. } = self.frame.manifest.config;
            let shared =
                Shared { heads, kv_heads, views: &self.views, merge_heads: &self.merge_heads };
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
fn batches<'a, 'b>(texts: &'a [Text<'b>], rows: usize) -> impl Iterator<Item = &'a [Text<'b>]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut tokens = 0;
        let fits = |text: &&Text<'_>| {
            tokens += text.tokens.len();
            tokens <= rows
        };
        let (batch, others) = rest.split_at(rest.iter().take_while(fits).count());
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
        let texts = texts.map(|tokens| Text { tokens, second: tokens.len() });
        let lengths: Vec<Vec<usize>> = batches(&texts, 8).map(lengths).collect();
        assert_eq!(lengths, [vec![3, 5], vec![1], vec![8], vec![2]]);
        assert_eq!(batches(&[], 8).count(), 0);
    }
}

//! Layers and head on a GPU through wgpu: Vulkan, Metal or DirectX 12 natively, WebGPU in a
//! browser's worker.
//!
//! ```text
//! set_model     tables, activations ──┐   submit   write rows ─▶ one pass: eight dispatches a
//! load_layer    weights, bind groups ─┤            layer, head, sample ─▶ copy answers
//! open_session  KV caches ────────────┘   collect  map
//! ```
//! Every call is one encoder, one submission and one map; nothing is made for it but the encoder.
//! The arithmetic is that of `docs/numerics.md`, bit for bit. It does not embed tokens, choose what
//! is computed together, or judge whether an adapter computes rightly: that is the engine's
//! known-answer test.
//!
//! | file | what |
//! |---|---|
//! | `kernels`, `source` | which kernels there are; how their text is made |
//! | `compiled`, `pipelines`, `linear_kernels` | one that is compiled; a model's; those of Linear |
//! | `variants`, `tune` | what there is to choose from; which of it is fastest here |
//! | `device`, `read_back` | the adapter and its faults; results on their way back |
//! | `model`, `matrix`, `build`, `layer`, `mlp`, `experts`, `head`, `sampling`, `session` | what lies on the device |
//! | `step`, `collect` | a call, and what comes back of it |
//! | `encoder` | texts to vectors |

mod build;
mod collect;
mod compiled;
mod device;
mod encoder;
mod error;
mod experts;
mod head;
mod kernels;
mod layer;
mod linear_kernels;
mod matrix;
mod mlp;
mod model;
mod pipelines;
mod read_back;
mod sampling;
mod session;
mod source;
mod step;
mod tune;
mod uniforms;
mod variants;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

pub use collect::Submitted;
pub use device::GpuInfo;
pub use encoder::{GpuEncoder, GpuEncoderError};
pub use error::GpuError;
pub use tune::TUNE_LIMIT;
pub use variants::{Arithmetic, Gemm, Shaders, TUNING_VERSION, Tuning, Variants};

use crate::sampler::Logits;
pub use crate::step::SessionRows;
use crate::step::{MAX_ROWS, MAX_SESSIONS, Output, OutputRequest};
use build::BuildContext;
use device::{Device, Part};
use experts::Experts;
use head::Head;
use layer::Layer;
use model::Model;
use pipelines::Pipelines;
use potluck_model::package::{Gain, LayerWeights, Linear, Manifest, MlpWeights, Tables};
use read_back::Ring;
use session::{Caches, Session};

/// What the tests that read the kernels without a GPU look at (`tests/wgsl_valid.rs`). No part of
/// the crate's interface.
#[doc(hidden)]
pub mod testing {
    pub use super::kernels::{Access, KERNELS, Kernel};
    pub use super::source::{PRELUDE, Source, with_subgroups};
    pub use super::uniforms::*;
}

/// A GPU with a model's parts and sessions on it.
#[derive(Debug)]
pub struct Gpu {
    device: Device,
    pipelines: Pipelines,
    model: Option<Model>,
    layers: BTreeMap<u32, Layer>,
    /// Of layers that have them.
    experts: BTreeMap<u32, Experts>,
    head: Option<Head>,
    sessions: HashMap<u128, Session>,
    staging: Ring,
    piece_bytes: usize,
    tuning: Tuning,
}

impl Gpu {
    /// Opens the best adapter, finds its fastest kernels unless `tuning` is of this very adapter,
    /// and compiles them.
    ///
    /// # Errors
    /// If there is no adapter, or only one that computes in software and `accept_software` is
    /// false, or it refuses a kernel.
    pub async fn new(accept_software: bool, tuning: Option<&Tuning>) -> Result<Self, GpuError> {
        let mut device = Device::open(accept_software).await?;
        let kernels = match variants::kept(tuning, &device.key) {
            Some(kernels) => kernels,
            None => tune::tune(&mut device).await?,
        };
        Self::with_device(device, kernels).await
    }

    /// Opens the best adapter, software or not, with these kernels; hidden because only tests
    /// choose kernels that no measurement chose.
    ///
    /// # Errors
    /// As [`Self::new`].
    #[doc(hidden)]
    pub async fn with_kernels(kernels: Variants) -> Result<Self, GpuError> {
        let device = Device::open(true).await?;
        let shaders = device.able(kernels.shaders);
        Self::with_device(device, Variants { shaders, ..kernels }).await
    }

    async fn with_device(mut device: Device, kernels: Variants) -> Result<Self, GpuError> {
        let pipelines =
            device.allocate(Part::Kernels, |device, _| Pipelines::new(device, kernels))?;
        device.await_allocations(|_| {}).await?;
        let tuning = Tuning { version: TUNING_VERSION, adapter: device.key.clone(), kernels };
        let piece_bytes = device.piece_bytes();
        Ok(Self {
            device,
            pipelines,
            model: None,
            layers: BTreeMap::new(),
            experts: BTreeMap::new(),
            head: None,
            sessions: HashMap::new(),
            staging: Ring::default(),
            piece_bytes,
            tuning,
        })
    }

    /// The kernels that run, for the next [`Self::new`] on this adapter.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// Takes the device away, as a driver's reset does; hidden because only tests want that.
    #[doc(hidden)]
    pub fn destroy(&mut self) {
        self.device.handle.destroy();
    }

    /// What the GPU calls itself.
    #[must_use]
    pub fn info(&self) -> &GpuInfo {
        &self.device.info
    }

    /// Starts a model; parts and sessions of the one before are dropped.
    ///
    /// # Errors
    /// If the adapter or the kernels are too small for it, or the kernels do not compute all that
    /// it needs.
    pub fn set_model(&mut self, manifest: &Manifest, tables: &Tables) -> Result<(), GpuError> {
        self.sessions.clear();
        self.layers.clear();
        self.experts.clear();
        self.head = None;
        self.model = None;
        model::check_limits(&manifest.config, MAX_ROWS, &self.device.limits)?;
        let pipelines = &self.pipelines;
        self.model = Some(self.device.allocate(Part::Model, |device, queue| {
            Model::new(device, queue, pipelines, &manifest.config, tables)
        })?);
        Ok(())
    }

    /// Takes a layer's weights in; an earlier copy is replaced.
    ///
    /// # Errors
    /// If no model was set, it has no such layer, or the device has no room. In a browser lack of
    /// room may show at the next [`Self::forward_layers`] instead.
    pub fn load_layer(&mut self, index: u32, weights: &LayerWeights) -> Result<(), GpuError> {
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let layers = model.config.layers;
        if index >= layers {
            return Err(GpuError::NoSuchLayer { index, layers });
        }
        let (pipelines, piece_bytes) = (&self.pipelines, self.piece_bytes);
        let layer = self.device.allocate(Part::Layer(index), |device, queue| {
            let context = BuildContext { device, queue, pipelines, model, piece_bytes };
            Layer::new(context, model.config.layer_kind(index), weights)
        })?;
        self.layers.insert(index, layer);
        Ok(())
    }

    /// Drops a layer's weights. Sessions that need it fail at their next call.
    pub fn unload_layer(&mut self, index: u32) {
        self.layers.remove(&index);
    }

    /// Takes an expert's weights in, before its layer's or after them; an earlier copy is replaced.
    ///
    /// # Errors
    /// As [`Self::load_layer`].
    pub fn load_expert(
        &mut self,
        (layer, index): (u32, u32),
        weights: &MlpWeights,
    ) -> Result<(), GpuError> {
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let config = &model.config;
        let Some(set) = model.experts.as_ref().filter(|_| index < config.experts_of(layer)) else {
            return Err(GpuError::NoSuchLayer { index: layer, layers: config.layers });
        };
        let (pipelines, piece_bytes) = (&self.pipelines, self.piece_bytes);
        if !self.experts.contains_key(&layer) {
            let experts = self.device.allocate(Part::Layer(layer), |device, queue| {
                Experts::new(BuildContext { device, queue, pipelines, model, piece_bytes }, set)
            })?;
            self.experts.insert(layer, experts);
        }
        if let Some(experts) = self.experts.get_mut(&layer) {
            experts.load(&self.device.queue, index, weights);
        }
        Ok(())
    }

    /// Drops an expert's weights. Sessions that need its layer fail at their next call.
    pub fn unload_expert(&mut self, (layer, index): (u32, u32)) {
        let Some(experts) = self.experts.get_mut(&layer) else { return };
        experts.unload(index);
        if experts.held() == 0 {
            self.experts.remove(&layer);
        }
    }

    /// Takes the head's weights in; an earlier copy is replaced.
    ///
    /// # Errors
    /// If no model was set or the device has no room. In a browser lack of room may show at the
    /// next [`Self::head`] instead.
    pub fn load_head(&mut self, norm: &Gain, output: &Linear) -> Result<(), GpuError> {
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let (pipelines, piece_bytes) = (&self.pipelines, self.piece_bytes);
        self.head = Some(self.device.allocate(Part::Head, |device, queue| {
            Head::new(BuildContext { device, queue, pipelines, model, piece_bytes }, norm, output)
        })?);
        Ok(())
    }

    /// Drops the head's weights.
    pub fn unload_head(&mut self) {
        self.head = None;
    }

    /// Opens a session over `layers`, all of which must be loaded, with an empty cache.
    ///
    /// # Errors
    /// If a layer is missing, the id is taken, too many sessions are open, or the device has no
    /// room.
    pub fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), GpuError> {
        let config = self.model.as_ref().ok_or(GpuError::NoModel)?.config.clone();
        if layers.end > config.layers {
            return Err(GpuError::NoSuchLayer {
                index: layers.end.saturating_sub(1),
                layers: config.layers,
            });
        }
        if let Some(index) = layers.clone().find(|index| !self.layers.contains_key(index)) {
            return Err(GpuError::LayerMissing { index });
        }
        if self.sessions.contains_key(&id) {
            return Err(GpuError::SessionExists { id });
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(GpuError::TooManySessions { limit: MAX_SESSIONS });
        }
        let pipelines = &self.pipelines;
        let caches = self.device.allocate(Part::Session(id), |device, _| {
            Caches::new(device, pipelines, &config, layers.clone(), 1)
        })?;
        self.sessions.insert(id, Session { layers, held: 0, caches });
        Ok(())
    }

    /// Calls a session otherwise.
    pub fn rename_session(&mut self, id: u128, new: u128) {
        if let Some(session) = self.sessions.remove(&id) {
            self.sessions.insert(new, session);
        }
    }

    /// Forgets a session, if there is one.
    pub fn close_session(&mut self, id: u128) {
        self.sessions.remove(&id);
    }

    /// Runs `rows` (`[1..=MAX_ROWS rows, d_model]`, the residual stream) through the session's
    /// layers, the first row at `position`, and returns them in the same shape: a call of one
    /// session, without the head.
    ///
    /// # Errors
    /// As [`Self::submit`] and [`Self::collect`].
    pub async fn forward_layers(
        &mut self,
        id: u128,
        position: u32,
        rows: &[i32],
    ) -> Result<Vec<i32>, GpuError> {
        let submitted =
            self.submit(&[SessionRows { session: id, position, rows, want: None }]).await?;
        match self.collect(submitted).await?.pop() {
            Some(Output::Hidden(rows)) => Ok(rows),
            _ => Ok(Vec::new()),
        }
    }

    /// Waits until it is known how earlier allocations went, and drops what is not really there.
    async fn await_allocations(&mut self) -> Result<(), GpuError> {
        let Self { device, model, layers, head, sessions, .. } = self;
        let mut model_failed = false;
        let result = device
            .await_allocations(|part| match part {
                Part::Layer(index) => drop(layers.remove(&index)),
                Part::Head => *head = None,
                Part::Session(id) => drop(sessions.remove(&id)),
                Part::Model => model_failed = true,
                Part::Kernels | Part::LongerCache(_) => {}
            })
            .await;
        if model_failed {
            sessions.clear();
            layers.clear();
            *head = None;
            *model = None;
        }
        result
    }

    /// Logits of one row of the residual stream, `[d_model]`.
    ///
    /// Natively this blocks the calling thread while the device computes.
    ///
    /// # Errors
    /// If the head is not loaded, the row has another width, or the device fails.
    pub async fn head(&mut self, last_row: &[i32]) -> Result<Logits, GpuError> {
        self.await_allocations().await?;
        let model = self.model.as_ref().ok_or(GpuError::NoModel)?;
        let head = self.head.as_ref().ok_or(GpuError::HeadMissing)?;
        let width = model.config.d_model as usize;
        if last_row.len() != width {
            return Err(GpuError::Shape {
                what: "the head's row",
                expected: width,
                got: last_row.len(),
            });
        }
        let buffers = &model.buffers;
        let queue = &self.device.queue;
        head.write(queue, &[OutputRequest::Logits]);
        queue.write_buffer(&buffers.rows, 0, bytemuck::cast_slice(last_row));
        let mut encoder =
            self.device.handle.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            head.encode(&mut pass, &self.pipelines, &[OutputRequest::Logits]);
        }
        // The exponent comes along behind the logits.
        let vocab = model.config.vocab as usize;
        let logits_bytes = vocab as u64 * 4;
        let staging = self.staging.take(&self.device.handle, logits_bytes + 4);
        encoder.copy_buffer_to_buffer(&head.logits, 0, &staging, 0, logits_bytes);
        encoder.copy_buffer_to_buffer(&buffers.norm_exponents, 0, &staging, logits_bytes, 4);
        let index = queue.submit([encoder.finish()]);
        let result = read_back::read(&self.device.handle, &staging, vocab + 1, index).await;
        self.device.check()?;
        let values = result?;
        self.staging.put_back(staging);
        Ok(self.logits(&values))
    }
}

#[cfg(test)]
#[path = "../../tests/gpu_support/skip.rs"]
mod skip;

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use potluck_model::package::BlobRole;
    use potluck_model::synthetic::{Random, Synthetic, config};

    /// Rows and logits of a model whose matrices were cut into pieces of `piece_bytes`.
    fn run(piece_bytes: usize) -> Result<(Vec<i32>, Logits), GpuError> {
        let config = config(1, 96, 128, (3, 3, 32), 131, 8);
        let model = Synthetic::new(config.clone(), 11);
        let tables = Tables::from_bytes(&config, model.blob(BlobRole::Tables)).unwrap();
        let layer = LayerWeights::from_bytes(&config, 0, model.blob(BlobRole::Layer(0))).unwrap();
        let head =
            Linear::vocabulary_from_bytes(&config, BlobRole::Head, model.blob(BlobRole::Head))
                .unwrap();
        let mut random = Random::new(12);
        let rows: Vec<i32> = (0..5 * 96).map(|_| random.within(-100_000, 100_000)).collect();

        let mut gpu = block_on(Gpu::new(true, None))?;
        gpu.piece_bytes = piece_bytes;
        gpu.set_model(&model.manifest, &tables)?;
        gpu.load_layer(0, &layer)?;
        gpu.load_head(&tables.last_norm, &head)?;
        gpu.open_session(1, 0..1)?;
        let hidden = block_on(gpu.forward_layers(1, 0, &rows))?;
        let logits = block_on(gpu.head(&hidden[..96]))?;
        Ok((hidden, logits))
    }

    #[test]
    fn a_matrix_in_pieces_equals_the_whole() {
        let Some(whole) = unless_no_adapter(run(device::MAX_PIECE_BYTES)) else { return };
        // 700 bytes: 7 rows of 96 inputs a piece, 5 of 128; no matrix is a whole number of pieces.
        assert_eq!(run(700).unwrap(), whole);
    }

    #[test]
    fn a_lost_device_is_an_error_everywhere() {
        let Some(mut gpu) = unless_no_adapter(block_on(Gpu::new(true, None))) else { return };
        let config = config(1, 32, 32, (1, 1, 32), 9, 8);
        let model = Synthetic::new(config.clone(), 1);
        let tables = Tables::from_bytes(&config, model.blob(BlobRole::Tables)).unwrap();
        let layer = LayerWeights::from_bytes(&config, 0, model.blob(BlobRole::Layer(0))).unwrap();
        let head =
            Linear::vocabulary_from_bytes(&config, BlobRole::Head, model.blob(BlobRole::Head))
                .unwrap();
        gpu.set_model(&model.manifest, &tables).unwrap();
        gpu.load_layer(0, &layer).unwrap();
        gpu.load_head(&tables.last_norm, &head).unwrap();
        gpu.open_session(1, 0..1).unwrap();
        block_on(gpu.forward_layers(1, 0, &[1; 32])).unwrap();
        gpu.device.handle.destroy();
        let lost = |result: Result<(), GpuError>| {
            assert!(matches!(result, Err(GpuError::DeviceLost { .. })), "{result:?}");
        };
        lost(block_on(gpu.forward_layers(1, 1, &[1; 32])).map(|_| ()));
        lost(block_on(gpu.head(&[1; 32])).map(|_| ()));
        lost(gpu.open_session(2, 0..1));
        lost(gpu.load_layer(0, &layer));
    }

    /// The result; none, and the test is skipped, where there is no adapter.
    fn unless_no_adapter<T>(result: Result<T, GpuError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error @ GpuError::NoAdapter { .. }) => {
                skip::skip(&error);
                None
            }
            Err(error) => panic!("an adapter exists but cannot be used: {error}"),
        }
    }
}

//! The engine: parts of a model and the sessions computed with them, on one backend.
//!
//! It holds whichever layers it was given, in any combination; a session uses a contiguous range of
//! them. Rows go in, rows or logits come out; where they come from and go to is not its business.
//!
//! A GPU can be taken away: its driver resets it, a browser wants it back, its memory runs out.
//! What was on it is gone, but nothing that cannot be had again: weights are files, and a session's
//! caches follow from the rows it was given, which are kept beside them. So a new engine [takes
//! over](Engine::take_over) from the old one, is given the weights again, [resumes](Engine::resume)
//! the sessions, and the step that failed is tried again: the answer is the same to the bit.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use potluck_model::package::{
    BlobRole, LayerWeights, Linear, Manifest, MlpWeights, ModelConfig, Tables,
};

use crate::backend::{Backend as _, CpuBackend, Device};
use crate::gpu::GpuError;
use crate::kernels::embedding;
use crate::kernels::linear::CpuPath;
use crate::known_answer::{self, KnownAnswerError};

pub use crate::backend::{BackendChoice, BackendInfo};
pub use crate::error::{EngineError, ForwardError, GpuLoss, LoadError, SessionError};
pub use crate::step::{Input, MAX_BACK, MAX_ROWS, MAX_SESSIONS, Output, OutputRequest, Step};

mod steps;

/// Bytes of all sessions' KV caches together, unless [`Engine::limit_caches`] says otherwise: three
/// conversations of 8,192 tokens in all layers of a model of a billion weights (268 MB each).
pub const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Bytes of what all sessions were given that are kept for a GPU's loss: a conversation of 2,000
/// tokens takes 16 MB in the middle of a model that is 2,048 wide, and 8 KB at its beginning. A
/// session that is over it cannot be resumed.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Parts and sessions on one backend.
#[derive(Debug)]
pub struct Engine {
    backend: Device,
    /// Whether a GPU that is too small for a model, or computes it wrongly, gives way to the processor: only where which of
    /// them computes was left open.
    may_give_way: bool,
    info: BackendInfo,
    model: Option<Model>,
    sessions: HashMap<u128, Session>,
    /// Taken over and not yet resumed: no step must meet a cache that is not there.
    waiting: HashMap<u128, Session>,
    /// Of the sessions, those that are kept only; the first goes first.
    kept: VecDeque<u128>,
    max_cache_bytes: u64,
    /// What the GPU was seen to compute rightly besides the pinned test.
    proved: Vec<ModelConfig>,
}

#[derive(Debug)]
struct Model {
    manifest: Arc<Manifest>,
    tables: Arc<Tables>,
    /// Tokens become rows here, whatever computes what follows.
    embedding: Option<Linear>,
    /// Layers that the backend holds.
    layers: BTreeSet<u32>,
    /// Of layers, experts that it holds.
    experts: BTreeMap<u32, BTreeSet<u32>>,
    /// Whether the backend holds the head.
    head: bool,
}

impl Model {
    /// The residual rows of tokens, all of which are of the vocabulary.
    fn embed(&self, tokens: &[u32]) -> Result<Vec<i32>, ForwardError> {
        let Some(weights) = &self.embedding else {
            return Err(ForwardError::Missing(BlobRole::Embedding));
        };
        Ok(embedding::reference(
            weights,
            self.manifest.config.residual_fraction_bits.cast_signed(),
            tokens,
        ))
    }

    /// The experts that the backend holds.
    fn held_experts(&self) -> impl Iterator<Item = BlobRole> {
        let of = |(layer, held): (&u32, &BTreeSet<u32>)| {
            let layer = *layer;
            held.iter().map(move |index| BlobRole::Expert(layer, *index)).collect::<Vec<_>>()
        };
        self.experts.iter().flat_map(of)
    }

    /// The first part, if any, that a session over `layers` needs and that is not here.
    fn first_missing(&self, layers: &Range<u32>) -> Option<BlobRole> {
        if layers.start == 0 && self.embedding.is_none() {
            return Some(BlobRole::Embedding);
        }
        let config = &self.manifest.config;
        for layer in layers.clone() {
            if !self.layers.contains(&layer) {
                return Some(BlobRole::Layer(layer));
            }
            let held = self.experts.get(&layer);
            // Before every step: counted, and looked for only if one is missing.
            if held.map_or(0, BTreeSet::len) < config.experts_of(layer) as usize {
                let is_missing = |index: &u32| !held.is_some_and(|held| held.contains(index));
                let missing = (0..config.experts_of(layer)).find(is_missing);
                return missing.map(|index| BlobRole::Expert(layer, index));
            }
        }
        (layers.end == config.layers && !self.head).then_some(BlobRole::Head)
    }
}

#[derive(Debug)]
struct Session {
    layers: Range<u32>,
    position: u32,
    /// The first position that it can be taken back to, where a layer of its has a window: what such rows
    /// see is kept.
    earliest: u32,
    /// On a backend that can be lost, what it was given: tokens, or residual rows; none once that
    /// was too much.
    inputs: Option<Vec<i32>>,
}

impl Session {
    fn new(layers: Range<u32>) -> Self {
        Self { layers, position: 0, earliest: 0, inputs: Some(Vec::new()) }
    }

    /// Values of its input a row.
    fn input_width(&self, config: &ModelConfig) -> usize {
        if self.layers.start == 0 { 1 } else { config.d_model as usize }
    }
}

impl Engine {
    /// An engine on a backend that was found, with no model. One that `may_give_way` leaves a GPU
    /// that is too small for a model to the processor.
    pub(crate) fn over(backend: Device, info: BackendInfo, may_give_way: bool) -> Self {
        Self {
            backend,
            info,
            may_give_way,
            model: None,
            sessions: HashMap::new(),
            waiting: HashMap::new(),
            kept: VecDeque::new(),
            max_cache_bytes: DEFAULT_CACHE_BYTES,
            proved: Vec::new(),
        }
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> &BackendInfo {
        &self.info
    }

    /// Whether a GPU computes, or what stands in for one.
    #[must_use]
    pub fn is_on_gpu(&self) -> bool {
        matches!(self.backend, Device::Gpu(_))
    }

    /// What was found out about this machine's GPU, for the next [`Self::with_tuning`]; none on a
    /// CPU.
    #[must_use]
    pub fn tuning(&self) -> Option<String> {
        match &self.backend {
            Device::Cpu(_) => None,
            Device::Gpu(gpu) => gpu.tuning(),
        }
    }

    /// Width of the residual stream; 0 before a model is set.
    #[must_use]
    pub fn d_model(&self) -> usize {
        self.model.as_ref().map_or(0, |model| model.manifest.config.d_model as usize)
    }

    /// Starts a model from its tables blob; parts and sessions of the one before are dropped.
    ///
    /// # Errors
    /// If the blob is not this model's tables, or a GPU that was asked for is too small for it.
    pub fn set_model(&mut self, manifest: Arc<Manifest>, tables: &[u8]) -> Result<(), LoadError> {
        let tables = Arc::new(Tables::from_bytes(&manifest.config, tables)?);
        self.forget_model();
        self.set_tables(&manifest, &tables)?;
        self.model = Some(Model {
            manifest,
            tables,
            embedding: None,
            layers: BTreeSet::new(),
            experts: BTreeMap::new(),
            head: false,
        });
        Ok(())
    }

    /// Has a GPU compute a small model with the parts that a model has beyond those of the known-answer
    /// test, as the processor does: before the first of that kind. A GPU that gets it wrong is left to
    /// the processor, where that is allowed. The engine's own model is dropped.
    ///
    /// # Errors
    /// If the GPU that was asked for gets it wrong, or fails.
    pub async fn prove(&mut self, config: &ModelConfig) -> Result<(), LoadError> {
        let parts = known_answer::parts_of(config);
        let Device::Gpu(gpu) = &self.backend else { return Ok(()) };
        if !known_answer::has_parts(&parts) || self.proved.contains(&parts) {
            return Ok(());
        }
        let adapter = gpu.info().adapter;
        let cpu = CpuBackend::new(CpuPath::detect());
        let info = cpu.info(None);
        let mut processor = Self::over(Device::Cpu(Box::new(cpu)), info, false);
        let expected = known_answer::compute(&mut processor, parts.clone()).await;
        let failed = |error: KnownAnswerError| match error {
            KnownAnswerError::Load(error) => error,
            KnownAnswerError::Forward(ForwardError::Gpu(error)) => LoadError::Gpu(error),
            other => LoadError::Gpu(GpuError::Refused { reason: other.to_string() }),
        };
        let got = known_answer::compute(self, parts.clone()).await;
        self.forget_model();
        let (expected, got) = (expected.map_err(failed)?, got.map_err(failed)?);
        if got == expected {
            self.proved.push(parts);
            return Ok(());
        }
        let error = GpuError::Wrong { adapter };
        if !self.may_give_way {
            return Err(error.into());
        }
        self.give_way(&error);
        Ok(())
    }

    /// Leaves the GPU to the processor.
    fn give_way(&mut self, reason: &GpuError) {
        let cpu = CpuBackend::new(CpuPath::detect());
        self.info = cpu.info(Some(format!("computing on the CPU: {reason}")));
        self.backend = Device::Cpu(Box::new(cpu));
    }

    /// Starts a model on the backend; leaves a GPU that is too small for it, where that is allowed.
    fn set_tables(&mut self, manifest: &Manifest, tables: &Arc<Tables>) -> Result<(), LoadError> {
        match self.backend.set_model(manifest, tables) {
            Err(LoadError::Gpu(error @ GpuError::Limit { .. })) if self.may_give_way => {
                self.give_way(&error);
                self.backend.set_model(manifest, tables)
            }
            outcome => outcome,
        }
    }

    /// Takes a part in. Its hash is the caller's to check
    /// ([`potluck_model::package::verify_blob`]); its shape is checked here.
    ///
    /// # Errors
    /// If there is no model yet, no such part, or the blob is not of its shape.
    pub fn load(&mut self, role: BlobRole, bytes: &[u8]) -> Result<(), LoadError> {
        let model = self.model.as_mut().ok_or(LoadError::NoModel(role))?;
        let config = &model.manifest.config;
        match role {
            BlobRole::Tables => {}
            BlobRole::Embedding => {
                model.embedding = Some(Linear::vocabulary_from_bytes(config, role, bytes)?)
            }
            BlobRole::Layer(index) if index < config.layers => {
                let weights = LayerWeights::from_bytes(config, index, bytes)?;
                self.backend.load_layer(index, weights)?;
                model.layers.insert(index);
            }
            BlobRole::Expert(layer, index)
                if layer < config.layers && index < config.experts_of(layer) =>
            {
                let weights = MlpWeights::expert_from_bytes(config, (layer, index), bytes)?;
                self.backend.load_expert((layer, index), weights)?;
                model.experts.entry(layer).or_default().insert(index);
            }
            BlobRole::Layer(_) | BlobRole::Expert(..) => return Err(LoadError::NoSuchPart(role)),
            BlobRole::Head => {
                let output = Linear::vocabulary_from_bytes(config, role, bytes)?;
                self.backend.load_head(&model.tables.last_norm, output)?;
                model.head = true;
            }
        }
        Ok(())
    }

    /// Drops a part. Sessions that need it fail at their next step.
    pub fn unload(&mut self, role: BlobRole) {
        let Some(model) = &mut self.model else { return };
        self.backend.unload(role);
        match role {
            BlobRole::Tables => {}
            BlobRole::Embedding => model.embedding = None,
            BlobRole::Layer(index) => {
                model.layers.remove(&index);
            }
            BlobRole::Expert(layer, index) => {
                if let Some(held) = model.experts.get_mut(&layer) {
                    held.remove(&index);
                }
            }
            BlobRole::Head => model.head = false,
        }
    }

    /// The parts held.
    #[must_use]
    pub fn held(&self) -> Vec<BlobRole> {
        let Some(model) = &self.model else { return Vec::new() };
        let mut held = vec![BlobRole::Tables];
        held.extend(model.embedding.as_ref().map(|_| BlobRole::Embedding));
        held.extend(model.layers.iter().map(|index| BlobRole::Layer(*index)));
        held.extend(model.held_experts());
        held.extend(model.head.then_some(BlobRole::Head));
        held
    }

    /// Opens a session over a range of layers.
    ///
    /// # Errors
    /// If a part is missing, the name is taken, or there are too many sessions.
    pub fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), SessionError> {
        if self.sessions.contains_key(&id) || self.waiting.contains_key(&id) {
            return Err(SessionError::Exists);
        }
        while self.sessions.len() + self.waiting.len() >= MAX_SESSIONS && self.close_kept() {}
        if self.sessions.len() + self.waiting.len() >= MAX_SESSIONS {
            return Err(SessionError::TooMany);
        }
        let Some(model) = &self.model else { return Err(SessionError::Missing(BlobRole::Tables)) };
        if layers.is_empty() || layers.end > model.manifest.config.layers {
            return Err(SessionError::Missing(BlobRole::Layer(layers.end.saturating_sub(1))));
        }
        if let Some(role) = model.first_missing(&layers) {
            return Err(SessionError::Missing(role));
        }
        self.backend.open_session(id, layers.clone()).map_err(|error| SessionError::Gpu {
            reason: error.to_string(),
            loss: error.gpu_loss(),
        })?;
        self.sessions.insert(id, Session::new(layers));
        Ok(())
    }

    /// Keeps a session that nobody computes in now, until it is [gone on with](Self::continue_session)
    /// or closed. Where there is no room for others, those that were kept first are closed.
    pub fn keep_session(&mut self, id: u128) {
        if self.sessions.contains_key(&id) {
            self.kept.push_back(id);
        }
    }

    /// Goes on with a session that was kept, under another name. False if it is not here any more, or
    /// is not over these layers, or `id` is taken.
    pub fn continue_session(&mut self, kept: u128, id: u128, layers: &Range<u32>) -> bool {
        let is_kept = self.kept.contains(&kept);
        let is_over = |session: &Session| session.layers == *layers;
        let is_free = !self.sessions.contains_key(&id) && !self.waiting.contains_key(&id);
        if !is_kept || !is_free || !self.sessions.get(&kept).is_some_and(is_over) {
            return false;
        }
        self.kept.retain(|other| *other != kept);
        if let Some(session) = self.sessions.remove(&kept) {
            self.sessions.insert(id, session);
            self.backend.rename_session(kept, id);
        }
        true
    }

    /// Closes the session that was kept first. False if none is kept.
    fn close_kept(&mut self) -> bool {
        let Some(first) = self.kept.pop_front() else { return false };
        self.close_session(first);
        true
    }

    /// Forgets a session.
    pub fn close_session(&mut self, id: u128) {
        self.kept.retain(|kept| *kept != id);
        self.waiting.remove(&id);
        if self.sessions.remove(&id).is_some() {
            self.backend.close_session(id);
        }
    }

    /// How many rows a session has taken.
    #[must_use]
    pub fn session_position(&self, id: u128) -> Option<u32> {
        self.sessions.get(&id).map(|session| session.position)
    }

    /// Takes a session back to `position`, if it is beyond it. Returns whether it could: where a layer
    /// sees a window only, what came long before is forgotten, and a session goes back to [`MAX_BACK`]
    /// rows before its last step at most; it stays where it is otherwise.
    pub fn truncate(&mut self, id: u128, position: u32) -> bool {
        let session = self.sessions.get_mut(&id).or_else(|| self.waiting.get_mut(&id));
        let (Some(session), Some(model)) = (session, &self.model) else { return false };
        let config = &model.manifest.config;
        let mut kinds = session.layers.clone().map(|index| config.layer_kind(index));
        if position < session.earliest && kinds.any(|kind| kind.window.is_some()) {
            return false;
        }
        if position < session.position {
            session.position = position;
            let width = session.input_width(&model.manifest.config);
            session.inputs.iter_mut().for_each(|inputs| inputs.truncate(position as usize * width));
        }
        true
    }

    /// Goes on where an engine left off whose GPU is gone: with its model, the weights that are not
    /// on a GPU, its sessions and its limits. Gives the parts to [load](Self::load) before the
    /// sessions can be [resumed](Self::resume).
    ///
    /// # Errors
    /// If this engine's GPU has no room for the model; the other one still has everything then.
    pub fn take_over(&mut self, lost: &mut Self) -> Result<Vec<BlobRole>, LoadError> {
        self.forget_model();
        self.max_cache_bytes = lost.max_cache_bytes;
        let Some(model) = &lost.model else { return Ok(Vec::new()) };
        self.set_tables(&model.manifest, &model.tables)?;
        let layers = model.layers.iter().map(|index| BlobRole::Layer(*index));
        let missing = layers
            .chain(model.held_experts())
            .chain(model.head.then_some(BlobRole::Head))
            .collect();
        let nothing = |model| Model {
            layers: BTreeSet::new(),
            experts: BTreeMap::new(),
            head: false,
            ..model
        };
        self.model = lost.model.take().map(nothing);
        // What is only kept is not worth computing again.
        while lost.close_kept() {}
        self.waiting = std::mem::take(&mut lost.waiting);
        self.waiting.extend(std::mem::take(&mut lost.sessions));
        Ok(missing)
    }

    /// Takes the GPU away, as a driver's reset does; for tests.
    pub fn lose_gpu(&mut self) {
        if let Device::Gpu(gpu) = &mut self.backend {
            gpu.destroy();
        }
    }

    pub(crate) fn forget_model(&mut self) {
        let open: Vec<u128> = self.sessions.keys().copied().collect();
        for id in open {
            self.close_session(id);
        }
        self.waiting.clear();
        self.model = None;
    }
}

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

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::cpu;
use crate::gpu::{Gpu, GpuError};
use crate::kernels::embedding;
use crate::kernels::linear::CpuPath;
use crate::known_answer;
use crate::kv_cache::LayerCache;
use crate::sampler::Logits;
use potluck_model::package::{BlobRole, LayerWeights, Linear, Manifest, ModelConfig, Tables};
use potluck_protocol::sampling::Sampling;

pub use error::{EngineError, ForwardError, GpuLoss, LoadError, SessionError};
pub(crate) use steps::MAX_WANTED;
pub use steps::Step;

mod error;
mod steps;

/// Rows of one batch at most: bounds working memory (120 MB on a GPU for a model of 8 billion
/// weights) and the time a batch holds a GPU. A fast one wants hundreds to be busy.
pub const MAX_ROWS: usize = 512;
const _: () = assert!(
    potluck_protocol::codec::MAX_ROWS <= MAX_ROWS,
    "a step that nodes send each other fits a batch"
);
/// Sessions at once.
pub const MAX_SESSIONS: usize = 64;
/// Bytes of all sessions' KV caches together, unless [`Engine::limit_caches`] says otherwise: three
/// conversations of 8,192 tokens in all layers of a model of a billion weights (268 MB each).
pub const DEFAULT_CACHE_BYTES: u64 = 1 << 30;

/// Bytes of what all sessions were given that are kept for a GPU's loss: a conversation of 2,000
/// tokens takes 16 MB in the middle of a model that is 2,048 wide, and 8 KB at its beginning. A
/// session that is over it cannot be resumed.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// What should compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// A real GPU that passes the conformance vector, else the CPU.
    Auto,
    /// The CPU's SIMD.
    Cpu,
    /// Any GPU adapter, software ones too.
    Gpu,
    /// The specification itself, for comparison.
    Scalar,
}

/// What computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `scalar`, `avx2`, `simd128`, `webgpu`, `vulkan`, …
    pub kind: &'static str,
    /// The adapter's or processor's name.
    pub adapter: String,
    /// Something a person should know, such as why it is not the GPU.
    pub note: Option<String>,
}

/// What a step starts from.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Token ids, for a session that starts at layer 0.
    Tokens(&'a [u32]),
    /// `[rows, d_model]` residual rows, for any other.
    Hidden(&'a [i32]),
}

/// What a step ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `[rows, d_model]`, of a session that does not end at the last layer.
    Hidden(Vec<i32>),
    /// Of the step's last row, where they were wanted.
    Logits(Logits),
    /// Drawn from the last row's logits, where it was wanted.
    Token(u32),
    /// The last layer, and nothing wanted.
    None,
}

/// What is wanted of a step's last row, where the session ends at the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The step goes into the session's caches, that is all.
    Nothing,
    /// For measuring; they are large.
    Logits,
    /// The token for the position after the step.
    Token(Sampling),
}

/// Parts and sessions on one backend.
#[derive(Debug)]
pub struct Engine {
    /// What was asked for: a GPU that is too small for a model gives way to the processor only if
    /// that was left open.
    choice: BackendChoice,
    backend: Backend,
    info: BackendInfo,
    model: Option<Model>,
    sessions: HashMap<u128, Session>,
    /// Taken over and not yet resumed: no step must meet a cache that is not there.
    waiting: HashMap<u128, Session>,
    max_cache_bytes: u64,
}

#[derive(Debug)]
enum Backend {
    Cpu(CpuPath),
    Gpu(Box<Gpu>),
}

#[derive(Debug)]
struct Model {
    manifest: Arc<Manifest>,
    tables: Tables,
    embedding: Option<Linear>,
    /// Weights of the CPU backend; on a GPU the map's keys alone count.
    layers: BTreeMap<u32, Option<cpu::Layer>>,
    head: Option<Option<cpu::Head>>,
}

impl Backend {
    fn is_gpu(&self) -> bool {
        !matches!(self, Self::Cpu(_))
    }

    /// Makes room for a session's caches.
    fn open_session(&mut self, id: u128, layers: Range<u32>) -> Result<(), ForwardError> {
        match self {
            Self::Cpu(_) => Ok(()),
            Self::Gpu(gpu) => Ok(gpu.open_session(id, layers)?),
        }
    }
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

    /// The first part, if any, that a session over `layers` needs and that is not here.
    fn first_missing(&self, layers: &Range<u32>) -> Option<BlobRole> {
        let wanted = self.manifest.blobs_for(layers.clone());
        wanted.into_iter().map(|(role, _)| role).find(|role| match role {
            BlobRole::Tables => false,
            BlobRole::Embedding => self.embedding.is_none(),
            BlobRole::Layer(index) => !self.layers.contains_key(index),
            BlobRole::Head => self.head.is_none(),
        })
    }
}

#[derive(Debug)]
struct Session {
    layers: Range<u32>,
    position: u32,
    /// One a layer; unused on a GPU, which keeps its own.
    caches: Vec<LayerCache>,
    /// On a GPU, what it was given: tokens, or residual rows; none once that was too much.
    inputs: Option<Vec<i32>>,
}

impl Session {
    fn new(layers: Range<u32>) -> Self {
        let caches = vec![LayerCache::default(); layers.len()];
        Self { layers, position: 0, caches, inputs: Some(Vec::new()) }
    }

    /// Values of its input a row.
    fn input_width(&self, config: &ModelConfig) -> usize {
        if self.layers.start == 0 { 1 } else { config.d_model as usize }
    }
}

impl Engine {
    /// Finds the backend; a GPU must first reproduce the pinned conformance vector.
    ///
    /// # Errors
    /// If a GPU was asked for and none can be used.
    pub async fn new(choice: BackendChoice) -> Result<Self, EngineError> {
        Self::with_tuning(choice, None).await
    }

    /// The same with what an earlier engine on this machine [measured](Self::tuning), which saves
    /// measuring it again. What is of another adapter or version, or not a tuning at all, counts as
    /// none.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn with_tuning(
        choice: BackendChoice,
        tuning: Option<&str>,
    ) -> Result<Self, EngineError> {
        let note = match choice {
            BackendChoice::Cpu | BackendChoice::Scalar => None,
            BackendChoice::Auto | BackendChoice::Gpu => {
                match Self::with_gpu(choice, tuning).await {
                    Ok(engine) => return Ok(engine),
                    Err(reason) if choice == BackendChoice::Gpu => {
                        return Err(EngineError::NoGpu(reason));
                    }
                    Err(reason) => Some(format!("computing on the CPU: {reason}")),
                }
            }
        };
        let path =
            if choice == BackendChoice::Scalar { CpuPath::Scalar } else { CpuPath::detect() };
        let info = BackendInfo { kind: path.name(), adapter: "CPU".to_owned(), note };
        Ok(Self {
            choice,
            backend: Backend::Cpu(path),
            info,
            model: None,
            sessions: HashMap::new(),
            waiting: HashMap::new(),
            max_cache_bytes: DEFAULT_CACHE_BYTES,
        })
    }

    /// Leaves the GPU for good: it cannot compute what the CPU can.
    fn compute_on_cpu(&mut self, reason: &str) {
        let path = CpuPath::detect();
        let note = Some(format!("computing on the CPU: {reason}"));
        self.info = BackendInfo { kind: path.name(), adapter: "CPU".to_owned(), note };
        self.backend = Backend::Cpu(path);
    }

    async fn with_gpu(choice: BackendChoice, tuning: Option<&str>) -> Result<Self, String> {
        let tuning = tuning.and_then(|text| serde_json::from_str(text).ok());
        let gpu = Gpu::new(choice == BackendChoice::Gpu, tuning.as_ref())
            .await
            .map_err(|error| error.to_string())?;
        let info = BackendInfo {
            kind: gpu.info().kind,
            adapter: gpu.info().adapter.clone(),
            note: gpu
                .info()
                .is_software
                .then(|| "this adapter is software: it computes on the CPU".to_owned()),
        };
        let backend = Backend::Gpu(Box::new(gpu));
        let mut engine = Self {
            choice,
            backend,
            info,
            model: None,
            sessions: HashMap::new(),
            waiting: HashMap::new(),
            max_cache_bytes: DEFAULT_CACHE_BYTES,
        };
        let hash = known_answer::run(&mut engine).await.map_err(|error| error.to_string())?;
        if hash != known_answer::EXPECTED {
            return Err(format!(
                "{} computes wrongly (its driver fails the conformance vector)",
                engine.info.adapter
            ));
        }
        engine.forget_model();
        Ok(engine)
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> &BackendInfo {
        &self.info
    }

    /// What was found out about this machine's GPU, for the next [`Self::with_tuning`]; none on a
    /// CPU.
    #[must_use]
    pub fn tuning(&self) -> Option<String> {
        match &self.backend {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => serde_json::to_string(gpu.tuning()).ok(),
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
        let tables = Tables::from_bytes(&manifest.config, tables)?;
        self.forget_model();
        self.set_tables(&manifest, &tables)?;
        self.model =
            Some(Model { manifest, tables, embedding: None, layers: BTreeMap::new(), head: None });
        Ok(())
    }

    fn set_tables(&mut self, manifest: &Manifest, tables: &Tables) -> Result<(), LoadError> {
        if let Backend::Gpu(gpu) = &mut self.backend {
            match gpu.set_model(manifest, tables) {
                Err(error @ GpuError::Limit { .. }) if self.choice == BackendChoice::Auto => {
                    self.compute_on_cpu(&error.to_string());
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Takes a part in. Its hash is the caller's to check ([`potluck_model::package::verify_blob`]); its
    /// shape is checked here.
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
                let kept = match &mut self.backend {
                    Backend::Cpu(path) => Some(cpu::Layer::new(*path, weights)),
                    Backend::Gpu(gpu) => {
                        gpu.load_layer(index, &weights)?;
                        None
                    }
                };
                model.layers.insert(index, kept);
            }
            BlobRole::Layer(_) => return Err(LoadError::NoSuchPart(role)),
            BlobRole::Head => {
                let output = Linear::vocabulary_from_bytes(config, role, bytes)?;
                let norm = model.tables.last_norm.clone();
                model.head = Some(match &mut self.backend {
                    Backend::Cpu(path) => Some(cpu::Head::new(*path, norm, output)),
                    Backend::Gpu(gpu) => {
                        gpu.load_head(&norm, &output)?;
                        None
                    }
                });
            }
        }
        Ok(())
    }

    /// Drops a part. Sessions that need it fail at their next step.
    pub fn unload(&mut self, role: BlobRole) {
        let Some(model) = &mut self.model else { return };
        match role {
            BlobRole::Tables => {}
            BlobRole::Embedding => model.embedding = None,
            BlobRole::Layer(index) => {
                model.layers.remove(&index);
                if let Backend::Gpu(gpu) = &mut self.backend {
                    gpu.unload_layer(index);
                }
            }
            BlobRole::Head => {
                model.head = None;
                if let Backend::Gpu(gpu) = &mut self.backend {
                    gpu.unload_head();
                }
            }
        }
    }

    /// The parts held.
    #[must_use]
    pub fn held(&self) -> Vec<BlobRole> {
        let Some(model) = &self.model else { return Vec::new() };
        let mut held = vec![BlobRole::Tables];
        held.extend(model.embedding.as_ref().map(|_| BlobRole::Embedding));
        held.extend(model.layers.keys().map(|index| BlobRole::Layer(*index)));
        held.extend(model.head.as_ref().map(|_| BlobRole::Head));
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

    /// Forgets a session.
    pub fn close_session(&mut self, id: u128) {
        self.waiting.remove(&id);
        if self.sessions.remove(&id).is_some() {
            if let Backend::Gpu(gpu) = &mut self.backend {
                gpu.close_session(id);
            }
        }
    }

    /// How many rows a session has taken.
    #[must_use]
    pub fn session_position(&self, id: u128) -> Option<u32> {
        self.sessions.get(&id).map(|session| session.position)
    }

    /// Takes a session back to `position`, if it is beyond it.
    pub fn truncate(&mut self, id: u128, position: u32) {
        let session = self.sessions.get_mut(&id).or_else(|| self.waiting.get_mut(&id));
        let (Some(session), Some(model)) = (session, &self.model) else { return };
        if position < session.position {
            session.position = position;
            let config = &model.manifest.config;
            for cache in &mut session.caches {
                cache.truncate(
                    position as usize,
                    config.kv_heads as usize,
                    config.head_dim as usize,
                );
            }
            let width = session.input_width(config);
            session.inputs.iter_mut().for_each(|inputs| inputs.truncate(position as usize * width));
        }
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
        let layers = model.layers.keys().map(|index| BlobRole::Layer(*index));
        let missing = layers.chain(model.head.as_ref().map(|_| BlobRole::Head)).collect();
        let model = lost.model.take();
        self.model = model.map(|model| Model { layers: BTreeMap::new(), head: None, ..model });
        self.waiting = std::mem::take(&mut lost.waiting);
        self.waiting.extend(std::mem::take(&mut lost.sessions));
        Ok(missing)
    }

    /// Takes the GPU away, as a driver's reset does; for tests.
    pub fn lose_gpu(&mut self) {
        if let Backend::Gpu(gpu) = &mut self.backend {
            gpu.destroy();
        }
    }

    fn forget_model(&mut self) {
        let open: Vec<u128> = self.sessions.keys().copied().collect();
        for id in open {
            self.close_session(id);
        }
        self.waiting.clear();
        self.model = None;
    }
}

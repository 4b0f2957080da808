//! The engine with what is in it, and parts on their way there.

use std::sync::Arc;

use potluck_engine::engine::{BackendChoice, Engine, LoadError};
use potluck_model::package::{BlobRole, Manifest};
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;
use web_time::Instant;

use super::bench::Bench;
use super::downloads::Part;
use super::processor;
use super::speed::measure;
use crate::failure::{EngineFailure, LoadFailure};
use crate::node::{Device, EngineDescription, MachineEvent};

/// An engine and what it was given.
pub(super) struct Loaded {
    pub(super) engine: Engine,
    pub(super) choice: BackendChoice,
    /// The model whose tables the engine has.
    pub(super) model: Option<(ModelId, Arc<Manifest>)>,
    /// The model whose parts are being fetched: that one, or the one to come.
    fetched_model: Option<ModelId>,
    /// Parts of `fetched_model` that came before its tables, which the engine needs first.
    before_tables: Vec<Part>,
    /// GPUs that are gone.
    pub(super) losses: u32,
    /// Parts that were on the last of them and are not in this engine yet; sessions are resumed
    /// when all are.
    pub(super) missing: Vec<BlobRole>,
}

/// What this machine's GPU was found to run fastest.
const TUNING_NOTE: &str = "gpu-tuning.json";

impl Loaded {
    fn new(engine: Engine, choice: BackendChoice) -> Self {
        Self {
            engine,
            choice,
            model: None,
            fetched_model: None,
            before_tables: Vec::new(),
            losses: 0,
            missing: Vec::new(),
        }
    }

    /// Parts of `model` are on their way; whatever came of another one is not wanted any more.
    pub(super) fn expect(&mut self, model: ModelId) {
        if self.fetched_model.replace(model) != Some(model) {
            self.before_tables.clear();
        }
    }

    fn has_tables_of(&self, model: ModelId) -> bool {
        self.model.as_ref().is_some_and(|(of, _)| *of == model)
    }

    /// Puts a part into the engine; a layer only beside its own model's tables.
    async fn put(&mut self, part: &Part) -> Result<(), LoadError> {
        if part.role != BlobRole::Tables {
            return self.engine.load(part.role, &part.bytes);
        }
        let set = match self.engine.prove(&part.manifest.config).await {
            Ok(()) => self.engine.set_model(Arc::clone(&part.manifest), &part.bytes),
            Err(error) => Err(error),
        };
        if set.is_ok() {
            self.model = Some((part.model, Arc::clone(&part.manifest)));
        } else if self.engine.held().is_empty() {
            // The model before is gone as well, and layers of neither may be loaded.
            self.model = None;
        }
        set
    }
}

impl Bench {
    pub(super) async fn start_engine(&mut self, backend: BackendPreference) {
        let choice = match backend {
            BackendPreference::Auto => BackendChoice::Auto,
            BackendPreference::Cpu => BackendChoice::Cpu,
            BackendPreference::Gpu => BackendChoice::Gpu,
        };
        let event = match self.open_engine(choice).await {
            Ok((engine, description)) => {
                self.engine = Some(Loaded::new(engine, choice));
                MachineEvent::EngineReady(description)
            }
            Err(failure) => MachineEvent::EngineFailed { reason: failure.to_string() },
        };
        self.events.push_back(event);
    }

    /// An engine that was seen to compute rightly.
    pub(super) async fn open_engine(
        &self,
        choice: BackendChoice,
    ) -> Result<(Engine, EngineDescription), EngineFailure> {
        let store = &self.store;
        // A GPU is measured once, not at every start.
        let known = if choice == BackendChoice::Cpu { None } else { store.note(TUNING_NOTE).await };
        let mut engine = Engine::with_tuning(choice, known.as_deref()).await?;
        if let Some(tuning) = engine.tuning().filter(|tuning| Some(tuning) != known.as_ref()) {
            store.keep_note(TUNING_NOTE, &tuning).await;
        }
        let start = Instant::now();
        let macs_per_ms = measure(&mut engine, || start.elapsed()).await?;
        let info = engine.backend();
        let description = EngineDescription {
            backend: info.kind.to_owned(),
            adapter: info.adapter.clone(),
            note: info.note.clone(),
            macs_per_ms,
            device: if engine.is_on_gpu() { Device::Graphics } else { processor::device() },
        };
        Ok((engine, description))
    }

    /// Puts a fetched part into the engine, or keeps it until its model's tables are there.
    pub(super) async fn load(&mut self, part: Part) {
        let Some(loaded) = &mut self.engine else { return };
        if loaded.fetched_model != Some(part.model) {
            return; // another model was assigned meanwhile, and nobody waits for this one
        }
        if part.role != BlobRole::Tables && !loaded.has_tables_of(part.model) {
            loaded.before_tables.push(part);
            return;
        }
        let has_tables = self.load_now(&part).await && part.role == BlobRole::Tables;
        if has_tables && let Some(loaded) = &mut self.engine {
            for part in std::mem::take(&mut loaded.before_tables) {
                self.load_now(&part).await;
            }
        }
    }

    /// Puts a part into the engine, and into another one should its GPU be lost by that. True if it
    /// is there.
    async fn load_now(&mut self, part: &Part) -> bool {
        let result = self.put(part).await;
        let is_loaded = result.is_ok();
        let (model, role) = (part.model, part.role);
        self.events.push_back(MachineEvent::Loaded { model, role, result });
        is_loaded
    }

    async fn put(&mut self, part: &Part) -> Result<(), LoadFailure> {
        // Ends, as losses are counted, and a processor has none.
        loop {
            let loaded = self.engine.as_mut().ok_or(EngineFailure::Stopped)?;
            let backend = loaded.engine.backend().kind;
            match loaded.put(part).await {
                Ok(()) if loaded.engine.backend().kind == backend => return Ok(()),
                Ok(()) => {
                    self.announce_fallback().await?;
                    return Ok(());
                }
                Err(error) => match error.gpu_loss() {
                    Some(loss) => self.replace_engine(loss, error.to_string()).await?,
                    None => return Err(LoadFailure::Refused(error)),
                },
            }
        }
    }

    /// The engine left a GPU that is too small for the model by itself: what computes now has
    /// another speed.
    pub(super) async fn announce_fallback(&mut self) -> Result<(), EngineFailure> {
        // Measured on an engine of its own, as measuring replaces the model.
        let (_, mut description) = self.open_engine(BackendChoice::Cpu).await?;
        if let Some(loaded) = &mut self.engine {
            loaded.choice = BackendChoice::Cpu;
            description.note.clone_from(&loaded.engine.backend().note);
            self.events.push_back(MachineEvent::EngineReplaced(description));
        }
        Ok(())
    }

    /// A failure shows at the first step, which then has no session to run in.
    pub(super) async fn open_session(
        &mut self,
        session: SessionId,
        layers: LayerRange,
        continues: Option<SessionId>,
    ) {
        if let (Some(loaded), Some(kept)) = (&mut self.engine, continues) {
            let (kept, session) = (kept.as_u128(), session.as_u128());
            if loaded.engine.continue_session(kept, session, &layers.indices()) {
                return;
            }
        }
        while let Some(loaded) = &mut self.engine {
            let opened = loaded.engine.open_session(session.as_u128(), layers.indices());
            let Err(error) = opened.map_err(EngineFailure::from) else { return };
            let replaced = match error.gpu_loss() {
                Some(loss) => self.replace_engine(loss, error.to_string()).await,
                None => Err(error),
            };
            if let Err(error) = replaced {
                tracing::warn!(%error, "could not open a session");
                return;
            }
        }
    }
}

//! What the node's actions move besides the network: the engine, the weight store, and how fast this machine is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures::stream::{FuturesUnordered, StreamExt as _};
use potluck_engine::conformance;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output};
use potluck_engine::package::{BlobRef, BlobRole, Manifest};
use potluck_engine::sampler;
use potluck_engine::tokenizer::Tokenizer;
use potluck_net::weights::WeightStore;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;
use potluck_protocol::sampling::Sampling;
use web_time::Instant;

use crate::node::{Action, Computed, MachineEvent, Step, Work};

/// Engine and weights of one node.
pub(crate) struct Machine {
    engine: Option<Loaded>,
    store: Rc<WeightStore>,
    server: String,
    downloads: FuturesUnordered<Download>,
    progress: Rc<RefCell<Progress>>,
}

struct Loaded {
    engine: Engine,
    model: Option<ModelId>,
    /// Parts that came before the tables that the engine needs first.
    early: Vec<(Arc<Manifest>, BlobRole, Vec<u8>)>,
}

type Download = Pin<Box<dyn Future<Output = Downloaded>>>;

enum Downloaded {
    Event(MachineEvent),
    Part { model: ModelId, manifest: Arc<Manifest>, role: BlobRole, bytes: Vec<u8> },
}

/// Bytes that arrived and were not told yet; a later number of the same part replaces an earlier one, so this cannot grow.
#[derive(Default)]
struct Progress {
    news: VecDeque<(BlobRole, u64)>,
    waker: Option<Waker>,
}

/// Largest manifest: a few hundred layers at some hundred bytes each.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
/// What this machine's GPU was found to run fastest.
const TUNING_NOTE: &str = "gpu-tuning.json";

impl Machine {
    pub(crate) fn new(store: WeightStore) -> Self {
        Self {
            engine: None,
            store: Rc::new(store),
            server: String::new(),
            downloads: FuturesUnordered::new(),
            progress: Rc::default(),
        }
    }

    pub(crate) fn set_server(&mut self, server: &str) {
        server.trim_end_matches('/').clone_into(&mut self.server);
    }

    /// Waits for something that runs beside the loop: bytes, or a finished download. Cancel-safe.
    pub(crate) async fn next_event(&mut self) -> MachineEvent {
        loop {
            let progress = Rc::clone(&self.progress);
            let downloads = &mut self.downloads;
            let next = poll_fn(|context| {
                // An empty set is ready with `None`, which is no news.
                if let Poll::Ready(Some(downloaded)) = downloads.poll_next_unpin(context) {
                    return Poll::Ready(downloaded);
                }
                let mut progress = progress.borrow_mut();
                if let Some((role, bytes)) = progress.news.pop_front() {
                    return Poll::Ready(Downloaded::Event(MachineEvent::Progress { role, bytes }));
                }
                progress.waker = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
            match next {
                Downloaded::Event(event) => return event,
                Downloaded::Part { model, manifest, role, bytes } => {
                    if let Some(event) = self.load(model, manifest, role, bytes) {
                        return event;
                    }
                }
            }
        }
    }

    /// Does one thing; what comes of it at once is returned, what takes longer comes from [`Self::next_event`].
    pub(crate) async fn perform(&mut self, action: Action) -> Option<MachineEvent> {
        match action {
            Action::StartEngine { backend } => Some(self.start_engine(backend).await),
            Action::StopEngine => {
                self.engine = None;
                None
            }
            Action::FetchManifest { model } => {
                self.fetch_manifest(model);
                None
            }
            Action::FetchTokenizer { model, blob } => {
                self.fetch_tokenizer(model, blob);
                None
            }
            Action::FetchBlob { model, manifest, role, blob } => {
                self.fetch_part(model, manifest, role, blob);
                None
            }
            Action::Unload { role } => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.unload(role);
                }
                None
            }
            Action::OpenSession { session, layers } => {
                self.open_session(session, layers);
                None
            }
            Action::CloseSession { session } => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.close_session(session.as_u128());
                }
                None
            }
            Action::Compute { session, position, work, sampling } => {
                Some(MachineEvent::Computed(self.compute(session, position, work, sampling).await))
            }
            Action::Transport(_) | Action::Notice(_) => None, // the loop's own
        }
    }

    async fn start_engine(&mut self, backend: BackendPreference) -> MachineEvent {
        let choice = match backend {
            BackendPreference::Auto => BackendChoice::Auto,
            BackendPreference::Cpu => BackendChoice::Cpu,
            BackendPreference::Gpu => BackendChoice::Gpu,
        };
        self.engine = None;
        // A GPU is measured once, not at every start.
        let known = if choice == BackendChoice::Cpu { None } else { self.store.note(TUNING_NOTE).await };
        match Engine::with_tuning(choice, known.as_deref()).await {
            Ok(mut engine) => {
                if let Some(tuning) = engine.tuning().filter(|tuning| Some(tuning) != known.as_ref()) {
                    self.store.keep_note(TUNING_NOTE, &tuning).await;
                }
                let macs_per_ms = match measure(&mut engine).await {
                    Ok(speed) => speed,
                    Err(reason) => return MachineEvent::EngineFailed { reason },
                };
                let info = engine.backend();
                let event = MachineEvent::EngineReady {
                    backend: info.kind.to_owned(),
                    adapter: info.adapter.clone(),
                    note: info.note.clone(),
                    macs_per_ms,
                };
                self.engine = Some(Loaded { engine, model: None, early: Vec::new() });
                event
            }
            Err(error) => MachineEvent::EngineFailed { reason: error.to_string() },
        }
    }

    fn fetch_manifest(&mut self, model: ModelId) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.downloads.push(Box::pin(async move {
            let result = match store.fetch_verified(&server, &model.0, MAX_MANIFEST_BYTES).await {
                Ok(bytes) => Manifest::from_bytes(&bytes).map(Arc::new).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Downloaded::Event(MachineEvent::Manifest { model, result })
        }));
    }

    fn fetch_tokenizer(&mut self, model: ModelId, blob: BlobRef) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.downloads.push(Box::pin(async move {
            let result = match store.fetch(&server, &blob.hash.0, blob.size_bytes, |_| {}).await {
                Ok(bytes) => Tokenizer::from_bytes(&bytes).map(Arc::new).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            Downloaded::Event(MachineEvent::Tokenizer { model, result })
        }));
    }

    fn fetch_part(&mut self, model: ModelId, manifest: Arc<Manifest>, role: BlobRole, blob: BlobRef) {
        let (store, server, progress) = (Rc::clone(&self.store), self.server.clone(), Rc::clone(&self.progress));
        self.downloads.push(Box::pin(async move {
            let tell = |bytes| {
                let mut progress = progress.borrow_mut();
                progress.news.retain(|(of, _)| *of != role);
                progress.news.push_back((role, bytes));
                if let Some(waker) = progress.waker.take() {
                    waker.wake();
                }
            };
            match store.fetch(&server, &blob.hash.0, blob.size_bytes, tell).await {
                Ok(bytes) => Downloaded::Part { model, manifest, role, bytes },
                Err(error) => Downloaded::Event(MachineEvent::Loaded { model, role, result: Err(error.to_string()) }),
            }
        }));
    }

    /// Puts a part into the engine. `None` if it has to wait for the tables.
    fn load(
        &mut self,
        model: ModelId,
        manifest: Arc<Manifest>,
        role: BlobRole,
        bytes: Vec<u8>,
    ) -> Option<MachineEvent> {
        let loaded = self.engine.as_mut()?;
        let result = if role == BlobRole::Tables {
            let result = loaded.engine.set_model(Arc::clone(&manifest), &bytes);
            loaded.model = Some(model);
            for (_, role, bytes) in std::mem::take(&mut loaded.early) {
                let result = loaded.engine.load(role, &bytes).map_err(|error| error.to_string());
                let event = MachineEvent::Loaded { model, role, result };
                self.downloads.push(Box::pin(std::future::ready(Downloaded::Event(event))));
            }
            result
        } else if loaded.model == Some(model) {
            loaded.engine.load(role, &bytes)
        } else {
            loaded.early.retain(|(early, _, _)| early.name == manifest.name);
            loaded.early.push((manifest, role, bytes));
            return None;
        };
        Some(MachineEvent::Loaded { model, role, result: result.map_err(|error| error.to_string()) })
    }

    fn open_session(&mut self, session: SessionId, layers: LayerRange) {
        if let Some(loaded) = &mut self.engine {
            // A failure shows at the first step, which then has no session to run in.
            if let Err(error) = loaded.engine.open_session(session.as_u128(), layers.indices()) {
                tracing::warn!(%error, "could not open a session");
            }
        }
    }

    async fn compute(&mut self, session: SessionId, position: u32, work: Work, sampling: Option<Sampling>) -> Step {
        let begin = Instant::now();
        let mut rows = match &work {
            Work::Tokens(tokens) => tokens.len(),
            Work::Hidden(_) => 0,
        };
        let output = match &mut self.engine {
            None => Err("the engine is stopped".to_owned()),
            Some(loaded) => {
                let input = match &work {
                    Work::Tokens(tokens) => Input::Tokens(tokens),
                    Work::Hidden(values) => {
                        rows = values.len() / loaded.engine.d_model().max(1);
                        Input::Hidden(values)
                    }
                };
                let forward = loaded.engine.forward(session.as_u128(), position, input, sampling.is_some()).await;
                forward.map_err(|error| error.to_string()).map(|output| match (output, sampling) {
                    (Output::Hidden(values), _) => Computed::Hidden(values),
                    (Output::Logits(logits), Some(sampling)) => {
                        let draw = sampler::Sampling {
                            temperature_milli: sampling.temperature_milli,
                            top_k: sampling.top_k,
                            top_p_milli: sampling.top_p_milli,
                            seed: sampling.seed,
                        };
                        let place = position + u32::try_from(rows).unwrap_or(u32::MAX);
                        Computed::Token(sampler::sample(&logits, &draw, place))
                    }
                    (Output::Logits(_) | Output::None, _) => Computed::Nothing,
                })
            }
        };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        Step { session, position, rows, output, sampling, elapsed: begin.elapsed() }
    }
}

/// Runs the conformance vector a few times: it must come out right, and the fastest run is this machine's speed.
async fn measure(engine: &mut Engine) -> Result<u64, String> {
    let mut best_us = u64::MAX;
    for _ in 0..SPEED_RUNS {
        let begin = Instant::now();
        let hash = conformance::run(engine).await.map_err(|error| error.to_string())?;
        best_us = best_us.min(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
        if hash != conformance::EXPECTED {
            let adapter = &engine.backend().adapter;
            return Err(format!("{adapter} computes wrongly: it fails the conformance vector; choose another backend"));
        }
    }
    Ok(conformance::MACS.saturating_mul(1000) / best_us)
}

/// The first run pays for caches and pipelines; three are enough to see past it.
const SPEED_RUNS: u32 = 3;

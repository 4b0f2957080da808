//! What the node's actions move besides the network: the engine, the weight store, and how fast
//! this machine is.
//!
//! A GPU that is gone (its driver was reset, the browser took it back, its memory is full) is
//! replaced where it shows, in the middle of a step: a new engine takes over, reads the weights
//! from the store again and resumes the sessions. Nobody who waits for the step sees more than a
//! pause.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures::stream::{FuturesUnordered, StreamExt as _};
use potluck_engine::engine::{
    self, BackendChoice, Engine, ForwardError, GpuLoss, Input, LoadError, Output, OutputRequest,
    SessionError,
};
use potluck_engine::known_answer;
use potluck_model::package::{BlobRef, BlobRole, MAX_MANIFEST_BYTES, Manifest};
use potluck_model::tokenizer::Tokenizer;
use potluck_net::weights::WeightStore;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;
use web_time::Instant;

use crate::node::{Action, Computed, EngineDescription, MachineEvent, Step, Work};
use crate::steps::{Steps, Waiting};

/// Engine and weights of one node.
pub(crate) struct Machine {
    engine: Option<Loaded>,
    store: Rc<WeightStore>,
    server: String,
    downloads: FuturesUnordered<Download>,
    progress: Rc<RefCell<Progress>>,
    steps: Steps,
}

struct Loaded {
    engine: Engine,
    choice: BackendChoice,
    model: Option<(ModelId, Arc<Manifest>)>,
    /// Parts that came before the tables that the engine needs first.
    early: Vec<(Arc<Manifest>, BlobRole, Vec<u8>)>,
    /// GPUs that are gone.
    losses: u32,
    /// Parts that were on the last of them and are not in this engine yet; sessions are resumed
    /// when all are.
    missing: Vec<BlobRole>,
    /// Why a part could not be loaded: the next action finds another place.
    gone: Option<(GpuLoss, String)>,
}

type Download = Pin<Box<dyn Future<Output = Downloaded>>>;

enum Downloaded {
    Event(MachineEvent),
    Part { model: ModelId, manifest: Arc<Manifest>, role: BlobRole, bytes: Vec<u8> },
}

/// Bytes that arrived and were not told yet; a later number of the same part replaces an earlier
/// one, so this cannot grow.
#[derive(Default)]
struct Progress {
    news: VecDeque<(BlobRole, u64)>,
    waker: Option<Waker>,
}

/// Losses after which a GPU is not asked again: a driver that fails so often fails everyone who
/// waits.
const MAX_LOSSES: u32 = 3;
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
            steps: Steps::default(),
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

    /// Does one thing; what comes of it at once is returned, what takes longer comes from
    /// [`Self::next_event`]. A step waits for [`Self::compute_next`].
    pub(crate) async fn perform(&mut self, action: Action) -> Option<MachineEvent> {
        match action {
            Action::StartEngine { backend } => Some(self.start_engine(backend).await),
            Action::StopEngine => {
                self.steps.clear();
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
                if let Some((loss, reason)) =
                    self.engine.as_mut().and_then(|loaded| loaded.gone.take())
                    && let Err(reason) = self.replace_engine(loss, reason).await
                {
                    tracing::warn!(reason, "no other place for the weights");
                }
                self.fetch_part(model, manifest, role, blob);
                None
            }
            Action::Unload { role } => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.unload(role);
                    loaded.missing.retain(|missing| *missing != role);
                }
                None
            }
            Action::OpenSession { session, layers } => {
                self.open_session(session, layers).await;
                None
            }
            Action::CloseSession { session } => {
                self.steps.forget(session);
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.close_session(session.as_u128());
                }
                None
            }
            Action::Compute { session, position, work, sampling } => {
                let rows = match (&work, &self.engine) {
                    (Work::Tokens(tokens), _) => tokens.len(),
                    (Work::Hidden(values), Some(loaded)) => {
                        values.len() / loaded.engine.d_model().max(1)
                    }
                    (Work::Hidden(_), None) => 1,
                };
                self.steps.push(Waiting { session, position, work, sampling, rows });
                None
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
        match self.open_engine(choice).await {
            Ok((engine, description)) => {
                self.engine = Some(Loaded {
                    engine,
                    choice,
                    model: None,
                    early: Vec::new(),
                    losses: 0,
                    missing: Vec::new(),
                    gone: None,
                });
                MachineEvent::EngineReady(description)
            }
            Err(reason) => MachineEvent::EngineFailed { reason },
        }
    }

    /// An engine that was seen to compute rightly.
    async fn open_engine(
        &self,
        choice: BackendChoice,
    ) -> Result<(Engine, EngineDescription), String> {
        // A GPU is measured once, not at every start.
        let known =
            if choice == BackendChoice::Cpu { None } else { self.store.note(TUNING_NOTE).await };
        let mut engine = Engine::with_tuning(choice, known.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        if let Some(tuning) = engine.tuning().filter(|tuning| Some(tuning) != known.as_ref()) {
            self.store.keep_note(TUNING_NOTE, &tuning).await;
        }
        let macs_per_ms = measure(&mut engine).await?;
        let info = engine.backend();
        let description = EngineDescription {
            backend: info.kind.to_owned(),
            adapter: info.adapter.clone(),
            note: info.note.clone(),
            macs_per_ms,
        };
        Ok((engine, description))
    }

    /// Another engine in the place of one whose GPU is gone, with the same weights and sessions: on
    /// a GPU again unless that makes no sense, else on the processor, if it was left open what
    /// computes.
    async fn replace_engine(
        &mut self,
        mut loss: GpuLoss,
        mut reason: String,
    ) -> Result<(), String> {
        loop {
            let Some(lost) = &mut self.engine else {
                return Err("the engine is stopped".to_owned());
            };
            lost.losses += 1;
            let again = loss == GpuLoss::Device && lost.losses <= MAX_LOSSES;
            let choice = match lost.choice {
                BackendChoice::Auto if !again => BackendChoice::Cpu,
                choice if again => choice,
                _ => return Err(reason),
            };
            tracing::warn!(reason, ?choice, "the GPU is gone; another engine takes over");
            let (engine, mut description) = self.open_engine(choice).await?;
            if choice == BackendChoice::Cpu {
                description.note = Some(format!("computing on the CPU: {reason}"));
            }
            let Some(loaded) = &mut self.engine else {
                return Err("the engine is stopped".to_owned());
            };
            let mut lost = std::mem::replace(&mut loaded.engine, engine);
            let moved = match loaded.engine.take_over(&mut lost) {
                Ok(missing) => {
                    // What it held on the GPU makes room for what comes.
                    drop(lost);
                    loaded.choice = choice;
                    loaded.missing.extend(missing);
                    // Said even if something cannot be fetched now: this is what computes from here
                    // on.
                    let event = Downloaded::Event(MachineEvent::EngineReplaced(description));
                    self.downloads.push(Box::pin(std::future::ready(event)));
                    self.refill().await
                }
                Err(error) => {
                    loaded.engine = lost;
                    Err(error.into())
                }
            };
            match moved {
                Ok(()) => return Ok(()),
                Err(RefillError { reason: next, loss: Some(next_loss) }) => {
                    (reason, loss) = (next, next_loss)
                }
                Err(RefillError { reason, loss: None }) => return Err(reason),
            }
        }
    }

    async fn refill_or_replace(&mut self) -> Result<(), String> {
        match self.refill().await {
            Err(RefillError { reason, loss: Some(loss) }) => {
                self.replace_engine(loss, reason).await
            }
            refilled => refilled.map_err(|error| error.reason),
        }
    }

    /// Loads what the engine before had and this one has not yet, and resumes the sessions then.
    /// What cannot be had is tried again at the next step.
    async fn refill(&mut self) -> Result<(), RefillError> {
        let Some(loaded) = &mut self.engine else { return Ok(()) };
        let Some((_, manifest)) = &loaded.model else { return Ok(()) };
        let blobs = manifest.blobs_for(0..manifest.config.layers);
        for (role, blob) in blobs {
            if !loaded.missing.contains(&role) {
                continue;
            }
            let bytes = self.store.fetch(&self.server, &blob.hash.0, blob.size_bytes, |_| {}).await;
            let bytes =
                bytes.map_err(|error| RefillError { reason: error.to_string(), loss: None })?;
            loaded.engine.load(role, &bytes)?;
            loaded.missing.retain(|missing| *missing != role);
        }
        match loaded.engine.resume().await {
            // Of a session whose part was unloaded: it would have failed by itself.
            Err(ForwardError::Missing(_)) => Ok(()),
            resumed => Ok(resumed?),
        }
    }

    fn fetch_manifest(&mut self, model: ModelId) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.downloads.push(Box::pin(async move {
            let result =
                match store.fetch_verified(&server, &model.0, MAX_MANIFEST_BYTES as u64).await {
                    Ok(bytes) => Manifest::from_bytes(&bytes)
                        .map(Arc::new)
                        .map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
            Downloaded::Event(MachineEvent::Manifest { model, result })
        }));
    }

    fn fetch_tokenizer(&mut self, model: ModelId, blob: BlobRef) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.downloads.push(Box::pin(async move {
            let result = match store.fetch(&server, &blob.hash.0, blob.size_bytes, |_| {}).await {
                Ok(bytes) => {
                    Tokenizer::from_bytes(&bytes).map(Arc::new).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            Downloaded::Event(MachineEvent::Tokenizer { model, result })
        }));
    }

    fn fetch_part(
        &mut self,
        model: ModelId,
        manifest: Arc<Manifest>,
        role: BlobRole,
        blob: BlobRef,
    ) {
        let (store, server, progress) =
            (Rc::clone(&self.store), self.server.clone(), Rc::clone(&self.progress));
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
                Err(error) => Downloaded::Event(MachineEvent::Loaded {
                    model,
                    role,
                    result: Err(error.to_string()),
                }),
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
            loaded.model = Some((model, manifest));
            for (_, role, bytes) in std::mem::take(&mut loaded.early) {
                let result = loaded.engine.load(role, &bytes).map_err(|error| error.to_string());
                let event = MachineEvent::Loaded { model, role, result };
                self.downloads.push(Box::pin(std::future::ready(Downloaded::Event(event))));
            }
            result
        } else if loaded.model.as_ref().is_some_and(|(of, _)| *of == model) {
            loaded.engine.load(role, &bytes)
        } else {
            loaded.early.retain(|(early, _, _)| early.name == manifest.name);
            loaded.early.push((manifest, role, bytes));
            return None;
        };
        if let Err(error) = &result
            && let Some(loss) = error.gpu_loss()
        {
            loaded.gone = Some((loss, error.to_string()));
        }
        Some(MachineEvent::Loaded {
            model,
            role,
            result: result.map_err(|error| error.to_string()),
        })
    }

    /// A failure shows at the first step, which then has no session to run in.
    async fn open_session(&mut self, session: SessionId, layers: LayerRange) {
        while let Some(loaded) = &mut self.engine {
            let Err(error) = loaded.engine.open_session(session.as_u128(), layers.indices()) else {
                return;
            };
            let reason = error.to_string();
            let replaced = match error {
                SessionError::Gpu { loss: Some(loss), .. } => {
                    self.replace_engine(loss, reason).await
                }
                _ => Err(reason),
            };
            if let Err(reason) = replaced {
                tracing::warn!(reason, "could not open a session");
                return;
            }
        }
    }

    /// Whether steps wait.
    pub(crate) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether so many steps wait that no more should be taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.steps.is_full()
    }

    /// Computes the next batch of the steps that wait.
    pub(crate) async fn compute_next(&mut self) -> Vec<MachineEvent> {
        let batch = self.steps.next();
        let begin = Instant::now();
        let outputs = self.forward_all(&batch).await;
        let (elapsed, all_rows) =
            (begin.elapsed(), batch.iter().map(|step| step.rows).sum::<usize>());
        let steps = batch.into_iter().zip(outputs).map(|(waiting, output)| {
            let Waiting { session, position, sampling, rows, .. } = waiting;
            let output = output.map(|output| match output {
                Output::Hidden(values) => Computed::Hidden(values),
                Output::Token(token) => Computed::Token(token),
                Output::Logits(_) | Output::None => Computed::Nothing,
            });
            // Each has its share of the time: weights are read once for all.
            let share = u32::try_from(rows).unwrap_or(u32::MAX);
            let elapsed = elapsed * share / u32::try_from(all_rows.max(1)).unwrap_or(u32::MAX);
            Step { session, position, rows: share, output, sampling, elapsed }
        });
        steps.map(MachineEvent::Computed).collect()
    }

    /// Steps on the engine, and on another should its GPU be gone.
    async fn forward_all(&mut self, batch: &[Waiting]) -> Vec<Result<Output, String>> {
        let mut outputs: Vec<Option<Result<Output, String>>> = batch.iter().map(|_| None).collect();
        loop {
            let open: Vec<usize> = (0..batch.len()).filter(|at| outputs[*at].is_none()).collect();
            if open.is_empty() {
                return outputs.into_iter().flatten().collect();
            }
            let missing = self.engine.as_ref().is_some_and(|loaded| !loaded.missing.is_empty());
            let mut failure = if missing { self.refill_or_replace().await.err() } else { None };
            let mut lost = None;
            match &mut self.engine {
                Some(loaded) if failure.is_none() => {
                    let steps: Vec<engine::Step<'_>> =
                        open.iter().map(|at| engine_step(&batch[*at])).collect();
                    for (at, output) in open.iter().zip(loaded.engine.forward_all(&steps).await) {
                        match output {
                            Ok(output) => outputs[*at] = Some(Ok(output)),
                            Err(error) => match error.gpu_loss() {
                                Some(loss) => lost = Some((loss, error.to_string())),
                                None => outputs[*at] = Some(Err(error.to_string())),
                            },
                        }
                    }
                }
                Some(_) => {}
                None => failure = Some("the engine is stopped".to_owned()),
            }
            // Ends: losses are counted, and a processor has none.
            if let Some((loss, reason)) = lost {
                failure = self.replace_engine(loss, reason).await.err();
            }
            if let Some(reason) = failure {
                outputs
                    .iter_mut()
                    .filter(|output| output.is_none())
                    .for_each(|output| *output = Some(Err(reason.clone())));
            }
        }
    }
}

/// As the engine takes it.
fn engine_step(waiting: &Waiting) -> engine::Step<'_> {
    let input = match &waiting.work {
        Work::Tokens(tokens) => Input::Tokens(tokens),
        Work::Hidden(values) => Input::Hidden(values),
    };
    let want = waiting.sampling.map_or(OutputRequest::Nothing, OutputRequest::Token);
    engine::Step { session: waiting.session.as_u128(), position: waiting.position, input, want }
}

/// A new engine could not be given everything; `loss` if its GPU is gone as well.
struct RefillError {
    reason: String,
    loss: Option<GpuLoss>,
}

impl From<LoadError> for RefillError {
    fn from(error: LoadError) -> Self {
        Self { reason: error.to_string(), loss: error.gpu_loss() }
    }
}

impl From<ForwardError> for RefillError {
    fn from(error: ForwardError) -> Self {
        Self { reason: error.to_string(), loss: error.gpu_loss() }
    }
}

/// Runs the known-answer test a few times: it must come out right, and the fastest run is this
/// machine's speed.
async fn measure(engine: &mut Engine) -> Result<u64, String> {
    let mut best_us = u64::MAX;
    for _ in 0..SPEED_RUNS {
        let begin = Instant::now();
        let hash = known_answer::run(engine).await.map_err(|error| error.to_string())?;
        best_us =
            best_us.min(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX).max(1));
        if hash != known_answer::EXPECTED {
            let adapter = &engine.backend().adapter;
            return Err(format!(
                "{adapter} computes wrongly: it fails the known-answer test; choose another backend"
            ));
        }
    }
    Ok(known_answer::MACS.saturating_mul(1000) / best_us)
}

/// The first run pays for caches and pipelines; three are enough to see past it.
const SPEED_RUNS: u32 = 3;

#[cfg(all(test, not(target_arch = "wasm32")))]
#[expect(clippy::unwrap_used, reason = "what fails here fails the test")]
mod tests {
    use potluck_model::synthetic::{Synthetic, config};
    use potluck_net::platform::BlobCache;
    use potluck_net::weights::Patience;
    use potluck_protocol::sampling::Sampling;

    use super::*;

    const LAYERS: u32 = 3;

    /// A model whose blobs lie in a cache; there is no server.
    fn cached() -> (Synthetic, tempfile::TempDir) {
        let model = Synthetic::new(config(LAYERS, 64, 96, (4, 2, 16), 99, 64), 3);
        let folder = tempfile::tempdir().unwrap();
        for (role, blob) in model.manifest.blobs_for(0..LAYERS) {
            std::fs::write(folder.path().join(blob.hash.to_string()), model.blob(role)).unwrap();
        }
        (model, folder)
    }

    /// A machine that holds the model, or none where there is no adapter.
    async fn serving(
        model: &Synthetic,
        folder: &tempfile::TempDir,
        backend: BackendPreference,
    ) -> Option<Machine> {
        let patience = Patience { breaks: 1, ..Patience::default() };
        let store = WeightStore::new(BlobCache::new(folder.path())).with_patience(patience);
        let mut machine = Machine::new(store);
        machine.set_server("http://127.0.0.1:9");
        match machine.perform(Action::StartEngine { backend }).await {
            Some(MachineEvent::EngineReady(_)) => {}
            Some(MachineEvent::EngineFailed { reason }) => {
                let required = std::env::var("POTLUCK_REQUIRE_GPU").is_ok_and(|value| value == "1");
                assert!(!required, "POTLUCK_REQUIRE_GPU=1, but: {reason}");
                eprintln!("SKIPPED: {reason}");
                return None;
            }
            other => panic!("{other:?}"),
        }
        let manifest = Arc::new(model.manifest.clone());
        for (role, blob) in manifest.blobs_for(0..LAYERS) {
            let model = ModelId([7; 32]);
            machine
                .perform(Action::FetchBlob { model, manifest: Arc::clone(&manifest), role, blob })
                .await;
            let mut event = machine.next_event().await;
            while matches!(event, MachineEvent::Progress { .. }) {
                event = machine.next_event().await;
            }
            assert!(matches!(event, MachineEvent::Loaded { result: Ok(()), .. }), "{event:?}");
        }
        Some(machine)
    }

    fn session(number: u128) -> SessionId {
        SessionId(number.to_be_bytes())
    }

    async fn compute(
        machine: &mut Machine,
        number: u128,
        position: u32,
        tokens: &[u32],
    ) -> Result<Computed, String> {
        let sampling =
            Some(Sampling { temperature_milli: 800, top_k: 0, top_p_milli: 1000, seed: 4 });
        let work = Work::Tokens(tokens.to_vec());
        machine
            .perform(Action::Compute { session: session(number), position, work, sampling })
            .await;
        let mut events = machine.compute_next().await;
        let Some(MachineEvent::Computed(step)) = events.pop() else { panic!("{events:?}") };
        assert!(events.is_empty() && !machine.has_steps());
        step.output
    }

    async fn step(machine: &mut Machine, number: u128, position: u32, tokens: &[u32]) -> Computed {
        compute(machine, number, position, tokens).await.unwrap()
    }

    /// Tokens drawn by a machine whose GPU is lost before each step but the first, with a session
    /// that is opened on a lost one.
    async fn drawn(machine: &mut Machine, lose: impl Fn(&mut Loaded)) -> Vec<Computed> {
        let layers = LayerRange::new(0, LAYERS).unwrap();
        machine.perform(Action::OpenSession { session: session(1), layers }).await;
        let mut drawn = vec![step(machine, 1, 0, &[5, 6, 7]).await];
        lose(machine.engine.as_mut().unwrap());
        drawn.push(step(machine, 1, 3, &[8]).await);
        lose(machine.engine.as_mut().unwrap());
        machine.perform(Action::OpenSession { session: session(2), layers }).await;
        drawn.push(step(machine, 2, 0, &[9]).await);
        drawn.push(step(machine, 1, 4, &[10, 11]).await);
        drawn
    }

    #[tokio::test]
    async fn answers_outlive_the_gpu_on_another_or_on_the_processor() {
        let (model, folder) = cached();
        let mut cpu = serving(&model, &folder, BackendPreference::Cpu).await.unwrap();
        let expected = drawn(&mut cpu, |_| ()).await;
        for choice in [BackendChoice::Gpu, BackendChoice::Auto] {
            let Some(mut machine) = serving(&model, &folder, BackendPreference::Gpu).await else {
                return;
            };
            machine.engine.as_mut().unwrap().choice = choice;
            assert_eq!(
                drawn(&mut machine, |loaded| loaded.engine.lose_gpu()).await,
                expected,
                "{choice:?}"
            );
            let event = machine.next_event().await;
            let MachineEvent::EngineReplaced(engine) = event else { panic!("{event:?}") };
            assert!(choice == BackendChoice::Auto || engine.backend == "vulkan", "{engine:?}");
        }
    }

    #[tokio::test]
    async fn weights_that_cannot_be_had_again_are_tried_again() {
        let (model, folder) = cached();
        let mut cpu = serving(&model, &folder, BackendPreference::Cpu).await.unwrap();
        let expected = drawn(&mut cpu, |_| ()).await;
        let Some(mut machine) = serving(&model, &folder, BackendPreference::Gpu).await else {
            return;
        };
        let layers = LayerRange::new(0, LAYERS).unwrap();
        machine.perform(Action::OpenSession { session: session(1), layers }).await;
        assert_eq!(step(&mut machine, 1, 0, &[5, 6, 7]).await, expected[0]);
        // The cache has lost a layer, and there is no server.
        let blob = folder.path().join(model.manifest.layer_blobs[1].hash.to_string());
        let bytes = std::fs::read(&blob).unwrap();
        std::fs::remove_file(&blob).unwrap();
        machine.engine.as_mut().unwrap().engine.lose_gpu();
        for _ in 0..2 {
            let failed = compute(&mut machine, 1, 3, &[8]).await;
            assert!(failed.unwrap_err().contains("could not fetch"), "it says what it lacks");
        }
        std::fs::write(&blob, bytes).unwrap();
        assert_eq!(step(&mut machine, 1, 3, &[8]).await, expected[1], "nothing was lost meanwhile");
    }

    #[tokio::test]
    async fn a_gpu_that_is_lost_again_and_again_is_given_up() {
        let (model, folder) = cached();
        for (choice, survives) in [(BackendChoice::Gpu, false), (BackendChoice::Auto, true)] {
            let Some(mut machine) = serving(&model, &folder, BackendPreference::Gpu).await else {
                return;
            };
            let layers = LayerRange::new(0, LAYERS).unwrap();
            machine.perform(Action::OpenSession { session: session(1), layers }).await;
            step(&mut machine, 1, 0, &[5]).await;
            let loaded = machine.engine.as_mut().unwrap();
            (loaded.choice, loaded.losses) = (choice, MAX_LOSSES);
            loaded.engine.lose_gpu();
            let output = compute(&mut machine, 1, 1, &[6]).await;
            assert_eq!(output.is_ok(), survives, "{choice:?}: {output:?}");
            let backend = machine.engine.as_ref().unwrap().engine.backend();
            assert_eq!(backend.kind == "vulkan", !survives, "{backend:?}");
        }
    }
}

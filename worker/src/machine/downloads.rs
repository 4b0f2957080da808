//! What is fetched beside the loop: manifests, tokenizers and parts, with the progress of each.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::future::{AbortHandle, Abortable};
use futures::select_biased;
use futures::stream::{FuturesUnordered, StreamExt as _};
use potluck_model::package::{BlobRef, BlobRole, MAX_MANIFEST_BYTES, Manifest};
use potluck_model::tokenizer::Tokenizer;
use potluck_net::weights::WeightStore;
use potluck_protocol::id::ModelId;

use crate::failure::{FetchFailure, LoadFailure};
use crate::node::MachineEvent;

/// All downloads under way.
pub(super) struct Downloads {
    store: Arc<WeightStore>,
    server: String,
    running: FuturesUnordered<Download>,
    /// Ends each of them; one that two wait for is fetched once.
    handles: HashMap<Wanted, AbortHandle>,
    reporter: mpsc::Sender<(BlobRole, u64)>,
    reports: mpsc::Receiver<(BlobRole, u64)>,
    has_told_budget: bool,
}

/// What a download brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Manifest(ModelId),
    Tokenizer(ModelId),
    Part(ModelId, BlobRole),
    /// What this machine remembers of the day's bytes.
    Budget,
}

/// Comes to nothing if it is cancelled.
type Download = Pin<Box<dyn Future<Output = Option<(Wanted, Finished)>>>>;

/// What came of a download.
pub(super) enum Finished {
    /// Nothing is left to be done about it.
    Event(MachineEvent),
    /// Verified bytes for the engine.
    Part(Part),
}

/// A part of a model, on its way into the engine.
pub(super) struct Part {
    pub(super) model: ModelId,
    pub(super) manifest: Arc<Manifest>,
    pub(super) role: BlobRole,
    pub(super) bytes: Vec<u8>,
}

/// Progress reports that wait for the loop. A report that finds no room is lost, and the next one
/// of the same part makes up for it.
const MAX_REPORTS: usize = 64;
/// Where the day's bytes are kept.
const BUDGET_NOTE: &str = "data-budget.txt";

impl Downloads {
    pub(super) fn new(store: Arc<WeightStore>) -> Self {
        let (reporter, reports) = mpsc::channel(MAX_REPORTS);
        Self {
            store,
            server: String::new(),
            running: FuturesUnordered::new(),
            handles: HashMap::new(),
            reporter,
            reports,
            has_told_budget: false,
        }
    }

    /// Bytes that came over the network since this was last asked.
    pub(super) fn take_fetched(&mut self) -> u64 {
        self.store.take_fetched_bytes()
    }

    /// Reads what an earlier node on this machine kept of the day's bytes, once.
    pub(super) fn read_budget(&mut self) {
        if std::mem::replace(&mut self.has_told_budget, true) {
            return;
        }
        let store = Arc::clone(&self.store);
        self.start(Wanted::Budget, async move {
            let line = store.note(BUDGET_NOTE).await.unwrap_or_default();
            Finished::Event(MachineEvent::KeptBudget { line })
        });
    }

    /// Keeps it.
    pub(super) fn keep_budget(&mut self, line: String) {
        let store = Arc::clone(&self.store);
        self.running.push(Box::pin(async move {
            store.keep_note(BUDGET_NOTE, &line).await;
            None
        }));
    }

    pub(super) fn store(&self) -> &Arc<WeightStore> {
        &self.store
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn set_server(&mut self, server: &str) {
        server.trim_end_matches('/').clone_into(&mut self.server);
    }

    /// Waits for a finished download or for progress. Cancel-safe.
    pub(super) async fn next(&mut self) -> Finished {
        loop {
            select_biased! {
                ended = self.running.select_next_some() => {
                    let Some((wanted, finished)) = ended else { continue };
                    self.handles.remove(&wanted);
                    return finished;
                }
                (role, bytes) = self.reports.select_next_some() => {
                    return Finished::Event(MachineEvent::Progress { role, bytes });
                }
            }
        }
    }

    /// Whether nothing is fetched; what is remembered is read, not fetched.
    #[cfg(all(test, not(target_arch = "wasm32")))]
    pub(super) fn is_idle(&self) -> bool {
        self.handles.keys().all(|wanted| *wanted == Wanted::Budget)
    }

    /// Stops fetching something, at once.
    pub(super) fn cancel(&mut self, wanted: Wanted) {
        if let Some(handle) = self.handles.remove(&wanted) {
            handle.abort();
        }
    }

    /// Stops fetching parts: there is no engine for them any more.
    pub(super) fn cancel_parts(&mut self) {
        self.handles.retain(|wanted, handle| {
            let is_part = matches!(wanted, Wanted::Part(..));
            if is_part {
                handle.abort();
            }
            !is_part
        });
        // Progress of what is no more.
        while self.reports.try_recv().is_ok() {}
    }

    pub(super) fn fetch_manifest(&mut self, model: ModelId) {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        self.start(Wanted::Manifest(model), async move {
            let fetched = store.fetch_verified(&server, &model.0, MAX_MANIFEST_BYTES as u64).await;
            let result = fetched
                .map_err(FetchFailure::from)
                .and_then(|bytes| Ok(Arc::new(Manifest::from_bytes(&bytes)?)));
            Finished::Event(MachineEvent::Manifest { model, result })
        });
    }

    pub(super) fn fetch_tokenizer(&mut self, model: ModelId, blob: BlobRef) {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        self.start(Wanted::Tokenizer(model), async move {
            let fetched = store.fetch(&server, &blob.hash.0, blob.size_bytes, |_| {}).await;
            let result = fetched
                .map_err(FetchFailure::from)
                .and_then(|bytes| Ok(Arc::new(Tokenizer::from_bytes(&bytes)?)));
            Finished::Event(MachineEvent::Tokenizer { model, result })
        });
    }

    pub(super) fn fetch_part(
        &mut self,
        model: ModelId,
        manifest: Arc<Manifest>,
        role: BlobRole,
        blob: BlobRef,
        may_download: bool,
    ) {
        let (store, server) = (Arc::clone(&self.store), self.server.clone());
        let mut reporter = self.reporter.clone();
        self.start(Wanted::Part(model, role), async move {
            if !may_download {
                let copy = store.copy(&blob.hash.0, blob.size_bytes).await;
                let withheld =
                    MachineEvent::Loaded { model, role, result: Err(LoadFailure::Withheld) };
                return match copy {
                    Some(bytes) => Finished::Part(Part { model, manifest, role, bytes }),
                    None => Finished::Event(withheld),
                };
            }
            let report = |bytes| {
                // See MAX_REPORTS.
                let _ = reporter.try_send((role, bytes));
            };
            match store.fetch(&server, &blob.hash.0, blob.size_bytes, report).await {
                Ok(bytes) => Finished::Part(Part { model, manifest, role, bytes }),
                Err(error) => {
                    Finished::Event(MachineEvent::Loaded { model, role, result: Err(error.into()) })
                }
            }
        });
    }

    fn start(&mut self, wanted: Wanted, download: impl Future<Output = Finished> + 'static) {
        if self.handles.contains_key(&wanted) {
            return;
        }
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(wanted, handle);
        let download = Abortable::new(download, registration);
        self.running.push(Box::pin(async move { Some((wanted, download.await.ok()?)) }));
    }
}

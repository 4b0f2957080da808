//! What is fetched beside the loop: manifests, tokenizers and parts, with the progress of each.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::select_biased;
use futures::stream::{FuturesUnordered, StreamExt as _};
use potluck_model::package::{BlobRef, BlobRole, MAX_MANIFEST_BYTES, Manifest};
use potluck_model::tokenizer::Tokenizer;
use potluck_net::weights::{FetchError, WeightStore};
use potluck_protocol::id::ModelId;

use crate::failure::FetchFailure;
use crate::node::MachineEvent;

/// All downloads under way.
pub(super) struct Downloads {
    store: Rc<WeightStore>,
    server: String,
    running: FuturesUnordered<Download>,
    reporter: mpsc::Sender<(BlobRole, u64)>,
    reports: mpsc::Receiver<(BlobRole, u64)>,
}

type Download = Pin<Box<dyn Future<Output = Finished>>>;

/// What came of a download.
pub(crate) enum Finished {
    /// Nothing is left to be done about it.
    Event(MachineEvent),
    /// Verified bytes for the engine.
    Part(Part),
}

/// A part of a model, on its way into the engine.
pub(crate) struct Part {
    pub(super) model: ModelId,
    pub(super) manifest: Arc<Manifest>,
    pub(super) role: BlobRole,
    pub(super) bytes: Vec<u8>,
}

/// Progress reports that wait for the loop. A report that finds no room is lost, and the next one
/// of the same part makes up for it.
const MAX_REPORTS: usize = 64;

impl Downloads {
    pub(super) fn new(store: WeightStore) -> Self {
        let (reporter, reports) = mpsc::channel(MAX_REPORTS);
        Self {
            store: Rc::new(store),
            server: String::new(),
            running: FuturesUnordered::new(),
            reporter,
            reports,
        }
    }

    pub(super) fn store(&self) -> &WeightStore {
        &self.store
    }

    pub(super) fn set_server(&mut self, server: &str) {
        server.trim_end_matches('/').clone_into(&mut self.server);
    }

    /// Waits for a finished download or for progress. Cancel-safe.
    pub(super) async fn next(&mut self) -> Finished {
        select_biased! {
            finished = self.running.select_next_some() => finished,
            (role, bytes) = self.reports.select_next_some() => {
                Finished::Event(MachineEvent::Progress { role, bytes })
            }
        }
    }

    /// Fetches a blob while everything else waits for it.
    pub(super) async fn fetch(&self, blob: &BlobRef) -> Result<Vec<u8>, FetchError> {
        self.store.fetch(&self.server, &blob.hash.0, blob.size_bytes, |_| {}).await
    }

    pub(super) fn fetch_manifest(&mut self, model: ModelId) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.running.push(Box::pin(async move {
            let fetched = store.fetch_verified(&server, &model.0, MAX_MANIFEST_BYTES as u64).await;
            let result = fetched
                .map_err(FetchFailure::from)
                .and_then(|bytes| Ok(Arc::new(Manifest::from_bytes(&bytes)?)));
            Finished::Event(MachineEvent::Manifest { model, result })
        }));
    }

    pub(super) fn fetch_tokenizer(&mut self, model: ModelId, blob: BlobRef) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        self.running.push(Box::pin(async move {
            let fetched = store.fetch(&server, &blob.hash.0, blob.size_bytes, |_| {}).await;
            let result = fetched
                .map_err(FetchFailure::from)
                .and_then(|bytes| Ok(Arc::new(Tokenizer::from_bytes(&bytes)?)));
            Finished::Event(MachineEvent::Tokenizer { model, result })
        }));
    }

    pub(super) fn fetch_part(
        &mut self,
        model: ModelId,
        manifest: Arc<Manifest>,
        role: BlobRole,
        blob: BlobRef,
    ) {
        let (store, server) = (Rc::clone(&self.store), self.server.clone());
        let mut reporter = self.reporter.clone();
        self.running.push(Box::pin(async move {
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
        }));
    }
}

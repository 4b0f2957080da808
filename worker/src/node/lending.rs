//! The node as a volunteer: what it computes with, what the server assigned, and the weights on
//! their way here.
//!
//! ```text
//! Idle -Lend-> Starting -EngineReady-> Waiting -Assign-> Fetching -all loaded-> Serving
//! ```
//! A new assignment changes what is loaded, not what runs: parts that a running session needs stay
//! until it ends.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use potluck_model::package::{BlobRef, BlobRole, Manifest};
use potluck_protocol::id::{LayerRange, ModelId};
use potluck_protocol::page::{BackendPreference, Lending, LendingPhase, Notice};
use potluck_protocol::server::{Capabilities, Report, ToServer};

use super::statistics::Statistics;
use super::{Action, EngineDescription, Node};

/// The volunteer.
#[derive(Debug, Default)]
pub(super) struct State {
    phase: LendingPhase,
    memory_bytes: u64,
    engine: Option<EngineDescription>,
    assignment: Option<Assignment>,
    /// Parts in the engine.
    loaded: BTreeSet<BlobRole>,
    /// The model the loaded parts are of.
    loaded_model: Option<ModelId>,
    /// Parts on their way, with the bytes so far.
    fetching: BTreeMap<BlobRole, u64>,
    retry_at: Option<Duration>,
    pub(super) statistics: Statistics,
    pub(super) credit_macs: u64,
    pub(super) receipts: u32,
    told: Option<(Lending, Duration)>,
    reported: Option<(Report, Duration)>,
}

#[derive(Debug)]
struct Assignment {
    model: ModelId,
    layers: LayerRange,
    /// What it consists of; empty until the manifest is here.
    parts: Vec<(BlobRole, BlobRef)>,
    holding: bool,
}

/// After a failed download. The store has already tried several times by then.
const FETCH_RETRY: Duration = Duration::from_secs(5);
/// The page is told at most this often; faster than people read, slower than tokens come.
const NOTICE_EVERY: Duration = Duration::from_millis(250);
/// The server is told at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);

impl State {
    /// The model and layers that are loaded and announced.
    pub(super) fn holding(&self) -> Option<(ModelId, LayerRange)> {
        self.assignment
            .as_ref()
            .filter(|assignment| assignment.holding)
            .map(|a| (a.model, a.layers))
    }

    /// True if every part for `layers` of `model` is in the engine.
    pub(super) fn can_serve(
        &self,
        model: ModelId,
        manifest: &Manifest,
        layers: LayerRange,
    ) -> bool {
        self.loaded_model == Some(model)
            && manifest
                .blobs_for(layers.indices())
                .iter()
                .all(|(role, _)| self.loaded.contains(role))
    }

    fn is_lending(&self) -> bool {
        self.phase != LendingPhase::Idle
    }
}

impl Node {
    pub(super) fn lend(&mut self, backend: BackendPreference, memory_bytes: u64) {
        if self.lending.is_lending() && !matches!(self.lending.phase, LendingPhase::Failed { .. }) {
            return;
        }
        self.lending = State { phase: LendingPhase::Starting, memory_bytes, ..State::default() };
        self.actions.push(Action::StartEngine { backend });
        self.tell_lending();
    }

    pub(super) fn engine_ready(&mut self, engine: EngineDescription) {
        if self.lending.phase != LendingPhase::Starting {
            return; // stopped meanwhile
        }
        self.lending.engine = Some(engine);
        self.lending.phase = LendingPhase::Waiting;
        self.register();
        self.tell_lending();
    }

    /// Everything goes on as it was; the person sees what computes now. The server keeps the old
    /// speed for its plans and hears of the new one from the steps.
    pub(super) fn engine_replaced(&mut self, engine: EngineDescription) {
        if self.lending.engine.is_some() {
            self.lending.engine = Some(engine);
            self.tell_lending();
        }
    }

    pub(super) fn engine_failed(&mut self, reason: String) {
        self.lending = State { phase: LendingPhase::Failed { reason }, ..State::default() };
        self.tell_lending();
    }

    /// Tells the server what this machine brings and, after a reconnection, what it still holds.
    pub(super) fn register(&mut self) {
        let Some(engine) = &self.lending.engine else { return };
        let capabilities = Capabilities {
            kind: self.kind,
            backend: engine.backend.clone(),
            memory_bytes: self.lending.memory_bytes,
            macs_per_ms: engine.macs_per_ms,
        };
        self.say_to_server(&ToServer::Register(capabilities));
        if let Some((model, layers)) = self.lending.holding() {
            self.say_to_server(&ToServer::LayersReady { model, layers });
        }
        self.lending.reported = None;
    }

    pub(super) fn stop_lending(&mut self, now: Duration) {
        if !self.lending.is_lending() {
            return;
        }
        self.end_all_serving("the volunteer stopped lending", now);
        self.say_to_server(&ToServer::Deregister);
        self.actions.push(Action::StopEngine);
        self.lending = State::default();
        self.tell_lending();
    }

    pub(super) fn assigned(&mut self, model: ModelId, layers: Option<LayerRange>, now: Duration) {
        if self.lending.engine.is_none() {
            return;
        }
        self.lending.retry_at = None;
        let Some(layers) = layers else {
            self.lending.assignment = None;
            self.lending.phase = LendingPhase::Waiting;
            self.unload_unused();
            self.tell_lending();
            return;
        };
        if self
            .lending
            .assignment
            .as_ref()
            .is_some_and(|held| held.model == model && held.layers == layers)
        {
            self.continue_fetching(now);
            return;
        }
        self.lending.assignment =
            Some(Assignment { model, layers, parts: Vec::new(), holding: false });
        self.lending.phase = LendingPhase::Fetching;
        self.continue_fetching(now);
    }

    pub(super) fn lending_manifest(
        &mut self,
        model: ModelId,
        failure: Option<&str>,
        now: Duration,
    ) {
        if self.lending.assignment.as_ref().is_none_or(|assignment| assignment.model != model) {
            return;
        }
        match failure {
            None => self.continue_fetching(now),
            Some(reason) => self.fetch_failed(reason, now),
        }
    }

    /// Takes the assignment one step further: manifest, then every missing part, then word to the
    /// server.
    fn continue_fetching(&mut self, now: Duration) {
        let Some(assignment) = &mut self.lending.assignment else { return };
        let model = assignment.model;
        let Some(manifest) = self.manifests.get(&model) else {
            self.actions.push(Action::FetchManifest { model });
            return;
        };
        if assignment.layers.end > manifest.config.layers {
            let reason = format!(
                "the server assigned {}, but the model has {}",
                assignment.layers, manifest.config.layers
            );
            self.fetch_failed(&reason, now);
            return;
        }
        if assignment.parts.is_empty() {
            assignment.parts = manifest.blobs_for(assignment.layers.indices());
        }
        if self.lending.loaded_model != Some(model) {
            // Another model: the engine holds one at a time, and set_model drops what it held.
            self.lending.loaded.clear();
            self.lending.fetching.clear();
            self.lending.loaded_model = Some(model);
        }
        let missing: Vec<(BlobRole, BlobRef)> = assignment
            .parts
            .iter()
            .filter(|(role, _)| !self.lending.loaded.contains(role))
            .copied()
            .collect();
        if missing.is_empty() {
            if !assignment.holding {
                assignment.holding = true;
                self.lending.phase = LendingPhase::Serving;
                let layers = assignment.layers;
                self.say_to_server(&ToServer::LayersReady { model, layers });
                self.unload_unused();
            }
        } else {
            self.lending.phase = LendingPhase::Fetching;
            let manifest = Arc::clone(manifest);
            for (role, blob) in missing {
                if let Entry::Vacant(entry) = self.lending.fetching.entry(role) {
                    entry.insert(0);
                    self.actions.push(Action::FetchBlob {
                        model,
                        manifest: Arc::clone(&manifest),
                        role,
                        blob,
                    });
                }
            }
        }
        self.tell_lending();
    }

    pub(super) fn blob_progress(&mut self, role: BlobRole, bytes: u64, now: Duration) {
        if let Some(so_far) = self.lending.fetching.get_mut(&role) {
            *so_far = bytes;
            self.tell_lending_soon(now);
        }
    }

    pub(super) fn blob_loaded(
        &mut self,
        model: ModelId,
        role: BlobRole,
        result: Result<(), String>,
        now: Duration,
    ) {
        if self.lending.loaded_model != Some(model) {
            return;
        }
        self.lending.fetching.remove(&role);
        match result {
            Ok(()) => {
                self.lending.loaded.insert(role);
                self.continue_fetching(now);
            }
            Err(reason) => self.fetch_failed(&reason, now),
        }
    }

    fn fetch_failed(&mut self, reason: &str, now: Duration) {
        let seconds = FETCH_RETRY.as_secs();
        let reason = format!(
            "could not get the weights: {reason}; nothing is lost, trying again in {seconds} s"
        );
        self.lending.phase = LendingPhase::Failed { reason };
        self.lending.retry_at = Some(now + FETCH_RETRY);
        self.tell_lending();
    }

    /// Takes out of the engine what neither the assignment nor a running session needs.
    pub(super) fn unload_unused(&mut self) {
        let wanted = self.lending.assignment.as_ref().map(|assignment| assignment.layers);
        let manifest = self.lending.loaded_model.and_then(|model| self.manifests.get(&model));
        let Some(manifest) = manifest else { return };
        let mut needed: BTreeSet<BlobRole> = BTreeSet::new();
        for layers in self.serving.ranges().chain(wanted) {
            needed.extend(manifest.blobs_for(layers.indices()).into_iter().map(|(role, _)| role));
        }
        let unused: Vec<BlobRole> = self.lending.loaded.difference(&needed).copied().collect();
        for role in unused {
            if role != BlobRole::Tables {
                self.lending.loaded.remove(&role);
                self.actions.push(Action::Unload { role });
            }
        }
    }

    pub(super) fn lending_tick(&mut self, now: Duration) {
        if self.lending.retry_at.is_some_and(|at| now >= at) {
            self.lending.retry_at = None;
            self.continue_fetching(now);
        }
        if self.lending.engine.is_some() {
            if self.lending.reported.is_none_or(|(_, at)| now >= at + REPORT_EVERY) {
                self.report(now);
            }
            self.tell_lending_soon(now);
        }
    }

    /// Tells the server the counters, if they changed. Also at the end of a session, so that who
    /// asked can read them at once.
    pub(super) fn report(&mut self, now: Duration) {
        let report = Report {
            tokens: self.lending.statistics.rows,
            us_per_token_p50: self.lending.statistics.us_per_token_p50(),
        };
        let changed = self.lending.reported.is_none_or(|(last, _)| last != report);
        if changed && self.link.is_open() && self.lending.engine.is_some() {
            self.say_to_server(&ToServer::Report(report));
            self.lending.reported = Some((report, now));
        }
    }

    /// Tells the person, if something changed and the last time is long enough ago.
    pub(super) fn tell_lending_soon(&mut self, now: Duration) {
        if self.lending.told.as_ref().is_some_and(|(_, at)| now < *at + NOTICE_EVERY) {
            return;
        }
        let view = self.lending_view(now);
        if self.lending.told.as_ref().is_none_or(|(told, _)| *told != view) {
            self.lending.told = Some((view.clone(), now));
            self.notice(Notice::Lending(view));
        }
    }

    /// Tells the person at once: for changes of phase.
    fn tell_lending(&mut self) {
        let now = self.lending.told.as_ref().map_or(Duration::ZERO, |(_, at)| *at);
        let view = self.lending_view(now);
        self.lending.told = Some((view.clone(), now));
        self.notice(Notice::Lending(view));
    }

    fn lending_view(&mut self, now: Duration) -> Lending {
        let rate = self.lending.statistics.milli_rows_per_second(now);
        let state = &self.lending;
        let assignment = state.assignment.as_ref();
        let manifest = assignment.and_then(|assignment| self.manifests.get(&assignment.model));
        let parts = assignment.map_or(&[][..], |assignment| &assignment.parts);
        let loaded_bytes = parts
            .iter()
            .map(|(role, blob)| match state.fetching.get(role) {
                Some(bytes) => *bytes,
                None if state.loaded.contains(role) => blob.size_bytes,
                None => 0,
            })
            .sum();
        Lending {
            phase: state.phase.clone(),
            backend: state
                .engine
                .as_ref()
                .map_or_else(String::new, |engine| engine.backend.clone()),
            adapter: state
                .engine
                .as_ref()
                .map_or_else(String::new, |engine| engine.adapter.clone()),
            note: state.engine.as_ref().and_then(|engine| engine.note.clone()),
            model: manifest.map(|manifest| manifest.name.clone()),
            layers: assignment.map(|assignment| assignment.layers),
            model_layers: manifest.map_or(0, |manifest| manifest.config.layers),
            loaded_bytes,
            total_bytes: parts.iter().map(|(_, blob)| blob.size_bytes).sum(),
            tokens: state.statistics.rows,
            milli_tokens_per_second: rate,
            us_per_token_p50: state.statistics.us_per_token_p50(),
            credit_macs: state.credit_macs,
            receipts: state.receipts,
            sessions: self.serving.count(),
        }
    }
}

//! From an assignment to layers that are ready: manifest, then every missing part.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use potluck_model::package::{BlobRef, BlobRole};
use potluck_protocol::id::{LayerRange, ModelId};
use potluck_protocol::lease::SignedLease;
use potluck_protocol::page::LendingPhase;
use potluck_protocol::server::ToServer;

use super::Volunteer;
use crate::failure::LoadFailure;
use crate::node::Action;
use crate::node::context::{Context, Library};
use crate::node::outbox::Event;

/// What the server wants this node to hold.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) model: ModelId,
    pub(super) layers: LayerRange,
    /// The server's word for it, to be shown to it after it was restarted.
    pub(super) lease: SignedLease,
    /// What it consists of; empty until the manifest is here.
    pub(super) blobs: Vec<(BlobRole, BlobRef)>,
    /// All of it is loaded, and the server knows.
    is_ready: bool,
}

/// Parts in the engine, and on their way there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The model they are of.
    pub(super) model: Option<ModelId>,
    pub(super) loaded: BTreeSet<BlobRole>,
    /// With the bytes so far.
    pub(super) fetching: BTreeMap<BlobRole, u64>,
}

/// When a failed download is tried again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    pub(super) at: Option<Duration>,
    /// Failures since the last part that came.
    failures: u32,
}

/// The wait after a failed download. The store has already tried several times by then.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest wait, to which it doubles: a server without its weights is soon put right, and a
/// question for them costs it little.
const LAST_RETRY: Duration = Duration::from_secs(60);

impl Retry {
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.at.is_some_and(|at| now >= at)
    }

    /// How long to wait after one more failure. What fails together waits together.
    fn after_failure(&mut self, now: Duration) -> Duration {
        if let Some(at) = self.at.filter(|at| *at > now) {
            return at - now;
        }
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(10)).min(LAST_RETRY);
        self.failures += 1;
        self.at = Some(now + wait);
        wait
    }
}

impl Volunteer {
    /// The model and layers that are loaded and announced.
    pub(super) fn ready_layers(&self) -> Option<(ModelId, LayerRange)> {
        let assignment = self.assignment.as_ref().filter(|assignment| assignment.is_ready)?;
        Some((assignment.model, assignment.layers))
    }

    /// True if every part for `layers` of `model` is in the engine.
    pub(in crate::node) fn has_layers(
        &self,
        model: ModelId,
        layers: LayerRange,
        library: &Library,
    ) -> bool {
        let Some(manifest) = library.manifests.get(&model) else { return false };
        let blobs = manifest.blobs_for(layers.indices());
        self.parts.model == Some(model)
            && blobs.iter().all(|(role, _)| self.parts.loaded.contains(role))
    }

    /// The server assigned layers, or none. A lease of another model, or for another node, is
    /// nobody's word for anything here.
    pub(in crate::node) fn handle_assign(
        &mut self,
        model: ModelId,
        lease: Option<SignedLease>,
        context: &mut Context,
    ) {
        let is_own =
            |signed: &SignedLease| signed.lease.node == context.me && signed.lease.model == model;
        if self.engine.is_none() || !lease.as_ref().is_none_or(is_own) {
            return;
        }
        let Some(lease) = lease else {
            self.assignment = None;
            self.retry = Retry::default();
            self.phase = LendingPhase::Waiting;
            self.cancel_unassigned(context);
            context.outbox.raise(Event::AssignmentChanged);
            self.notices.ask_now();
            return;
        };
        let layers = lease.lease.layers;
        match &mut self.assignment {
            Some(held) if held.model == model && held.layers == layers => {
                held.lease = lease;
                // The server asks by this whether the layers are still here.
                if let Some((model, layers)) = self.ready_layers() {
                    context.send_server(&ToServer::LayersReady { model, layers });
                }
            }
            _ => {
                let blobs = Vec::new();
                self.assignment = Some(Assignment { model, layers, lease, blobs, is_ready: false });
                self.retry = Retry::default();
                self.phase = LendingPhase::Fetching;
            }
        }
        self.continue_fetching(context);
    }

    /// A manifest came, or could not be had.
    pub(in crate::node) fn handle_manifest(
        &mut self,
        model: ModelId,
        failure: Option<&str>,
        context: &mut Context,
    ) {
        if self.assignment.as_ref().is_none_or(|assignment| assignment.model != model) {
            return;
        }
        match failure {
            None => {
                self.retry = Retry::default();
                self.continue_fetching(context);
            }
            Some(reason) => self.handle_failure(reason, context),
        }
    }

    /// Takes the assignment one step further: manifest, then every missing part, then the server
    /// learns that the layers are ready. After a failure nothing more is asked for until the wait is
    /// over.
    pub(super) fn continue_fetching(&mut self, context: &mut Context) {
        if self.rests.is_some() {
            return;
        }
        let is_waiting = self.retry.at.is_some();
        let limit = self.pauses.as_ref().map_or(0, |pauses| pauses.limits().data_bytes_a_day);
        let Some(assignment) = &mut self.assignment else { return };
        let (model, layers) = (assignment.model, assignment.layers);
        if let Err(fault) = context.may_compute(model) {
            let reason = format!("the server assigned {layers} of a model, but {fault}");
            context.outbox.raise(Event::CannotLend { reason });
            return;
        }
        let Some(manifest) = context.library.manifests.get(&model).map(Arc::clone) else {
            if !is_waiting {
                self.phase = LendingPhase::Fetching;
                context.outbox.act(Action::FetchManifest { model });
                self.cancel_unassigned(context);
                self.notices.ask_now();
            }
            return;
        };
        if layers.end > manifest.config.layers {
            let has = manifest.config.layers;
            let reason = format!("the server assigned {layers}, but the model has {has}");
            return self.handle_failure(&reason, context);
        }
        if assignment.blobs.is_empty() {
            let blobs = manifest.blobs_for(layers.indices());
            let needed: u64 = blobs.iter().map(|(_, blob)| blob.size_bytes).sum();
            let granted = context.grant.as_ref().map_or(0, |it| it.grant.limits.memory_bytes);
            if needed > granted {
                let reason = format!(
                    "the server assigned {layers}, which take {needed} bytes; {granted} were lent"
                );
                context.outbox.raise(Event::CannotLend { reason });
                return;
            }
            assignment.blobs = blobs;
        }
        self.cancel_unassigned(context);
        let Some(assignment) = &mut self.assignment else { return };
        if self.parts.model != Some(model) {
            // The engine holds one model at a time: the other's parts go with its tables.
            self.parts = Parts { model: Some(model), ..Parts::default() };
        }
        let mut is_complete = true;
        for (role, blob) in &assignment.blobs {
            if self.parts.loaded.contains(role) {
                continue;
            }
            is_complete = false;
            if is_waiting {
                continue;
            }
            if let Entry::Vacant(entry) = self.parts.fetching.entry(*role) {
                entry.insert(0);
                let manifest = Arc::clone(&manifest);
                let (role, blob) = (*role, *blob);
                let now_s = context.calendar_s;
                let may_download = self.budget.allow(role, blob.size_bytes, limit, now_s);
                let fetch = Action::FetchBlob { model, manifest, role, blob, may_download };
                context.outbox.act(fetch);
            }
        }
        if !is_complete {
            if !is_waiting {
                self.phase = LendingPhase::Fetching;
            }
        } else if !assignment.is_ready {
            assignment.is_ready = true;
            self.retry = Retry::default();
            self.phase = LendingPhase::Serving;
            context.send_server(&ToServer::LayersReady { model, layers });
            context.outbox.raise(Event::AssignmentChanged);
        }
        self.notices.ask_now();
    }

    /// Bytes of a part arrived.
    pub(in crate::node) fn handle_progress(&mut self, role: BlobRole, bytes: u64) {
        if let Some(so_far) = self.parts.fetching.get_mut(&role) {
            *so_far = bytes;
            self.notices.ask_soon();
        }
    }

    /// A part is in the engine, or could not be had.
    pub(in crate::node) fn handle_loaded(
        &mut self,
        model: ModelId,
        role: BlobRole,
        result: Result<(), LoadFailure>,
        context: &mut Context,
    ) {
        if self.parts.model != Some(model) {
            return;
        }
        let was_wanted = self.parts.fetching.remove(&role).is_some();
        self.budget.settle(role);
        match result {
            Ok(()) => {
                self.parts.loaded.insert(role);
                self.retry.failures = 0;
                self.continue_fetching(context);
                if !was_wanted {
                    context.outbox.raise(Event::AssignmentChanged); // it may have to go again
                }
            }
            Err(_) if !was_wanted => {}
            Err(LoadFailure::Withheld) => {
                let blobs = self.assignment.iter().flat_map(|assignment| &assignment.blobs);
                let size = blobs.filter(|(of, _)| *of == role).map(|(_, blob)| blob.size_bytes);
                self.withheld_bytes = size.chain(self.withheld_bytes).min();
            }
            Err(failure) if failure.is_final() => {
                let reason = format!("this machine cannot hold its part of the model: {failure}");
                context.outbox.raise(Event::CannotLend { reason });
            }
            Err(failure) => self.handle_failure(&failure.to_string(), context),
        }
    }

    /// Lending goes on: what failed is tried again after a wait.
    fn handle_failure(&mut self, reason: &str, context: &mut Context) {
        let wait = self.retry.after_failure(context.now);
        let reason = format!("could not get the weights: {reason}");
        let retry_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.phase = LendingPhase::Retrying { reason, retry_ms };
        self.notices.ask_now();
    }

    /// Stops fetching what the assignment does not want any more: the person sees what it does.
    fn cancel_unassigned(&mut self, context: &mut Context) {
        let Some(model) = self.parts.model else { return };
        let assignment = self.assignment.as_ref().filter(|assignment| assignment.model == model);
        let is_wanted = |role: &BlobRole| {
            assignment.is_some_and(|wanted| wanted.blobs.iter().any(|(of, _)| of == role))
        };
        let budget = &mut self.budget;
        self.parts.fetching.retain(|role, _| {
            let stays = is_wanted(role);
            if !stays {
                budget.settle(*role);
                context.outbox.act(Action::CancelBlob { model, role: *role });
            }
            stays
        });
    }

    /// Drops from the engine what neither the assignment nor a session over `in_use` needs.
    pub(in crate::node) fn unload_unused(
        &mut self,
        in_use: impl Iterator<Item = LayerRange>,
        context: &mut Context,
    ) {
        let Context { library, outbox, .. } = context;
        let Some(manifest) = self.parts.model.and_then(|model| library.manifests.get(&model))
        else {
            return;
        };
        let assigned = self.assignment.as_ref().map(|assignment| assignment.layers);
        // Everything needs the tables.
        let mut needed = BTreeSet::from([BlobRole::Tables]);
        for layers in in_use.chain(assigned) {
            needed.extend(manifest.blobs_for(layers.indices()).into_iter().map(|(role, _)| role));
        }
        let (kept, unused): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.parts.loaded).into_iter().partition(|r| needed.contains(r));
        self.parts.loaded = kept;
        for role in unused {
            outbox.act(Action::Unload { role });
        }
    }
}

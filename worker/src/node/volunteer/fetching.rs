//! From an assignment to layers that are ready: manifest, then every missing part.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use potluck_model::package::{BlobRef, BlobRole};
use potluck_protocol::id::{LayerRange, ModelId};
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
    /// What it consists of; empty until the manifest is here.
    pub(super) blobs: Vec<(BlobRole, BlobRef)>,
    /// All of it is loaded, and the server knows.
    is_ready: bool,
}

/// Parts in the engine, and on their way there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The model they are of.
    model: Option<ModelId>,
    pub(super) loaded: BTreeSet<BlobRole>,
    /// With the bytes so far.
    pub(super) fetching: BTreeMap<BlobRole, u64>,
}

/// The wait after a failed download. The store has already tried several times by then.
const FETCH_RETRY: Duration = Duration::from_secs(5);

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

    /// The server assigned layers, or none.
    pub(in crate::node) fn handle_assign(
        &mut self,
        model: ModelId,
        layers: Option<LayerRange>,
        context: &mut Context,
    ) {
        if self.engine.is_none() {
            return;
        }
        self.retry_at = None;
        let Some(layers) = layers else {
            self.assignment = None;
            self.phase = LendingPhase::Waiting;
            context.outbox.raise(Event::AssignmentChanged);
            self.notices.ask_now();
            return;
        };
        let same = |held: &Assignment| held.model == model && held.layers == layers;
        if !self.assignment.as_ref().is_some_and(same) {
            let blobs = Vec::new();
            self.assignment = Some(Assignment { model, layers, blobs, is_ready: false });
            self.phase = LendingPhase::Fetching;
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
            None => self.continue_fetching(context),
            Some(reason) => self.handle_failure(reason, context),
        }
    }

    /// Takes the assignment one step further: manifest, then every missing part, then the server
    /// learns that the layers are ready.
    pub(super) fn continue_fetching(&mut self, context: &mut Context) {
        let Some(assignment) = &mut self.assignment else { return };
        let (model, layers) = (assignment.model, assignment.layers);
        let Some(manifest) = context.library.manifests.get(&model).map(Arc::clone) else {
            context.outbox.act(Action::FetchManifest { model });
            return;
        };
        if layers.end > manifest.config.layers {
            let has = manifest.config.layers;
            let reason = format!("the server assigned {layers}, but the model has {has}");
            return self.handle_failure(&reason, context);
        }
        if assignment.blobs.is_empty() {
            assignment.blobs = manifest.blobs_for(layers.indices());
        }
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
            if let Entry::Vacant(entry) = self.parts.fetching.entry(*role) {
                entry.insert(0);
                let manifest = Arc::clone(&manifest);
                let (role, blob) = (*role, *blob);
                context.outbox.act(Action::FetchBlob { model, manifest, role, blob });
            }
        }
        if !is_complete {
            self.phase = LendingPhase::Fetching;
        } else if !assignment.is_ready {
            assignment.is_ready = true;
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
        self.parts.fetching.remove(&role);
        match result {
            Ok(()) => {
                self.parts.loaded.insert(role);
                self.continue_fetching(context);
            }
            Err(failure) => self.handle_failure(&failure.to_string(), context),
        }
    }

    fn handle_failure(&mut self, reason: &str, context: &mut Context) {
        let seconds = FETCH_RETRY.as_secs();
        let reason = format!(
            "could not get the weights: {reason}; nothing is lost, trying again in {seconds} s"
        );
        self.phase = LendingPhase::Failed { reason };
        self.retry_at = Some(context.now + FETCH_RETRY);
        self.notices.ask_now();
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

//! The engine for a node's own questions: another one than the volunteer's, with its own parts, so
//! that lending and asking start, stop and pause without each other.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_model::package::BlobRole;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;

use super::parts::Parts;
use crate::node::context::Context;
use crate::node::{Action, StepRequest};

/// What computes for this node's own questions.
#[derive(Debug, Default)]
pub(in crate::node::requester) struct OwnEngine {
    state: State,
    /// The model that its parts are of.
    model: Option<ModelId>,
    loaded: BTreeSet<BlobRole>,
    fetching: BTreeSet<BlobRole>,
    /// How many of its sessions were named.
    names: u64,
    /// Since when no question needs it.
    idle_since: Option<Duration>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    Starting,
    Ready,
}

/// How long an engine that nobody needs is kept: the next question is likely within it, and starting
/// one and reading a gigabyte of weights takes seconds.
const KEEP: Duration = Duration::from_secs(60);

impl OwnEngine {
    /// True while it computes, or may at once.
    pub(super) fn is_on(&self) -> bool {
        self.state != State::Off
    }

    pub(super) fn handle_ready(&mut self) {
        if self.state == State::Starting {
            self.state = State::Ready;
        }
    }

    pub(super) fn handle_failed(&mut self) {
        let names = self.names;
        *self = Self { names, ..Self::default() };
    }

    /// A part is in it, or could not be had; false if nobody waits for it.
    pub(super) fn handle_loaded(
        &mut self,
        model: ModelId,
        role: BlobRole,
        is_loaded: bool,
    ) -> bool {
        let was_wanted = self.model == Some(model) && self.fetching.remove(&role);
        if was_wanted && is_loaded {
            self.loaded.insert(role);
        }
        was_wanted
    }

    /// Bytes of these parts that are in it.
    pub(super) fn loaded_bytes(&self, model: ModelId, parts: &Parts) -> u64 {
        let has = |role: &BlobRole| self.model == Some(model) && self.loaded.contains(role);
        parts.blobs.iter().filter(|(role, _)| has(role)).map(|(_, blob)| blob.size_bytes).sum()
    }

    /// Starts it, and gets what it misses of `parts`; true if it has everything.
    pub(super) fn prepare(
        &mut self,
        model: ModelId,
        parts: &Parts,
        backend: BackendPreference,
        context: &mut Context,
    ) -> bool {
        self.idle_since = None;
        if self.state == State::Off {
            self.state = State::Starting;
            act(Action::StartEngine { backend }, context);
        }
        if self.state != State::Ready {
            return false;
        }
        let Some(manifest) = context.library.manifests.get(&model).cloned() else { return false };
        if self.model != Some(model) {
            // The engine holds one model at a time: the other's parts go with its tables.
            (self.model, self.loaded) = (Some(model), BTreeSet::new());
        }
        let mut is_complete = true;
        for (role, blob) in &parts.blobs {
            if self.loaded.contains(role) {
                continue;
            }
            is_complete = false;
            if self.fetching.insert(*role) {
                let (manifest, role, blob) = (manifest.clone(), *role, *blob);
                let may_download = true;
                act(Action::FetchBlob { model, manifest, role, blob, may_download }, context);
            }
        }
        is_complete
    }

    /// Opens a session over these layers, all of which it has.
    pub(super) fn open(&mut self, layers: LayerRange, context: &mut Context) -> SessionId {
        let session = self.name();
        act(Action::OpenSession { session, layers, continues: None }, context);
        session
    }

    /// A name for a session: of this engine alone, where those that the server gives never come.
    pub(super) fn name(&mut self) -> SessionId {
        self.names += 1;
        SessionId(u128::from(self.names).to_le_bytes())
    }

    pub(super) fn close(session: SessionId, context: &mut Context) {
        act(Action::CloseSession { session }, context);
    }

    pub(super) fn compute(step: StepRequest, context: &mut Context) {
        act(Action::Compute(step), context);
    }

    /// Keeps what some question needs, and stops fetching and holding the rest. `needed`: `None` if
    /// there is no question for it.
    pub(super) fn tidy(&mut self, needed: Option<&BTreeSet<BlobRole>>, context: &mut Context) {
        let Some(needed) = needed else {
            let is_unfinished = self.state == State::Starting || !self.fetching.is_empty();
            let since = *self.idle_since.get_or_insert(context.now);
            if self.is_on() && (is_unfinished || context.now >= since + KEEP) {
                act(Action::StopEngine, context);
                self.handle_failed();
            }
            return;
        };
        let Some(model) = self.model else { return };
        let unwanted: Vec<BlobRole> = self.fetching.difference(needed).copied().collect();
        for role in unwanted {
            self.fetching.remove(&role);
            act(Action::CancelBlob { model, role }, context);
        }
        let unused: Vec<BlobRole> = self.loaded.difference(needed).copied().collect();
        for role in unused {
            self.loaded.remove(&role);
            act(Action::Unload { role }, context);
        }
    }
}

fn act(action: Action, context: &mut Context) {
    context.outbox.act(Action::Own(Box::new(action)));
}

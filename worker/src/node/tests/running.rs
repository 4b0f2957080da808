//! What goes on at a node's volunteer, by everything that the node has wanted done, and what the
//! person is shown of it.

use std::collections::BTreeSet;

use potluck_model::package::BlobRole;
use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::id::{ModelId, SessionId};
use potluck_protocol::page::{LendingPhase, Notice};
use potluck_protocol::server::ToServer;

use crate::node::{Action, Input, MachineEvent};

/// What is left of it. Equal to the default where nothing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    engine: bool,
    manifests: BTreeSet<ModelId>,
    parts: BTreeSet<BlobRole>,
    sessions: BTreeSet<SessionId>,
    steps: usize,
    registered: bool,
}

impl Running {
    /// Anything that only a volunteer's machine does; a manifest may be a question's.
    pub(super) fn is_lending(&self) -> bool {
        let Self { engine, manifests: _, parts, sessions, steps, registered } = self;
        *engine || *registered || *steps > 0 || !parts.is_empty() || !sessions.is_empty()
    }

    /// Whether anything is computed or fetched for others, or may be at once.
    pub(super) fn is_working(&self) -> bool {
        let Self { engine: _, manifests, parts, sessions, steps, registered: _ } = self;
        *steps > 0 || !manifests.is_empty() || !parts.is_empty() || !sessions.is_empty()
    }

    pub(super) fn has_engine(&self) -> bool {
        self.engine
    }

    /// A download is over, or a step.
    pub(super) fn finish(&mut self, input: &Input) {
        match input {
            Input::Machine(MachineEvent::Manifest { model, .. }) => {
                self.manifests.remove(model);
            }
            Input::Machine(MachineEvent::Loaded { role, .. }) => {
                self.parts.remove(role);
            }
            Input::Machine(MachineEvent::Computed(_)) => {
                self.steps = self.steps.saturating_sub(1);
            }
            // The server knows no connection any more, and so no volunteer.
            Input::Transport(net::Event::ServerClosed { .. }) => self.registered = false,
            _ => {}
        }
    }

    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::StartEngine { .. } => self.engine = true,
            Action::StopEngine => {
                let (manifests, registered) =
                    (std::mem::take(&mut self.manifests), self.registered);
                *self = Self { manifests, registered, ..Self::default() };
            }
            Action::FetchManifest { model } => _ = self.manifests.insert(*model),
            Action::CancelManifest { model } => _ = self.manifests.remove(model),
            Action::FetchBlob { role, .. } => _ = self.parts.insert(*role),
            Action::CancelBlob { role, .. } => _ = self.parts.remove(role),
            Action::OpenSession { session, .. } => _ = self.sessions.insert(*session),
            Action::KeepSession { session } => _ = self.sessions.remove(session),
            Action::CloseSession { session } => {
                // What waited of it is not computed; the tests have one session at a time.
                self.sessions.remove(session);
                self.steps = 0;
            }
            Action::Compute(_) => self.steps += 1,
            Action::Transport(net::Command::CloseServer) => self.registered = false,
            Action::Transport(net::Command::SendServer { message }) => {
                match codec::decode_to_server(message).unwrap() {
                    ToServer::Register { .. } => self.registered = true,
                    ToServer::Deregister => self.registered = false,
                    _ => {}
                }
            }
            Action::Transport(_)
            | Action::Notice(_)
            | Action::KeepBudget { .. }
            | Action::SetShare { .. }
            | Action::FetchTokenizer { .. }
            | Action::Own(_)
            | Action::Unload { .. } => {}
        }
    }
}

/// Whether the person is shown a machine that is lent, and can take it back.
pub(super) fn is_shown_as_lent(phase: &LendingPhase) -> bool {
    match phase {
        LendingPhase::Idle | LendingPhase::Failed { .. } => false,
        LendingPhase::Starting
        | LendingPhase::Waiting
        | LendingPhase::Fetching
        | LendingPhase::Serving
        | LendingPhase::Retrying { .. }
        | LendingPhase::Paused { .. } => true,
    }
}

/// The phase that an action shows, if it does.
pub(super) fn shown(action: &Action) -> Option<LendingPhase> {
    match action {
        Action::Notice(Notice::Lending(lending)) => Some(lending.phase.clone()),
        _ => None,
    }
}

//! Which node holds which layers, and which way an answer goes: a state machine without I/O, clock
//! or randomness of its own.
//!
//! | file | what |
//! |---|---|
//! | here | events in, actions out: `handle(event, now) -> Vec<Action>` |
//! | `nodes` | who is connected, and what a registered node is assigned and has ready |
//! | `planning` | assigns layers to nodes, by `placement` |
//! | `placement` | contiguous ranges by speed, within memory |
//! | `requests` | requests that wait for a route, and their bounds |
//! | `routing` | a chain of stages over the layers that are ready |
//! | `sessions` | routes in use |
//! | `quarantine` | nodes that sessions failed at lately |
//! | `view` | the swarm as others see it |
//!
//! A node's *assignment* is what it should hold; what it has *ready* is what it says is loaded, cut
//! to what it was assigned last, so that no route counts on layers that are about to go.
//!
//! The scheduler never sees a prompt or a token, keeps nothing over a restart (the `store` does),
//! and serves one model: the first.

mod nodes;
mod placement;
mod planning;
mod quarantine;
mod requests;
mod routing;
mod sessions;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{LayerRange, ModelId, NodeId, SessionId};
use potluck_protocol::server::{FromServer, Session, ToServer};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::authority::Authority;
use crate::models::{ModelInfo, Models};
use nodes::NodeState;
use quarantine::Quarantine;
use requests::Requests;
use sessions::Sessions;

pub use view::{NodeView, SwarmView};

/// One thing that happened to a node's connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// The node proved its key.
    Joined,
    /// The node's connection is gone.
    Left,
    /// The node sent a message. Those of the handshake, signals and receipts are the connection's
    /// own affair and change nothing here.
    Received(ToServer),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the session before anything that follows is sent.
    Open(Session),
    /// Send a node a message.
    Send(NodeId, FromServer),
}

/// Why an event was refused; the node's connection is closed with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The node says that it has layers of a model that this server does not have.
    #[error("this server has no such model")]
    UnknownModel,
    /// The node says that it has layers that the model does not have.
    #[error("the model has no {0}")]
    NoSuchLayers(LayerRange),
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    models: Arc<Models>,
    authority: Arc<Authority>,
    plan_delay: Duration,
    random: ChaCha20Rng,
    /// How many registrations there were, from which each takes its place in their order.
    registrations: u64,
    nodes: BTreeMap<NodeId, NodeState>,
    requests: Requests,
    sessions: Sessions,
    quarantine: Quarantine,
    plan_at: Option<Duration>,
}

impl Scheduler {
    /// A scheduler of `models` that signs as `authority` and plans anew `plan_delay` after a volunteer
    /// came or went; `seed` must be random, as session ids come from it.
    #[must_use]
    pub fn new(
        models: Arc<Models>,
        authority: Arc<Authority>,
        plan_delay: Duration,
        seed: [u8; 32],
    ) -> Self {
        Self {
            models,
            authority,
            plan_delay,
            random: ChaCha20Rng::from_seed(seed),
            registrations: 0,
            nodes: BTreeMap::new(),
            requests: Requests::default(),
            sessions: Sessions::default(),
            quarantine: Quarantine::default(),
            plan_at: None,
        }
    }

    /// Handles what `node` sent or did at `now`, counted from any moment that stays the same.
    ///
    /// # Errors
    /// If the node claims something that cannot be; nothing has changed then.
    pub fn handle(
        &mut self,
        node: NodeId,
        event: Event,
        now: Duration,
    ) -> Result<Vec<Action>, Fault> {
        let mut actions = Vec::new();
        match event {
            Event::Joined => {
                self.nodes.insert(node, NodeState::new(now, &mut self.random));
            }
            Event::Left => self.leave(node, now, &mut actions),
            Event::Received(message) => self.receive(node, message, now, &mut actions)?,
        }
        Ok(actions)
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.plan_at.is_some_and(|at| now >= at) {
            self.plan_at = None;
            self.plan(now, &mut actions);
            self.route_waiting(now, &mut actions);
        }
        actions
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        self.plan_at
    }

    /// True if the two are in one session, or were in one that ended lately, and so may signal each
    /// other.
    #[must_use]
    pub fn share_session(&self, a: NodeId, b: NodeId, now: Duration) -> bool {
        self.sessions.share(a, b, now)
    }

    fn receive(
        &mut self,
        node: NodeId,
        message: ToServer,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        match message {
            ToServer::Register { capabilities, lease: _ } => {
                self.register(node, capabilities, now);
            }
            ToServer::Deregister => self.deregister(node, "stopped lending", now, actions),
            ToServer::LayersReady { model, layers } => {
                self.layers_ready(node, model, layers, now, actions)?;
            }
            ToServer::Ask { request, model, exclude } => {
                self.ask(node, request, model, exclude, now, actions);
            }
            ToServer::Cancel { request } => self.requests.remove(node, request),
            ToServer::EndSession { session, reason, failed_node } => {
                self.quarantine_failed(node, session, failed_node, now);
                self.end_session(node, session, &reason, failed_node, now, actions);
            }
            ToServer::Report(report) => {
                if let Some(registration) = self.registration(node) {
                    registration.report = report;
                }
            }
            ToServer::Hello { .. }
            | ToServer::Prove { .. }
            | ToServer::Signal { .. }
            | ToServer::Receipt { .. }
            | ToServer::Heartbeat => {}
        }
        Ok(())
    }

    fn leave(&mut self, node: NodeId, now: Duration, actions: &mut Vec<Action>) {
        self.deregister(node, "left", now, actions);
        self.nodes.remove(&node);
        self.requests.remove_all_of(node);
        let asked: Vec<SessionId> = self.sessions.asked_by(node).collect();
        for session in asked {
            self.end_session(node, session, "the one who asked left", None, now, actions);
        }
    }

    /// Notes the node at which a session failed, if a member of the session says so. One such word
    /// costs a node little: until it is forgiven, it is still used where nobody else has its layers
    /// ready.
    fn quarantine_failed(
        &mut self,
        by: NodeId,
        id: SessionId,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        let (Some(failed_node), Some(session)) = (failed_node, self.sessions.get(id)) else {
            return;
        };
        if sessions::is_member(session, by) && session.stage_of(failed_node).is_some() {
            self.quarantine.insert(failed_node, now);
        }
    }

    /// Ends a session on the word of one of its members, and says so to the others. For anybody
    /// else the session might as well not exist.
    fn end_session(
        &mut self,
        by: NodeId,
        id: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.remove(id, by, now) else { return };
        let mut others: Vec<NodeId> = session.stages.iter().map(|stage| stage.node).collect();
        others.push(session.requester);
        others.sort_unstable();
        others.dedup();
        for other in others.into_iter().filter(|other| *other != by) {
            let message =
                FromServer::SessionEnded { session: id, reason: clip_reason(reason), failed_node };
            actions.push(Action::Send(other, message));
        }
    }

    /// The one model that nodes are given layers of. Several, by demand, are for later.
    fn planned_model(&self) -> Option<&Arc<ModelInfo>> {
        self.models.iter().next()
    }

    fn is_planned(&self, model: ModelId) -> bool {
        self.planned_model().is_some_and(|planned| planned.id == model)
    }
}

#[cfg(test)]
mod tests;

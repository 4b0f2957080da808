//! Which node holds which layers, and which way an answer goes: a state machine without I/O, clock
//! or randomness of its own.
//!
//! | file | what |
//! |---|---|
//! | here | events in, actions out: `handle(event, now) -> Vec<Action>` |
//! | `nodes` | who is connected, and what a registered node is assigned and has ready |
//! | `standing` | what is known of a node beside its word: its work, its address |
//! | `speed` | how fast a node is: its own guess, within what it has shown |
//! | `grants` | what volunteers agreed to, and until when |
//! | `seats` | nodes that are throttled or paused, and how long those keep their layers |
//! | `leases` | assignments on their way to nodes, signed and with an end |
//! | `planning` | assigns layers to nodes, by `placement`, once things have settled |
//! | `placement` | contiguous ranges by speed, within memory |
//! | `requests` | requests that wait for a route, and their bounds |
//! | `routing` | a chain of stages over the layers that are ready |
//! | `sessions` | routes in use |
//! | `kept` | routes that are gone on with |
//! | `quarantine` | nodes that sessions of several requesters failed at lately |
//! | `index` | what is asked of all nodes at once, kept instead of counted |
//! | `view` | the swarm as others see it |
//!
//! Nobody's word is believed further than it harms that one alone. A node's *assignment* is what the
//! server told it to hold, now or, by a lease that the server signed, before it was started again;
//! what it has *ready* is what it says is loaded, within that. What it says of its speed is a first
//! guess.
//!
//! However many nodes there are, an event costs what its own node, route or session is about; only
//! planning, which waits for things to settle, looks at all of them.
//!
//! The scheduler never sees a prompt or a token, keeps nothing over a restart, and serves one model:
//! the first.

mod grants;
mod index;
mod kept;
mod leases;
mod nodes;
mod placement;
mod planning;
mod quarantine;
mod requests;
mod routing;
mod seats;
mod sessions;
mod speed;
mod standing;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{LayerRange, ModelId, NodeId, SessionId};
use potluck_protocol::server::{FromServer, ToServer};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::authority::Authority;
use crate::models::{ModelInfo, Models};
use grants::Grants;
use index::Index;
use kept::KeptRoutes;
use leases::Leases;
use nodes::NodeState;
use planning::Settling;
use quarantine::Quarantine;
use requests::{Asked, Requests};
use seats::Seats;
use sessions::Sessions;

pub use standing::Standing;
pub use view::{NodeView, SwarmView, Totals};

/// What a scheduler is made of.
#[derive(Debug)]
pub struct Settings {
    /// The models of this server; the first one is served.
    pub models: Arc<Models>,
    /// Signs leases and tickets, and knows what time it is when `now` is zero.
    pub authority: Arc<Authority>,
    /// How long after the last change layers are assigned anew, where it stays quiet for as long.
    pub plan_delay: Duration,
    /// Whether work for somebody behind one's own public address is credited: in a classroom, say.
    pub same_address_earns: bool,
    /// Must be random: the names of sessions come from it.
    pub seed: [u8; 32],
}

/// One thing that happened to a node or its connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// The node proved its key.
    Joined(Standing),
    /// The node's connection is gone.
    Left,
    /// Work of the node as a stage of the session was credited.
    Worked {
        /// The session.
        session: SessionId,
        /// Multiply-accumulates.
        macs: u64,
    },
    /// The node sent a message. Those of the handshake, signals and receipts are the connection's
    /// own affair and change nothing here.
    Received(ToServer),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
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
    same_address_earns: bool,
    random: ChaCha20Rng,
    /// How many registrations there were, from which each takes its place in their order.
    registrations: u64,
    nodes: BTreeMap<NodeId, NodeState>,
    index: Index,
    grants: Grants,
    leases: Leases,
    seats: Seats,
    requests: Requests,
    sessions: Sessions,
    kept: KeptRoutes,
    quarantine: Quarantine,
    settling: Settling,
}

impl Scheduler {
    /// A scheduler without nodes.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { models, authority, plan_delay, same_address_earns, seed } = settings;
        let layers = models.iter().next().map_or(0, |model| model.layers);
        Self {
            models,
            authority,
            same_address_earns,
            random: ChaCha20Rng::from_seed(seed),
            registrations: 0,
            nodes: BTreeMap::new(),
            index: Index::new(layers),
            grants: Grants::default(),
            leases: Leases::default(),
            seats: Seats::default(),
            requests: Requests::default(),
            sessions: Sessions::default(),
            kept: KeptRoutes::default(),
            quarantine: Quarantine::default(),
            settling: Settling::new(plan_delay),
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
        self.forgive(now);
        match event {
            Event::Joined(standing) => self.join(node, standing, now, &mut actions),
            Event::Left => self.leave(node, now, &mut actions),
            Event::Worked { session, macs } => self.worked(node, session, macs, now),
            Event::Received(message) => self.receive(node, message, now, &mut actions)?,
        }
        self.serve_waiting(now, &mut actions);
        Ok(actions)
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        self.forgive(now);
        self.clear_seats(now);
        if self.settling.is_over(now) {
            self.plan(now);
        }
        self.end_grants(now, &mut actions);
        self.hand_out_leases(now, &mut actions);
        self.end_idle_sessions(now, &mut actions);
        self.serve_waiting(now, &mut actions);
        actions
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        let times = [
            self.next_plan(),
            self.leases.next_renewal(&self.authority),
            self.grants.next_end(&self.authority),
            self.seats.next_end(),
            self.sessions.next_idle(),
            self.quarantine.next_end(),
            self.requests.routed_on(),
        ];
        times.into_iter().flatten().min()
    }

    /// When assignments are made or go out next.
    #[must_use]
    pub fn next_plan(&self) -> Option<Duration> {
        [self.settling.end(), self.leases.handed_out_on()].into_iter().flatten().min()
    }

    /// True if the two are in one session and talk to each other there, or did so until lately: they
    /// may signal each other.
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
            ToServer::Register { capabilities, grant, lease } => {
                match grant.grant.holds_at(self.authority.unix_time(now).as_secs()) {
                    Ok(()) => self.register(node, capabilities, &grant.grant, lease, now),
                    Err(fault) => actions.push(grants::refusal(node, fault)),
                }
            }
            ToServer::Deregister => self.deregister(node, "stopped lending", now, actions),
            ToServer::LayersReady { model, layers } => self.layers_ready(node, model, layers)?,
            ToServer::Ask { request: id, model, exclude, continues } => {
                let asked = Asked { requester: node, id, model, exclude, middle: None };
                self.ask(asked, continues, now, actions);
            }
            ToServer::AskMiddle { request: id, model, exclude, layers, continues } => {
                let asked = Asked { requester: node, id, model, exclude, middle: Some(layers) };
                self.ask(asked, continues, now, actions);
            }
            ToServer::Cancel { request } => self.requests.remove(node, request),
            ToServer::EndSession { session, reason, failed_node, keeps } => {
                self.note_failure(node, session, failed_node, now);
                let own = self.sessions.get(session).filter(|own| own.requester == node);
                if let Some(own) = own.filter(|_| keeps && failed_node.is_none()).cloned() {
                    self.kept.insert(own, now);
                }
                self.end_session(node, session, &reason, failed_node, now, actions);
            }
            ToServer::Report(report) => {
                self.change_registration(node, |registration| registration.report = report);
            }
            ToServer::Pace { percent } => self.change_pace(node, percent, now, actions),
            ToServer::Hello { .. }
            | ToServer::Prove { .. }
            | ToServer::Signal { .. }
            | ToServer::Receipt { .. }
            | ToServer::Heartbeat
            | ToServer::Door(_) => {}
        }
        Ok(())
    }

    fn join(&mut self, node: NodeId, standing: Standing, now: Duration, actions: &mut Vec<Action>) {
        // Whoever owns the connections says that the earlier one left; if not, it has now.
        self.leave(node, now, actions);
        let is_suspect = self.quarantine.contains(node);
        let state = NodeState::new(now, standing, is_suspect, &mut self.random);
        self.nodes.insert(node, state);
    }

    fn leave(&mut self, node: NodeId, now: Duration, actions: &mut Vec<Action>) {
        self.deregister(node, "left", now, actions);
        self.nodes.remove(&node);
        self.requests.remove_all_of(node);
        for session in self.sessions.asked_by(node) {
            self.end_session(node, session, "the one who asked left", None, now, actions);
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
        if self.sessions.get(id).is_some_and(|session| sessions::is_member(session, by)) {
            self.close_session(id, Some(by), reason, failed_node, now, actions);
        }
    }

    /// Ends a session and says so to all members but the one who wanted it.
    fn close_session(
        &mut self,
        id: SessionId,
        by: Option<NodeId>,
        reason: &str,
        failed_node: Option<NodeId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.remove(id, now) else { return };
        let mut members: Vec<NodeId> = session.stages.iter().map(|stage| stage.node).collect();
        for stage in &members {
            self.change(*stage, |state| state.sessions = state.sessions.saturating_sub(1));
        }
        members.push(session.requester);
        members.sort_unstable();
        members.dedup();
        for member in members.into_iter().filter(|member| Some(*member) != by) {
            let message =
                FromServer::SessionEnded { session: id, reason: clip_reason(reason), failed_node };
            actions.push(Action::Send(member, message));
        }
    }

    fn end_idle_sessions(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for id in self.sessions.idle(now) {
            let reason = "nothing was computed in it for minutes; ask again";
            self.close_session(id, None, reason, None, now, actions);
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

//! Who holds what, and which way an answer goes: a state machine without I/O, clock or randomness
//! of its own.
//!
//! | file | what |
//! |---|---|
//! | `placement` | layers to nodes: contiguous ranges by speed, within memory |
//! | `routing` | a chain of stages over what is held |
//! | here | nodes, questions and sessions: `handle(event, now) -> Vec<Action>` |
//!
//! A node's *assignment* is what it should hold; its *holding* is what it says is loaded, cut to
//! what it was assigned last, so that no route counts on layers that are about to go.

mod placement;
mod routing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::server::{Capabilities, FromServer, Report, Session, Stage};

use crate::models::{ModelInfo, Models};
use placement::Candidate;
use routing::Holder;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A node proved its key.
    Joined,
    /// Its connection is gone.
    Left,
    /// It offers this machine.
    Register(Capabilities),
    /// It does not any more.
    Deregister,
    /// It holds these layers ready.
    LayersReady {
        /// The model.
        model: ModelId,
        /// The layers.
        layers: LayerRange,
    },
    /// It wants a route.
    Ask {
        /// Its number for it.
        request: RequestId,
        /// The model.
        model: ModelId,
        /// Nodes it would rather not have in it.
        exclude: Vec<NodeId>,
    },
    /// It does not any more.
    Cancel {
        /// Its number for it.
        request: RequestId,
    },
    /// It ends a session that it is in.
    EndSession {
        /// The session.
        session: SessionId,
        /// Why.
        reason: String,
        /// Who is at fault, if it says so.
        failed_node: Option<NodeId>,
    },
    /// Its counters.
    Report(Report),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the session before anything that follows is sent.
    Open(Session),
    /// Tell a node.
    Send(NodeId, FromServer),
}

/// Why an event was refused; the node's connection is closed with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A model that this server does not have.
    #[error("this server has no such model")]
    UnknownModel,
    /// Layers that the model does not have.
    #[error("the model has no {0}")]
    NoSuchLayers(LayerRange),
    /// Too many questions at once.
    #[error("{MAX_REQUESTS} questions wait already; cancel one first")]
    TooManyRequests,
    /// The server's own bound.
    #[error("too many questions wait on this server; try again later")]
    ServerBusy,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    models: Arc<Models>,
    settle: Duration,
    seed: [u8; 32],
    drawn: u64,
    joined: u64,
    nodes: BTreeMap<NodeId, NodeState>,
    waiting: Vec<Question>,
    sessions: HashMap<SessionId, Session>,
    plan_at: Option<Duration>,
    /// Stages that sessions broke off at, and until when others are asked before them.
    quarantined: BTreeMap<NodeId, Duration>,
    now: Duration,
}

#[derive(Debug)]
struct NodeState {
    since: Duration,
    /// Tells its peers whether it is still the same process.
    epoch: Epoch,
    registration: Option<Registration>,
}

#[derive(Debug)]
struct Registration {
    capabilities: Capabilities,
    /// Order of offering: those who came first keep their place.
    order: u64,
    model: Option<ModelId>,
    assigned: Option<LayerRange>,
    /// What it said is loaded, cut to `assigned`.
    holding: Option<LayerRange>,
    report: Report,
}

#[derive(Debug)]
struct Question {
    requester: NodeId,
    request: RequestId,
    model: ModelId,
    exclude: Vec<NodeId>,
    told: Option<Vec<LayerRange>>,
}

/// Questions of one node that wait for a route.
const MAX_REQUESTS: usize = 8;
/// How long a stage that a session broke off at is asked last: as long as a tab that sleeps or a
/// lid that is closed takes to be noticed otherwise.
const QUARANTINE: Duration = Duration::from_secs(60);
/// Of them at most.
const MAX_QUARANTINED: usize = 10_000;
/// Questions of all nodes that wait for a route; a few megabytes.
const MAX_WAITING: usize = 10_000;

/// A node as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Its key.
    pub node: NodeId,
    /// What it brings.
    pub capabilities: Capabilities,
    /// The model it was given layers of.
    pub model: Option<ModelId>,
    /// The layers.
    pub layers: Option<LayerRange>,
    /// True if they are loaded.
    pub serving: bool,
    /// Its counters.
    pub report: Report,
    /// How long it has been connected.
    pub connected: Duration,
    /// Sessions it is a stage of.
    pub sessions: usize,
}

/// The swarm as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmView {
    /// Lenders.
    pub nodes: Vec<NodeView>,
    /// Nodes, registered or not.
    pub connected: usize,
    /// Answers being computed.
    pub sessions: usize,
    /// Questions that wait for a route.
    pub waiting: usize,
}

impl Scheduler {
    /// A scheduler of `models`; `seed` must be random, as session names come from it.
    #[must_use]
    pub fn new(models: Arc<Models>, settle: Duration, seed: [u8; 32]) -> Self {
        Self {
            models,
            settle,
            seed,
            drawn: 0,
            joined: 0,
            nodes: BTreeMap::new(),
            waiting: Vec::new(),
            sessions: HashMap::new(),
            plan_at: None,
            quarantined: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    /// Takes what `node` said or did at `now`.
    ///
    /// # Errors
    /// If it asks for something that cannot be; nothing has changed then.
    pub fn handle(
        &mut self,
        node: NodeId,
        event: Event,
        now: Duration,
    ) -> Result<Vec<Action>, Fault> {
        let mut actions = Vec::new();
        self.now = now;
        match event {
            Event::Joined => {
                let epoch = Epoch(u64::from_le_bytes(self.draw()));
                self.nodes.insert(node, NodeState { since: now, epoch, registration: None });
            }
            Event::Left => self.leave(node, now, &mut actions),
            Event::Register(capabilities) => self.lend(node, capabilities, now),
            Event::Deregister => {
                self.stop(node, "stopped lending", now, &mut actions);
            }
            Event::LayersReady { model, layers } => {
                self.holding(node, model, layers, &mut actions)?
            }
            Event::Ask { request, model, exclude } => {
                self.ask(node, request, model, exclude, &mut actions)?
            }
            Event::Cancel { request } => {
                self.waiting.retain(|q| (q.requester, q.request) != (node, request))
            }
            Event::EndSession { session, reason, failed_node } => {
                self.quarantine(node, session, failed_node, now);
                self.end(node, session, &reason, failed_node, &mut actions);
            }
            Event::Report(report) => {
                if let Some(registration) = self.registration(node) {
                    registration.report = report;
                }
            }
        }
        Ok(actions)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        self.now = now;
        if self.plan_at.is_some_and(|at| now >= at) {
            self.plan_at = None;
            self.plan(&mut actions);
            self.route_waiting(&mut actions);
        }
        actions
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        self.plan_at
    }

    /// True if the two are in one session, and so may signal each other.
    #[must_use]
    pub fn share_session(&self, a: NodeId, b: NodeId) -> bool {
        let includes = |session: &Session, node| {
            session.requester == node || session.stages.iter().any(|s| s.node == node)
        };
        self.sessions.values().any(|session| includes(session, a) && includes(session, b))
    }

    /// The swarm as others see it.
    #[must_use]
    pub fn view(&self, now: Duration) -> SwarmView {
        let view = |(node, state): (&NodeId, &NodeState)| {
            let registration = state.registration.as_ref()?;
            Some(NodeView {
                node: *node,
                capabilities: registration.capabilities.clone(),
                model: registration.model,
                layers: registration.assigned,
                serving: registration.assigned.is_some()
                    && registration.holding == registration.assigned,
                report: registration.report,
                connected: now.saturating_sub(state.since),
                sessions: self.sessions_of(*node),
            })
        };
        SwarmView {
            nodes: self.nodes.iter().filter_map(view).collect(),
            connected: self.nodes.len(),
            sessions: self.sessions.len(),
            waiting: self.waiting.len(),
        }
    }

    fn registration(&mut self, node: NodeId) -> Option<&mut Registration> {
        self.nodes.get_mut(&node).and_then(|state| state.registration.as_mut())
    }

    fn sessions_of(&self, node: NodeId) -> usize {
        self.sessions
            .values()
            .filter(|session| session.stages.iter().any(|stage| stage.node == node))
            .count()
    }

    fn lend(&mut self, node: NodeId, capabilities: Capabilities, now: Duration) {
        self.joined += 1;
        let order = self.joined;
        let Some(state) = self.nodes.get_mut(&node) else { return };
        match &mut state.registration {
            Some(registration) => registration.capabilities = capabilities,
            None => {
                state.registration = Some(Registration {
                    capabilities,
                    order,
                    model: None,
                    assigned: None,
                    holding: None,
                    report: Report::default(),
                });
            }
        }
        self.plan_at = Some(now + self.settle);
    }

    /// After a restart of the server, nodes come back with what they hold: that is then their
    /// assignment too.
    fn holding(
        &mut self,
        node: NodeId,
        model: ModelId,
        layers: LayerRange,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let info = self.models.get(model).ok_or(Fault::UnknownModel)?;
        if layers.end > info.layers {
            return Err(Fault::NoSuchLayers(layers));
        }
        let Some(registration) = self.registration(node) else { return Ok(()) };
        match (registration.model, registration.assigned) {
            (Some(assigned_model), Some(assigned)) if assigned_model == model => {
                registration.holding = intersection(layers, assigned);
            }
            (None, None) => {
                registration.model = Some(model);
                registration.assigned = Some(layers);
                registration.holding = Some(layers);
            }
            _ => {} // word of an assignment that is already taken back
        }
        self.route_waiting(actions);
        Ok(())
    }

    fn ask(
        &mut self,
        node: NodeId,
        request: RequestId,
        model: ModelId,
        exclude: Vec<NodeId>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        if self.models.get(model).is_none() {
            return Err(Fault::UnknownModel);
        }
        self.waiting.retain(|question| (question.requester, question.request) != (node, request));
        if self.waiting.iter().filter(|question| question.requester == node).count() >= MAX_REQUESTS
        {
            return Err(Fault::TooManyRequests);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(Fault::ServerBusy);
        }
        self.waiting.push(Question { requester: node, request, model, exclude, told: None });
        self.route_waiting(actions);
        Ok(())
    }

    fn leave(&mut self, node: NodeId, now: Duration, actions: &mut Vec<Action>) {
        self.stop(node, "left", now, actions);
        self.nodes.remove(&node);
        self.waiting.retain(|question| question.requester != node);
        let asked: Vec<SessionId> = self
            .sessions
            .values()
            .filter(|session| session.requester == node)
            .map(|session| session.id)
            .collect();
        for session in asked {
            self.end(node, session, "the one who asked left", None, actions);
        }
    }

    /// A registered node goes: its sessions end, with its name and layers in the reason.
    fn stop(&mut self, node: NodeId, what: &str, now: Duration, actions: &mut Vec<Action>) {
        let Some(state) = self.nodes.get_mut(&node) else { return };
        if state.registration.take().is_none() {
            return;
        }
        let lost: Vec<(SessionId, LayerRange)> = self
            .sessions
            .values()
            .filter_map(|session| {
                Some((session.id, session.stages[session.stage_of(node)?].layers))
            })
            .collect();
        for (session, layers) in lost {
            let reason = format!("{}, who computed {layers}, {what}", node.name());
            self.end(node, session, &reason, Some(node), actions);
        }
        self.plan_at = Some(now + self.settle);
        self.tell_waiting(actions);
    }

    /// Takes note of what a session's own people say it broke off at. One word of it costs a node
    /// little: it is asked again as soon as nobody else holds its layers, or a minute later.
    fn quarantine(
        &mut self,
        by: NodeId,
        id: SessionId,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        self.quarantined.retain(|_, until| now < *until);
        let (Some(failed_node), Some(session)) = (failed_node, self.sessions.get(&id)) else {
            return;
        };
        let knows = session.requester == by || session.stage_of(by).is_some();
        if knows
            && session.stage_of(failed_node).is_some()
            && self.quarantined.len() < MAX_QUARANTINED
        {
            self.quarantined.insert(failed_node, now + QUARANTINE);
        }
    }

    fn end(
        &mut self,
        by: NodeId,
        id: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        actions: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.get(&id) else { return };
        let includes = session.requester == by || session.stage_of(by).is_some();
        if !includes {
            return; // not its own: as if it did not exist
        }
        let Some(session) = self.sessions.remove(&id) else { return };
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

    /// Plans anew who holds what, and tells those for whom something changes.
    fn plan(&mut self, actions: &mut Vec<Action>) {
        // One model for now: the first. Several, by demand, come with the swarm's next stage.
        let Some(model) = self.models.iter().next().map(Arc::clone) else { return };
        let mut candidates: Vec<(NodeId, Candidate)> = self
            .nodes
            .iter()
            .filter_map(|(node, state)| {
                let registration = state.registration.as_ref()?;
                let current =
                    registration.assigned.filter(|_| registration.model == Some(model.id));
                let (memory_bytes, speed) =
                    (registration.capabilities.memory_bytes, registration.capabilities.macs_per_ms);
                Some((*node, Candidate { memory_bytes, speed, order: registration.order, current }))
            })
            .collect();
        candidates.sort_by_key(|(_, candidate)| candidate.order);
        let plan =
            placement::plan(&model, &candidates.iter().map(|(_, c)| c.clone()).collect::<Vec<_>>());
        for ((node, candidate), layers) in candidates.iter().zip(plan) {
            let Some(registration) = self.registration(*node) else { continue };
            let unchanged = candidate.current == layers && registration.model == Some(model.id);
            registration.model = Some(model.id);
            registration.assigned = layers;
            registration.holding = match (registration.holding, layers) {
                (Some(held), Some(layers)) => intersection(held, layers),
                _ => None,
            };
            if !unchanged {
                actions.push(Action::Send(*node, FromServer::Assign { model: model.id, layers }));
            }
        }
    }

    /// Opens a session for every question that has a route now; tells the others what is missing.
    fn route_waiting(&mut self, actions: &mut Vec<Action>) {
        for question in std::mem::take(&mut self.waiting) {
            match self.route(question.model, &question.exclude) {
                Some(stages) => {
                    let id = SessionId(self.draw());
                    let epoch =
                        |node: NodeId| self.nodes.get(&node).map_or(Epoch(0), |state| state.epoch);
                    let mut epochs: Vec<Epoch> =
                        stages.iter().map(|stage| epoch(stage.node)).collect();
                    epochs.push(epoch(question.requester));
                    let (model, requester) = (question.model, question.requester);
                    let session = Session { id, model, requester, stages, epochs };
                    actions.push(Action::Open(session.clone()));
                    // Stages first: they should know of the session before its first frame reaches
                    // them.
                    for stage in &session.stages {
                        actions.push(Action::Send(
                            stage.node,
                            FromServer::Serve { session: session.clone() },
                        ));
                    }
                    let route =
                        FromServer::Route { request: question.request, session: session.clone() };
                    actions.push(Action::Send(question.requester, route));
                    self.sessions.insert(id, session);
                }
                None => self.waiting.push(question),
            }
        }
        self.tell_waiting(actions);
    }

    fn tell_waiting(&mut self, actions: &mut Vec<Action>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        for question in &mut waiting {
            let Some(model) = self.models.get(question.model) else { continue };
            let missing = routing::missing(model.layers, &self.holders(question.model));
            if question.told.as_ref() != Some(&missing) {
                question.told = Some(missing.clone());
                let message = FromServer::Waiting { request: question.request, missing };
                actions.push(Action::Send(question.requester, message));
            }
        }
        self.waiting = waiting;
    }

    /// Over others than `exclude` and those that sessions broke off at lately, as long as these
    /// hold every layer.
    fn route(&self, model: ModelId, exclude: &[NodeId]) -> Option<Vec<Stage>> {
        let info: &ModelInfo = self.models.get(model)?;
        let all = self.holders(model);
        let without = |spared: &dyn Fn(NodeId) -> bool| {
            let holders: Vec<Holder> =
                all.iter().filter(|holder| !spared(holder.node)).copied().collect();
            routing::route(info.layers, &holders)
        };
        let quarantined =
            |node: NodeId| self.quarantined.get(&node).is_some_and(|until| self.now < *until);
        without(&|node| exclude.contains(&node) || quarantined(node))
            .or_else(|| without(&|node| exclude.contains(&node)))
            .or_else(|| without(&|_| false))
    }

    fn holders(&self, model: ModelId) -> Vec<Holder> {
        let holder = |(node, state): (&NodeId, &NodeState)| {
            let registration = state
                .registration
                .as_ref()
                .filter(|registration| registration.model == Some(model))?;
            let speed = registration.capabilities.macs_per_ms;
            Some(Holder {
                node: *node,
                layers: registration.holding?,
                sessions: self.sessions_of(*node),
                speed,
            })
        };
        self.nodes.iter().filter_map(holder).collect()
    }

    /// Bytes that nobody can foresee and that do not come again.
    fn draw<const N: usize>(&mut self) -> [u8; N] {
        self.drawn += 1;
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&self.drawn.to_le_bytes());
        let mut bytes = [0; N];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }
}

fn intersection(a: LayerRange, b: LayerRange) -> Option<LayerRange> {
    LayerRange::new(a.first.max(b.first), a.end.min(b.end))
}

#[cfg(test)]
mod tests;

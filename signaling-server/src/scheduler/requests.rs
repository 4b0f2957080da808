//! Requests that wait for a route, and the bounds of requests and sessions.

use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::server::{FromServer, Session, Stage};
use rand_chacha::rand_core::RngCore as _;

use super::nodes::NodeState;
use super::routing::{self, ReadyNode};
use super::{Action, Scheduler};

/// Requests of one node that wait for a route.
pub(super) const MAX_REQUESTS: usize = 8;
/// Requests of all nodes that wait for a route; a few megabytes.
const MAX_WAITING: usize = 10_000;
/// Sessions of one requester, waiting requests included: more than a person has answers in
/// progress, and enough for a program that asks on behalf of several.
pub(super) const MAX_SESSIONS_PER_REQUESTER: usize = 64;
/// Sessions of all requesters, waiting requests included. A session is about a kilobyte, and 12 KB
/// if every layer has a stage of its own.
const MAX_SESSIONS: usize = 20_000;

/// The waiting requests, oldest first.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: Vec<Request>,
}

/// One request that waits for a route.
#[derive(Debug)]
struct Request {
    requester: NodeId,
    id: RequestId,
    model: ModelId,
    exclude: Vec<NodeId>,
    /// The missing layers that the requester was last told of.
    told_missing: Option<Vec<LayerRange>>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn remove(&mut self, requester: NodeId, id: RequestId) {
        self.waiting.retain(|request| (request.requester, request.id) != (requester, id));
    }

    pub(super) fn remove_all_of(&mut self, requester: NodeId) {
        self.waiting.retain(|request| request.requester != requester);
    }

    fn count_of(&self, requester: NodeId) -> usize {
        self.waiting.iter().filter(|request| request.requester == requester).count()
    }
}

impl Scheduler {
    /// Opens a session for the request, lets it wait for layers, or refuses it with a sentence.
    pub(super) fn ask(
        &mut self,
        requester: NodeId,
        id: RequestId,
        model: ModelId,
        exclude: Vec<NodeId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        self.requests.remove(requester, id);
        if let Some(reason) = self.reason_to_refuse(requester, model) {
            let reason = clip_reason(&reason);
            let message = FromServer::RequestRefused { request: id, reason };
            actions.push(Action::Send(requester, message));
            return;
        }
        self.requests.waiting.push(Request { requester, id, model, exclude, told_missing: None });
        self.route_waiting(now, actions);
    }

    fn reason_to_refuse(&self, requester: NodeId, model: ModelId) -> Option<String> {
        if !self.is_planned(model) {
            let served = self.planned_model().map_or_else(
                || "it has no model yet".to_owned(),
                |planned| format!("it serves {}", planned.name),
            );
            return Some(match self.models.get(model) {
                Some(asked) => format!("this server does not serve {} now: {served}", asked.name),
                None => format!("this server does not have the model: {served}"),
            });
        }
        let waiting = self.requests.count_of(requester);
        if waiting >= MAX_REQUESTS {
            return Some(format!("{MAX_REQUESTS} of your requests wait already; cancel one first"));
        }
        if waiting + self.sessions.asked_by(requester).count() >= MAX_SESSIONS_PER_REQUESTER {
            return Some(format!(
                "{MAX_SESSIONS_PER_REQUESTER} of your requests are being answered or wait; end one \
                 first"
            ));
        }
        if self.requests.len() >= MAX_WAITING
            || self.requests.len() + self.sessions.len() >= MAX_SESSIONS
        {
            return Some("this server has too many requests; try again later".to_owned());
        }
        None
    }

    /// Opens a session for every request that has a route now, and tells the other requesters what
    /// is missing.
    pub(super) fn route_waiting(&mut self, now: Duration, actions: &mut Vec<Action>) {
        for request in std::mem::take(&mut self.requests.waiting) {
            match self.route(request.model, &request.exclude, now) {
                Some(stages) => self.open_session(&request, stages, now, actions),
                None => self.requests.waiting.push(request),
            }
        }
        self.notify_waiting(actions);
    }

    /// Tells every waiting requester for whom it changed which layers nobody has ready.
    pub(super) fn notify_waiting(&mut self, actions: &mut Vec<Action>) {
        let mut waiting = std::mem::take(&mut self.requests.waiting);
        for request in &mut waiting {
            let Some(model) = self.models.get(request.model) else { continue };
            let missing = routing::missing(model.layers, &self.ready_nodes(request.model));
            if request.told_missing.as_ref() != Some(&missing) {
                request.told_missing = Some(missing.clone());
                let message = FromServer::Waiting { request: request.id, missing };
                actions.push(Action::Send(request.requester, message));
            }
        }
        self.requests.waiting = waiting;
    }

    fn open_session(
        &mut self,
        request: &Request,
        stages: Vec<Stage>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let epoch = |node: NodeId| self.nodes.get(&node).map_or(Epoch(0), |state| state.epoch);
        let members = stages.iter().map(|stage| stage.node).chain([request.requester]);
        let epochs = members.map(epoch).collect();
        let mut id = [0; 16];
        self.random.fill_bytes(&mut id);
        let session = Session {
            id: SessionId(id),
            model: request.model,
            requester: request.requester,
            stages,
            epochs,
        };
        actions.push(Action::Open(session.clone()));
        // Stages first: they should know of the session before its first frame reaches them.
        for stage in &session.stages {
            let ticket = Box::new(self.authority.ticket(&session, stage, true, now));
            let serve = FromServer::Serve { session: session.clone(), ticket };
            actions.push(Action::Send(stage.node, serve));
        }
        let route = FromServer::Route { request: request.id, session: session.clone() };
        actions.push(Action::Send(request.requester, route));
        self.sessions.insert(session);
    }

    /// A route without excluded and quarantined nodes; where that leaves a layer to nobody, with
    /// quarantined ones, and at last with all.
    fn route(&self, model: ModelId, exclude: &[NodeId], now: Duration) -> Option<Vec<Stage>> {
        let layers = self.models.get(model)?.layers;
        let all = self.ready_nodes(model);
        let without = |left_out: &dyn Fn(NodeId) -> bool| {
            let nodes: Vec<ReadyNode> =
                all.iter().filter(|ready| !left_out(ready.node)).copied().collect();
            routing::route(layers, &nodes)
        };
        without(&|node| exclude.contains(&node) || self.quarantine.contains(node, now))
            .or_else(|| without(&|node| exclude.contains(&node)))
            .or_else(|| without(&|_| false))
    }

    fn ready_nodes(&self, model: ModelId) -> Vec<ReadyNode> {
        let ready = |(node, state): (&NodeId, &NodeState)| {
            let registration = state
                .registration
                .as_ref()
                .filter(|registration| registration.model == Some(model))?;
            Some(ReadyNode {
                node: *node,
                layers: registration.ready?,
                sessions: self.sessions.with_stage(*node).count(),
                macs_per_ms: registration.capabilities.macs_per_ms,
            })
        };
        self.nodes.iter().filter_map(ready).collect()
    }
}

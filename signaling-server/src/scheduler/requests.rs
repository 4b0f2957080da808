//! Requests that wait for a route, and the bounds of requests and sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{Epoch, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;
use potluck_protocol::server::{FromServer, Session, Stage};
use rand_chacha::rand_core::RngCore as _;

use super::{Action, Scheduler};

/// Requests of all nodes that wait for a route; a few megabytes.
const MAX_WAITING: usize = 10_000;
/// Sessions of all requesters, waiting requests included. A session is about a kilobyte, and 12 KB
/// if every layer has a stage of its own.
const MAX_SESSIONS: usize = 20_000;
/// Waiting requests that are routed at a time, a few milliseconds: each stage's ticket is signed.
const AT_A_TIME: usize = 16;

/// The waiting requests. Either layers are missing and everybody waits for them, or none are and
/// the requests are routed one after the other.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Oldest first, by their number.
    waiting: BTreeMap<u64, Request>,
    by_name: BTreeMap<(NodeId, RequestId), u64>,
    next: u64,
    /// The requesters of those before this number know which layers are missing …
    told: u64,
    /// … in this version.
    told_version: u64,
    /// When the next ones are routed, if that is all they wait for.
    routed_on: Option<Duration>,
}

/// One request that waits for a route.
#[derive(Debug)]
struct Request {
    requester: NodeId,
    id: RequestId,
    model: ModelId,
    exclude: Vec<NodeId>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn push(&mut self, request: Request) {
        self.by_name.insert((request.requester, request.id), self.next);
        self.waiting.insert(self.next, request);
        self.next += 1;
    }

    fn pop(&mut self) -> Option<Request> {
        let (_, request) = self.waiting.pop_first()?;
        self.by_name.remove(&(request.requester, request.id));
        Some(request)
    }

    pub(super) fn remove(&mut self, requester: NodeId, id: RequestId) {
        if let Some(number) = self.by_name.remove(&(requester, id)) {
            self.waiting.remove(&number);
        }
    }

    pub(super) fn remove_all_of(&mut self, requester: NodeId) {
        let ids: Vec<RequestId> = self.of(requester).collect();
        for id in ids {
            self.remove(requester, id);
        }
    }

    fn count_of(&self, requester: NodeId) -> usize {
        self.of(requester).count()
    }

    /// Those of one requester, who has few of them.
    fn of(&self, requester: NodeId) -> impl Iterator<Item = RequestId> {
        let names = (requester, RequestId(0))..=(requester, RequestId(u32::MAX));
        self.by_name.range(names).map(|((_, id), _)| *id)
    }

    /// When more requests are routed, if that is what they wait for.
    pub(super) fn routed_on(&self) -> Option<Duration> {
        self.routed_on
    }
}

impl Scheduler {
    /// Takes a request in, or refuses it with a sentence.
    pub(super) fn ask(
        &mut self,
        requester: NodeId,
        id: RequestId,
        model: ModelId,
        exclude: Vec<NodeId>,
        actions: &mut Vec<Action>,
    ) {
        self.requests.remove(requester, id);
        if let Some(reason) = self.reason_to_refuse(requester, model) {
            let reason = clip_reason(&reason);
            let message = FromServer::RequestRefused { request: id, reason };
            actions.push(Action::Send(requester, message));
            return;
        }
        self.requests.push(Request { requester, id, model, exclude });
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
        let own = self.requests.count_of(requester) + self.sessions.count_asked_by(requester);
        if own >= MAX_SESSIONS_PER_REQUESTER {
            return Some(format!(
                "{MAX_SESSIONS_PER_REQUESTER} of your requests are being answered or wait; end or \
                 cancel one first"
            ));
        }
        if self.requests.len() >= MAX_WAITING
            || self.requests.len() + self.sessions.len() >= MAX_SESSIONS
        {
            return Some("this server has too many requests; try again later".to_owned());
        }
        None
    }

    /// Opens sessions for the next requests if every layer is ready somewhere; otherwise tells those
    /// who wait which are missing, if they do not know.
    pub(super) fn serve_waiting(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.requests.routed_on = None;
        if !self.index.missing().is_empty() {
            return self.tell_missing(actions);
        }
        for _ in 0..AT_A_TIME {
            let Some(request) = self.requests.pop() else { return };
            match self.index.holders().route(&request.exclude) {
                Some(stages) => self.open_session(&request, stages, now, actions),
                // A layer is missing after all.
                None => return self.requests.push(request),
            }
        }
        self.requests.routed_on = (self.requests.len() > 0).then_some(now);
    }

    fn tell_missing(&mut self, actions: &mut Vec<Action>) {
        let version = self.index.missing_version();
        let known = if self.requests.told_version == version { self.requests.told } else { 0 };
        for request in self.requests.waiting.range(known..).map(|(_, request)| request) {
            let missing = self.index.missing().to_vec();
            let message = FromServer::Waiting { request: request.id, missing };
            actions.push(Action::Send(request.requester, message));
        }
        (self.requests.told, self.requests.told_version) = (self.requests.next, version);
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
        let mut has_receipts = false;
        // Stages first: they should know of the session before its first frame reaches them.
        for stage in &session.stages {
            let earns = self.earns(stage.node, session.requester);
            has_receipts |= earns;
            let ticket = Box::new(self.authority.ticket(&session, stage, earns, now));
            let serve = FromServer::Serve { session: session.clone(), ticket };
            actions.push(Action::Send(stage.node, serve));
            self.change(stage.node, |state| {
                if state.sessions == 0 {
                    state.shown.begin(now);
                }
                state.sessions += 1;
            });
        }
        let route = FromServer::Route { request: request.id, session: session.clone() };
        actions.push(Action::Send(request.requester, route));
        self.sessions.insert(session, has_receipts, now);
    }
}

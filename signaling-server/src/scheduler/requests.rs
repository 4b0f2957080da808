//! Requests that wait for a route, and the bounds of requests and sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
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

/// The waiting requests, by the layers that they are for: all, or the middle where the requester
/// computes the ends. Of each, either layers are missing and everybody waits for them, or none are
/// and the requests are routed one after the other.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// As many queues as a model has middles at most: half its layers.
    queues: BTreeMap<LayerRange, Queue>,
    by_name: BTreeMap<(NodeId, RequestId), (LayerRange, u64)>,
    next: u64,
    /// When the next ones are routed, if that is all they wait for.
    routed_on: Option<Duration>,
}

/// Requests for the same layers; none without one.
#[derive(Debug, Default)]
struct Queue {
    /// Oldest first, by their number.
    waiting: BTreeMap<u64, Request>,
    /// The requesters of those before this number know which layers are missing …
    told: u64,
    /// … in this version.
    told_version: u64,
}

/// One request that waits for a route.
#[derive(Debug)]
struct Request {
    requester: NodeId,
    id: RequestId,
    model: ModelId,
    exclude: Vec<NodeId>,
    layers: LayerRange,
}

/// What a node asks for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) requester: NodeId,
    pub(super) id: RequestId,
    pub(super) model: ModelId,
    pub(super) exclude: Vec<NodeId>,
    /// Only these layers are wanted.
    pub(super) middle: Option<LayerRange>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    fn push(&mut self, request: Request) {
        let (layers, number) = (request.layers, self.next);
        self.by_name.insert((request.requester, request.id), (layers, number));
        self.queues.entry(layers).or_default().waiting.insert(number, request);
        self.next += 1;
    }

    fn pop(&mut self, layers: LayerRange) -> Option<Request> {
        let queue = self.queues.get_mut(&layers)?;
        let (_, request) = queue.waiting.pop_first()?;
        if queue.waiting.is_empty() {
            self.queues.remove(&layers);
        }
        self.by_name.remove(&(request.requester, request.id));
        Some(request)
    }

    pub(super) fn remove(&mut self, requester: NodeId, id: RequestId) {
        let Some((layers, number)) = self.by_name.remove(&(requester, id)) else { return };
        let Some(queue) = self.queues.get_mut(&layers) else { return };
        queue.waiting.remove(&number);
        if queue.waiting.is_empty() {
            self.queues.remove(&layers);
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
    /// Takes a request in, or refuses it with a sentence. One that goes on with an earlier session,
    /// whose stages are all there still, is routed at once.
    pub(super) fn ask(
        &mut self,
        asked: Asked,
        continues: Option<SessionId>,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Asked { requester, id, model, exclude, middle } = asked;
        self.requests.remove(requester, id);
        let refused = self.reason_to_refuse(requester, model);
        match refused.map_or_else(|| self.wanted_layers(model, middle), Err) {
            Ok(layers) => {
                let again = continues.and_then(|earlier| {
                    let stages = self.stages_again(earlier, requester, &exclude, now)?;
                    Some((earlier, stages))
                });
                let request = Request { requester, id, model, exclude, layers };
                let covers = |stages: &[Stage]| {
                    let ends = stages.first().zip(stages.last());
                    ends.is_some_and(|(first, last)| {
                        first.layers.first == layers.first && last.layers.end == layers.end
                    })
                };
                match again.filter(|(_, stages)| covers(stages)) {
                    Some((earlier, stages)) => {
                        self.open_session(&request, stages, Some(earlier), now, actions);
                    }
                    None => self.requests.push(request),
                }
            }
            Err(reason) => {
                let reason = clip_reason(&reason);
                let message = FromServer::RequestRefused { request: id, reason };
                actions.push(Action::Send(requester, message));
            }
        }
    }

    /// The layers that a request for all, or for a middle, is for. A middle leaves as many layers at
    /// one end as at the other, so that there are few queues.
    fn wanted_layers(
        &self,
        model: ModelId,
        middle: Option<LayerRange>,
    ) -> Result<LayerRange, String> {
        let layers = self.models.get(model).map_or(0, |model| model.layers);
        match middle {
            None => Ok(LayerRange { first: 0, end: layers }),
            Some(middle)
                if middle.first > 0
                    && !middle.is_empty()
                    && middle.first + middle.end == layers =>
            {
                Ok(middle)
            }
            Some(middle) => Err(format!(
                "{middle} are not the middle of a model of {layers} layers: leave as many at its \
                 beginning as at its end, at least one"
            )),
        }
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

    /// Opens sessions for the next requests whose layers are all ready somewhere; tells the others
    /// which are missing, if they do not know.
    pub(super) fn serve_waiting(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.requests.routed_on = None;
        let mut left = AT_A_TIME;
        let queues: Vec<LayerRange> = self.requests.queues.keys().copied().collect();
        for layers in queues {
            let missing = within(self.index.missing(), layers);
            if !missing.is_empty() {
                self.tell_missing(layers, &missing, actions);
                continue;
            }
            while left > 0
                && let Some(request) = self.requests.pop(layers)
            {
                left -= 1;
                match self.index.holders().route(layers, &request.exclude) {
                    Some(stages) => self.open_session(&request, stages, None, now, actions),
                    // A layer is missing after all.
                    None => {
                        self.requests.push(request);
                        break;
                    }
                }
            }
            if left == 0 && self.requests.len() > 0 {
                self.requests.routed_on = Some(now);
                return;
            }
        }
    }

    fn tell_missing(
        &mut self,
        layers: LayerRange,
        missing: &[LayerRange],
        actions: &mut Vec<Action>,
    ) {
        let (version, next) = (self.index.missing_version(), self.requests.next);
        let Some(queue) = self.requests.queues.get_mut(&layers) else { return };
        let known = if queue.told_version == version { queue.told } else { 0 };
        for request in queue.waiting.range(known..).map(|(_, request)| request) {
            let missing = missing.to_vec();
            let message = FromServer::Waiting { request: request.id, missing };
            actions.push(Action::Send(request.requester, message));
        }
        (queue.told, queue.told_version) = (next, version);
    }

    fn open_session(
        &mut self,
        request: &Request,
        stages: Vec<Stage>,
        continues: Option<SessionId>,
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
            continues,
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

/// The parts of these ranges that are within `layers`.
fn within(ranges: &[LayerRange], layers: LayerRange) -> Vec<LayerRange> {
    let part = |range: &LayerRange| {
        LayerRange::new(range.first.max(layers.first), range.end.min(layers.end))
    };
    ranges.iter().filter_map(part).collect()
}

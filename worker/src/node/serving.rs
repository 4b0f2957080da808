//! The node as a stage of sessions: steps come in, hidden rows or tokens go out.
//!
//! A frame is taken only from the node that the route says sends it, and only at the position that
//! is next; anything else closes that connection. Frames can overtake the server's word about their
//! session (they come by another way), so those of unknown sessions wait a moment.

use std::collections::HashMap;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_protocol::codec::{MAX_POSITIONS, MAX_ROWS, clip_reason};
use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::sampling::Sampling;
use potluck_protocol::server::{Session, ToServer};

use super::receipts::WorkLog;
use super::{Action, Node, StepInput, StepRequest, StepResult};

/// The stage.
#[derive(Debug, Default)]
pub(super) struct State {
    sessions: HashMap<SessionId, Serving>,
    early: Vec<Early>,
}

#[derive(Debug)]
struct Serving {
    session: Session,
    place: usize,
    /// Position the next frame must start at.
    next_position: u32,
    /// Steps given to the engine and not back yet.
    in_flight: u32,
    log: WorkLog,
    last_frame: Duration,
}

#[derive(Debug)]
struct Early {
    from: NodeId,
    session: SessionId,
    position: u32,
    work: StepInput,
    sampling: Option<Sampling>,
    until: Duration,
}

/// Sessions served at once. Each has a KV cache of up to the model's whole context.
const MAX_SERVED_SESSIONS: usize = 64;
/// Frames kept for sessions that the server has not told us of yet: a long prompt in steps.
const MAX_EARLY_FRAMES: usize = 64;
/// How long they are kept; the server's word comes within a round trip.
const EARLY: Duration = Duration::from_secs(5);
/// A session without a frame for so long is forgotten: its requester is gone without a word.
const SESSION_IDLE: Duration = Duration::from_secs(120);

impl State {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = LayerRange> {
        self.sessions.values().map(Serving::layers)
    }

    /// True if `node` is part of the served session `session`.
    pub(super) fn is_in(&self, session: SessionId, node: NodeId) -> bool {
        self.sessions.get(&session).is_some_and(|serving| serving.includes(node))
    }

    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.sessions.values().any(|serving| serving.includes(peer))
    }

    /// The sessions that cannot go on here without `peer`: it asks, or stands next to this stage.
    pub(super) fn sessions_with(&self, peer: NodeId) -> Vec<SessionId> {
        let needs = |serving: &&Serving| {
            serving.session.requester == peer
                || serving.previous() == peer
                || serving.next() == peer
        };
        self.sessions.values().filter(needs).map(|serving| serving.session.id).collect()
    }
}

impl Serving {
    fn layers(&self) -> LayerRange {
        self.session.stages[self.place].layers
    }

    fn includes(&self, node: NodeId) -> bool {
        self.session.requester == node || self.session.stages.iter().any(|stage| stage.node == node)
    }

    fn is_first(&self) -> bool {
        self.place == 0
    }

    /// Who sends to this stage.
    fn previous(&self) -> NodeId {
        if self.is_first() {
            self.session.requester
        } else {
            self.session.stages[self.place - 1].node
        }
    }

    /// Whom this stage sends to.
    fn next(&self) -> NodeId {
        self.session.stages.get(self.place + 1).map_or(self.session.requester, |stage| stage.node)
    }
}

impl Node {
    pub(super) fn serve(&mut self, session: Session, now: Duration) {
        let Some(place) = session.stage_of(self.me) else { return };
        let (id, layers) = (session.id, session.stages[place].layers);
        let ready = self
            .manifests
            .get(&session.model)
            .is_some_and(|manifest| self.lending.can_serve(session.model, manifest, layers));
        if !ready || self.serving.sessions.len() >= MAX_SERVED_SESSIONS {
            let reason = if ready {
                "it serves too many sessions already"
            } else {
                "it does not hold these layers any more"
            };
            let reason = format!("{} cannot compute {layers}: {reason}", self.me.name());
            self.say_to_server(&ToServer::EndSession {
                session: id,
                reason,
                failed_node: Some(self.me),
            });
            return;
        }
        if self.serving.sessions.contains_key(&id) {
            return;
        }
        let log = WorkLog::new(&session, self.me, layers);
        let serving =
            Serving { session, place, next_position: 0, in_flight: 0, log, last_frame: now };
        for peer in [serving.session.requester, serving.previous(), serving.next()] {
            self.open_peer(peer, &serving.session);
        }
        self.serving.sessions.insert(id, serving);
        self.actions.push(Action::OpenSession { session: id, layers });
        let (ready, rest) = std::mem::take(&mut self.serving.early)
            .into_iter()
            .partition(|early| early.session == id);
        self.serving.early = rest;
        let ready: Vec<Early> = ready;
        for early in ready {
            self.work(early.from, id, early.position, early.work, early.sampling, now);
        }
    }

    pub(super) fn work(
        &mut self,
        from: NodeId,
        id: SessionId,
        position: u32,
        work: StepInput,
        sampling: Option<Sampling>,
        now: Duration,
    ) {
        let Some(serving) = self.serving.sessions.get_mut(&id) else {
            if self.serving.early.len() < MAX_EARLY_FRAMES {
                self.serving.early.push(Early {
                    from,
                    session: id,
                    position,
                    work,
                    sampling,
                    until: now + EARLY,
                });
            }
            return;
        };
        let Some(manifest) = self.manifests.get(&serving.session.model) else { return };
        let d_model = manifest.config.d_model as usize;
        let rows = match &work {
            StepInput::Tokens(tokens) => tokens.len(),
            StepInput::Hidden(values) => values.len() / d_model,
        };
        let fault = if from != serving.previous() {
            Some("it is not the one to send this")
        } else if matches!(work, StepInput::Tokens(_)) != serving.is_first() {
            Some("tokens go to the first stage, hidden rows to the others")
        } else if matches!(&work, StepInput::Hidden(values) if values.len() % d_model != 0)
            || !(1..=MAX_ROWS).contains(&rows)
        {
            Some("it sent rows of the wrong shape")
        } else if matches!(&work, StepInput::Tokens(tokens) if tokens.iter().any(|token| *token >= manifest.config.vocab))
        {
            Some("it sent a token that the model does not have")
        } else if position != serving.next_position {
            Some("it sent a step out of order")
        } else if position as usize + rows
            > manifest.config.max_positions.min(MAX_POSITIONS) as usize
        {
            Some("it went past the model's context")
        } else {
            None
        };
        if let Some(fault) = fault {
            if from == self.me {
                self.fail_serving(id, fault, None, now);
            } else {
                self.drop_peer(from, fault, now);
            }
            return;
        }
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        serving.next_position += rows;
        serving.in_flight += 1;
        serving.last_frame = now;
        let step = StepRequest { session: id, position, rows, input: work, sampling };
        self.actions.push(Action::Compute(step));
    }

    pub(super) fn computed(&mut self, step: StepResult, now: Duration) {
        let StepResult { session: id, position, rows, output, sampling, elapsed } = step;
        self.lending.statistics.record(rows, elapsed, now);
        self.tell_lending_soon(now);
        let Some(serving) = self.serving.sessions.get_mut(&id) else { return };
        serving.in_flight = serving.in_flight.saturating_sub(1);
        let output = match output {
            Ok(output) => output,
            Err(reason) => {
                let why =
                    format!("{} could not compute {}: {reason}", self.me.name(), serving.layers());
                self.fail_serving(id, &why, Some(self.me), now);
                return;
            }
        };
        let receipts = serving.log.record(rows, &output);
        let next = serving.next();
        let requester = serving.session.requester;
        match output {
            Output::Hidden(values) => {
                self.send_peer(
                    next,
                    PeerFrame::Hidden { session: id, position, rows, values, sampling },
                );
            }
            Output::Token(token) => {
                self.send_peer(
                    requester,
                    PeerFrame::Token { session: id, position: position + rows, token },
                );
            }
            Output::Logits(_) | Output::None => {}
        }
        for receipt in receipts {
            self.offer_receipt(receipt, now);
        }
    }

    /// The requester wonders whether this node is there.
    pub(super) fn pinged(&mut self, from: NodeId, id: SessionId) {
        if self.serving.sessions.get(&id).is_some_and(|serving| serving.session.requester == from) {
            self.send_peer(from, PeerFrame::Pong { session: id });
        }
    }

    /// The requester says the answer is whole.
    pub(super) fn serving_end(&mut self, from: NodeId, id: SessionId, now: Duration) {
        if self.serving.sessions.get(&id).is_some_and(|serving| serving.session.requester == from) {
            self.end_serving(id, None, now);
        }
    }

    /// Forgets a session; the work done so far is still put on a receipt.
    pub(super) fn end_serving(&mut self, id: SessionId, reason: Option<&str>, now: Duration) {
        let Some(mut serving) = self.serving.sessions.remove(&id) else { return };
        if let Some(reason) = reason {
            tracing::info!(session = %id, reason, "session ended early");
        }
        self.actions.push(Action::CloseSession { session: id });
        self.report(now);
        if let Some(receipt) = serving.log.finish() {
            self.offer_receipt(receipt, now);
        }
        self.unload_unused();
    }

    /// Ends a session for a reason found here, and says so to everyone in it.
    pub(super) fn fail_serving(
        &mut self,
        id: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        let Some(serving) = self.serving.sessions.get(&id) else { return };
        let (requester, next) = (serving.session.requester, serving.next());
        let reason = clip_reason(reason);
        self.say_to_server(&ToServer::EndSession {
            session: id,
            reason: reason.clone(),
            failed_node,
        });
        for peer in [requester, next] {
            self.send_peer(
                peer,
                PeerFrame::Failed { session: id, reason: reason.clone(), failed_node },
            );
            if requester == next {
                break;
            }
        }
        self.end_serving(id, Some(&reason), now);
    }

    pub(super) fn end_all_serving(&mut self, reason: &str, now: Duration) {
        let ids: Vec<SessionId> = self.serving.sessions.keys().copied().collect();
        for id in ids {
            self.fail_serving(id, reason, Some(self.me), now);
        }
    }

    pub(super) fn serving_tick(&mut self, now: Duration) {
        self.serving.early.retain(|early| now < early.until);
        let idle =
            |serving: &&Serving| serving.in_flight == 0 && now >= serving.last_frame + SESSION_IDLE;
        let idle: Vec<SessionId> =
            self.serving.sessions.values().filter(idle).map(|s| s.session.id).collect();
        for id in idle {
            self.fail_serving(id, "nothing was asked of it for two minutes", None, now);
        }
    }
}

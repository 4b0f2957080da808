//! The node as a stage of sessions: steps come in, hidden rows or tokens go out.
//!
//! A frame is accepted only from the node that the route says sends it, and only at the position
//! that is next; anything else closes that connection. Frames can overtake the server's message
//! about their session (they come by another way), so those of unknown sessions are held back for a
//! moment.

mod session;
mod work_log;

use std::collections::HashMap;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{Session, ToServer};

use self::session::StageSession;
use super::context::Context;
use super::outbox::Event;
use super::{Action, StepRequest, StepResult};

/// All sessions that this node is a stage of.
#[derive(Debug, Default)]
pub(super) struct Stages {
    sessions: HashMap<SessionId, StageSession>,
    held_back: Vec<HeldBack>,
}

/// A step of a session that the server has not announced yet.
#[derive(Debug)]
struct HeldBack {
    from: NodeId,
    step: StepRequest,
    until: Duration,
}

/// Sessions at once. Each has a KV cache of up to the model's whole context.
const MAX_SESSIONS: usize = 64;
/// Steps held back for sessions that the server has not announced yet: a long prompt's.
const MAX_HELD_BACK: usize = 64;
/// How long they are held back; the server's message comes within a round trip.
const HOLD_BACK: Duration = Duration::from_secs(5);
/// A session without a frame for so long is forgotten: its requester is gone without a word.
const SESSION_IDLE: Duration = Duration::from_secs(120);

impl Stages {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.sessions.len()).unwrap_or(u32::MAX)
    }

    /// The layers that sessions need.
    pub(super) fn ranges(&self) -> impl Iterator<Item = LayerRange> {
        self.sessions.values().map(StageSession::layers)
    }

    /// True if `node` takes part in this session.
    pub(super) fn is_in(&self, session: SessionId, node: NodeId) -> bool {
        self.sessions.get(&session).is_some_and(|stage| stage.includes(node))
    }

    /// True if `peer` takes part in any session.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.sessions.values().any(|stage| stage.includes(peer))
    }

    /// The server made this node a stage of a session. `has_layers`: they are all in the engine.
    pub(super) fn open(&mut self, session: Session, has_layers: bool, context: &mut Context) {
        let Some(index) = session.stage_of(context.me) else { return };
        let (id, layers) = (session.id, session.stages[index].layers);
        let manifest = context.library.manifests.get(&session.model).filter(|_| has_layers);
        let refusal = match manifest {
            None => Some("it does not hold these layers any more"),
            Some(_) if self.sessions.len() >= MAX_SESSIONS => {
                Some("it serves too many sessions already")
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            let me = context.me;
            let reason = format!("{} cannot compute {layers}: {refusal}", me.name());
            let failed_node = Some(me);
            context.send_server(&ToServer::EndSession { session: id, reason, failed_node });
            return;
        }
        let (Some(manifest), false) = (manifest, self.sessions.contains_key(&id)) else { return };
        let stage = StageSession::new(session, index, manifest.config, context.now);
        for peer in [stage.requester(), stage.previous(), stage.next()] {
            context.open_peer(peer, stage.session());
        }
        self.sessions.insert(id, stage);
        context.outbox.act(Action::OpenSession { session: id, layers });
        let (ready, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held_back)
            .into_iter()
            .partition(|held| held.step.session == id);
        self.held_back = others;
        for held in ready {
            self.handle_step(held.from, held.step, context);
        }
    }

    /// A step came from a peer, or from this node itself.
    pub(super) fn handle_step(&mut self, from: NodeId, step: StepRequest, context: &mut Context) {
        let Some(stage) = self.sessions.get_mut(&step.session) else {
            if self.held_back.len() < MAX_HELD_BACK {
                let until = context.now + HOLD_BACK;
                self.held_back.push(HeldBack { from, step, until });
            }
            return;
        };
        match stage.accept(from, &step, context.now) {
            Ok(()) => context.outbox.act(Action::Compute(step)),
            Err(fault) if from == context.me => {
                self.fail(step.session, &fault.to_string(), None, context);
            }
            Err(fault) => {
                let fault = fault.to_string();
                context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
            }
        }
    }

    /// The engine is done with a step.
    pub(super) fn handle_result(&mut self, result: StepResult, context: &mut Context) {
        let StepResult { session: id, position, rows, sampling, output, elapsed: _ } = result;
        let Some(stage) = self.sessions.get_mut(&id) else { return };
        let output = match output {
            Ok(output) => output,
            Err(failure) => {
                let me = context.me;
                let reason =
                    format!("{} could not compute {}: {failure}", me.name(), stage.layers());
                self.fail(id, &reason, Some(me), context);
                return;
            }
        };
        let receipts = stage.record(rows, &output);
        match output {
            Output::Hidden(values) => {
                let hidden = PeerFrame::Hidden { session: id, position, rows, values, sampling };
                context.send_peer(stage.next(), hidden);
            }
            Output::Token(token) => {
                let position = position + rows;
                let token = PeerFrame::Token { session: id, position, token };
                context.send_peer(stage.requester(), token);
            }
            Output::Logits(_) | Output::None => {}
        }
        for receipt in receipts {
            context.outbox.raise(Event::WorkDone(receipt));
        }
    }

    /// The requester wonders whether this node is there.
    pub(super) fn handle_ping(&mut self, from: NodeId, id: SessionId, context: &mut Context) {
        if self.sessions.get(&id).is_some_and(|stage| stage.requester() == from) {
            context.send_peer(from, PeerFrame::Pong { session: id });
        }
    }

    /// The requester has the whole answer, or does not want it any more.
    pub(super) fn handle_end(&mut self, from: NodeId, id: SessionId, context: &mut Context) {
        if self.sessions.get(&id).is_some_and(|stage| stage.requester() == from) {
            self.close(id, None, context);
        }
    }

    /// Forgets a session; the work done so far is still put on a receipt.
    pub(super) fn close(&mut self, id: SessionId, reason: Option<&str>, context: &mut Context) {
        let Some(mut stage) = self.sessions.remove(&id) else { return };
        if let Some(reason) = reason {
            tracing::info!(session = %id, reason, "session ended early");
        }
        context.outbox.act(Action::CloseSession { session: id });
        context.outbox.raise(Event::SessionClosed);
        if let Some(receipt) = stage.finish() {
            context.outbox.raise(Event::WorkDone(receipt));
        }
    }

    /// Ends a session for a reason found here, and lets everyone in it know.
    fn fail(
        &mut self,
        id: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        context: &mut Context,
    ) {
        let Some(stage) = self.sessions.get(&id) else { return };
        let (requester, next) = (stage.requester(), stage.next());
        let reason = clip_reason(reason);
        let ended = ToServer::EndSession { session: id, reason: reason.clone(), failed_node };
        context.send_server(&ended);
        let failed = PeerFrame::Failed { session: id, reason: reason.clone(), failed_node };
        context.send_peer(requester, failed.clone());
        if next != requester {
            context.send_peer(next, failed);
        }
        self.close(id, Some(&reason), context);
    }

    /// This node computes nothing any more.
    pub(super) fn fail_all(&mut self, reason: &str, context: &mut Context) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.fail(id, reason, Some(context.me), context);
        }
    }

    /// Sessions that cannot go on here without `peer` fail: it asks, or stands next to this stage.
    pub(super) fn handle_peer_lost(&mut self, peer: NodeId, reason: &str, context: &mut Context) {
        let needing = self.sessions.iter().filter(|(_, stage)| stage.needs(peer));
        let ids: Vec<SessionId> = needing.map(|(id, _)| *id).collect();
        for id in ids {
            self.fail(id, reason, Some(peer), context);
        }
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now;
        self.held_back.retain(|held| now < held.until);
        let idle = self.sessions.iter().filter(|(_, stage)| stage.is_idle(now, SESSION_IDLE));
        let idle: Vec<SessionId> = idle.map(|(id, _)| *id).collect();
        for id in idle {
            self.fail(id, "nothing was asked of it for two minutes", None, context);
        }
    }
}

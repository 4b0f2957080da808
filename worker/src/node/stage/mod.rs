//! The node as a stage of sessions: steps come in, hidden rows or tokens go out.
//!
//! | file | what |
//! |---|---|
//! | `session` | one session: what it accepts, and what has not left it yet |
//! | `kept` | what is left of sessions whose requester may say more |
//! | `early` | frames that overtook the server's message about their session |
//! | `work_log` | what goes on receipts |
//! | `unsigned` | receipts that the requester does not sign |
//!
//! A frame is accepted only from the node that the route says sends it, only at the position that is
//! next, and only if it is no more than there is room for; anything else closes that connection.
//! Who sends hidden rows, and how many, is looked at before the values are decoded.

mod early;
mod kept;
mod session;
#[cfg(test)]
mod tests;
mod unsigned;
mod work_log;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_protocol::codec::{self, HiddenHeader, MAX_SESSIONS_PER_REQUESTER, clip_reason};
use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{Session, ToServer};

use self::early::EarlyFrames;
use self::kept::{KeptSession, KeptSessions};
use self::session::{StageSession, StepFault};
use super::context::Context;
use super::outbox::Event;
use super::{Action, StepInput, StepRequest, StepResult};

/// All sessions that this node is a stage of.
#[derive(Debug, Default)]
pub(super) struct Stages {
    sessions: HashMap<SessionId, StageSession>,
    early: EarlyFrames,
    kept: KeptSessions,
    /// Sessions that are over, or never began here, with their requesters; the latest last. Frames
    /// of theirs that are still under way are nobody's fault.
    over: VecDeque<(SessionId, NodeId)>,
}

/// Sessions at once. Each has a KV cache of up to the model's whole context, and a window of 256
/// rows, for the engine or for room at the next stage: 16,384 rows altogether, 128 MB of a model
/// that is 2,048 wide.
const MAX_SESSIONS: usize = 64;
/// Sessions remembered when they are over; what is under way of one arrives before so many others
/// have begun and ended.
const MAX_OVER: usize = 4 * MAX_SESSIONS;
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
        self.sessions.values().any(|stage| stage.includes(peer)) || self.kept.uses(peer)
    }

    /// The server made this node a stage of a session. `has_layers`: they are all in the engine.
    /// `earns`: the work goes on receipts. True if the session is served.
    pub(super) fn open(
        &mut self,
        session: Session,
        earns: bool,
        has_layers: bool,
        context: &mut Context,
    ) -> bool {
        let Some(index) = session.stage_of(context.me) else { return false };
        let (id, layers) = (session.id, session.stages[index].layers);
        if self.sessions.contains_key(&id) {
            return true;
        }
        let manifest = context.library.manifests.get(&session.model).filter(|_| has_layers);
        let not_granted = context.may_compute(session.model).err();
        let refusal = not_granted.map(|fault| (fault.to_string(), true));
        let manifest = match (manifest, refusal.or_else(|| self.refusal(&session))) {
            (None, _) => Err(("it does not hold these layers any more".to_owned(), true)),
            (Some(_), Some(refusal)) => Err(refusal),
            (Some(manifest), None) => Ok(manifest),
        };
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err((refusal, is_ours)) => {
                let me = context.me;
                let reason = format!("{} cannot compute {layers}: {refusal}", me.name());
                let failed_node = is_ours.then_some(me);
                context.send_server(&ToServer::EndSession {
                    session: id,
                    reason,
                    failed_node,
                    keeps: false,
                });
                self.remember(id, session.requester);
                return false;
            }
        };
        let config = manifest.config.clone();
        let kept = self.kept.take(&session, layers);
        let continues = kept.as_ref().map(|kept| kept.session.id);
        let positions = kept.map_or(0, |kept| kept.positions);
        let stage = StageSession::new(session, earns, index, (config, positions), context.now);
        for peer in [stage.requester(), stage.previous(), stage.next()] {
            context.open_peer(peer, stage.session());
        }
        self.sessions.insert(id, stage);
        context.outbox.act(Action::OpenSession { session: id, layers, continues });
        for (from, frame) in self.early.take(id) {
            self.handle_early(from, frame, context);
        }
        true
    }

    /// Why no session more is served, and whether that is for reasons of this node's own.
    fn refusal(&self, session: &Session) -> Option<(String, bool)> {
        let requester = session.requester;
        let of_requester = self.sessions.values().filter(|stage| stage.requester() == requester);
        if self.sessions.len() >= MAX_SESSIONS {
            Some(("it serves too many sessions already".to_owned(), true))
        } else if of_requester.count() >= MAX_SESSIONS_PER_REQUESTER {
            let refusal = format!(
                "{} has {MAX_SESSIONS_PER_REQUESTER} sessions there already; it has to end one",
                requester.name()
            );
            Some((refusal, false))
        } else {
            None
        }
    }

    /// Hidden rows came from a peer. They are decoded if they are what is to come next.
    pub(super) fn handle_hidden(
        &mut self,
        from: NodeId,
        header: &HiddenHeader,
        frame: Vec<u8>,
        context: &mut Context,
    ) {
        let session = header.session;
        let Some(stage) = self.sessions.get(&session) else {
            self.keep_early(from, session, frame, context.now);
            return;
        };
        if let Err(fault) = stage.check(from, header.into()) {
            self.handle_fault(from, session, fault, context);
            return;
        }
        match codec::decode_peer_frame(&frame) {
            Ok(PeerFrame::Hidden { session, position, rows, values, sampling }) => {
                let input = StepInput::Hidden(values);
                let step = StepRequest { session, position, rows, input, sampling, seen: None };
                self.handle_step(from, step, context);
            }
            // The head says what it is, so this is an error.
            unreadable => {
                let error = unreadable.err().map_or_else(String::new, |error| error.to_string());
                let fault = format!("it sent something unreadable: {error}");
                context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
            }
        }
    }

    /// Tokens came from a peer, or from this node itself.
    pub(super) fn handle_tokens(&mut self, from: NodeId, frame: PeerFrame, context: &mut Context) {
        let PeerFrame::Step { session, .. } = &frame else { return };
        if !self.sessions.contains_key(session) {
            let session = *session;
            self.keep_early(from, session, codec::encode(&frame), context.now);
            return;
        }
        let PeerFrame::Step { session, position, tokens, sampling } = frame else { return };
        let rows = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let input = StepInput::Tokens(tokens);
        let step = StepRequest { session, position, rows, input, sampling, seen: None };
        self.handle_step(from, step, context);
    }

    /// The requester tells which tokens a text has, as whoever samples has to know.
    pub(super) fn handle_seen(
        &mut self,
        from: NodeId,
        session: SessionId,
        tokens: Vec<u32>,
        context: &mut Context,
    ) {
        let Some(stage) = self.sessions.get_mut(&session) else {
            let frame = codec::encode(&PeerFrame::Seen { session, tokens });
            self.keep_early(from, session, frame, context.now);
            return;
        };
        match stage.see(from, tokens) {
            Ok(steps) if steps.is_empty() || self.is_granted(session, context) => {
                for step in steps {
                    context.outbox.act(Action::Compute(step));
                }
            }
            Ok(_) => {}
            Err(fault) => self.handle_fault(from, session, fault, context),
        }
    }

    fn keep_early(&mut self, from: NodeId, session: SessionId, frame: Vec<u8>, now: Duration) {
        if !self.is_over(session) {
            self.early.keep(from, session, frame, now);
        }
    }

    /// A frame that was kept until its session was known.
    fn handle_early(&mut self, from: NodeId, frame: Vec<u8>, context: &mut Context) {
        if let Some(header) = codec::hidden_header(&frame) {
            self.handle_hidden(from, &header, frame, context);
        } else {
            match codec::decode_peer_frame(&frame) {
                Ok(PeerFrame::Seen { session, tokens }) => {
                    self.handle_seen(from, session, tokens, context);
                }
                Ok(frame) => self.handle_tokens(from, frame, context),
                Err(_) => {}
            }
        }
    }

    /// A step of a session that is served here: computed if its volunteer's grant allows that now.
    fn handle_step(&mut self, from: NodeId, step: StepRequest, context: &mut Context) {
        let session = step.session;
        if !self.is_granted(session, context) {
            return;
        }
        let Some(stage) = self.sessions.get_mut(&session) else { return };
        let requester = stage.requester();
        let is_reachable = context.peers.is_open(requester);
        match stage.accept(from, &step, is_reachable, context.now) {
            Ok(()) if stage.is_left_unsigned() => {
                let reason = format!(
                    "{} does not sign for the work that {} did",
                    requester.name(),
                    context.me.name()
                );
                self.fail(session, &reason, None, context);
            }
            Ok(()) => {
                if let Some(step) = stage.begin(step) {
                    context.outbox.act(Action::Compute(step));
                }
            }
            Err(fault) => self.handle_fault(from, session, fault, context),
        }
    }

    /// Whether the volunteer's grant allows this session's steps now; if not, it fails.
    fn is_granted(&mut self, session: SessionId, context: &mut Context) -> bool {
        let Some(stage) = self.sessions.get(&session) else { return false };
        let Err(fault) = context.may_compute(stage.session().model) else { return true };
        let me = context.me;
        let reason = format!("{} may not compute {}: {fault}", me.name(), stage.layers());
        self.fail(session, &reason, Some(me), context);
        false
    }

    /// A step breaks the rules: whoever sent it is not listened to any more. Where nobody is at
    /// fault, or this node is, the session ends.
    fn handle_fault(
        &mut self,
        from: NodeId,
        session: SessionId,
        fault: StepFault,
        context: &mut Context,
    ) {
        let fault_text = fault.to_string();
        if fault == StepFault::Beginning || from == context.me {
            self.fail(session, &fault_text, None, context);
        } else {
            context.outbox.raise(Event::PeerMisbehaved { peer: from, fault: fault_text });
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
                // What was kept may go at any time: nobody is at fault.
                let failed_node = (!failure.is_forgotten()).then_some(me);
                self.fail(id, &reason, failed_node, context);
                return;
            }
        };
        for receipt in stage.record(rows, &output) {
            context.outbox.raise(Event::WorkDone(receipt));
        }
        match output {
            Output::Hidden(values) => {
                let hidden = PeerFrame::Hidden { session: id, position, rows, values, sampling };
                stage.push(rows, hidden);
                self.send_on(id, context);
                return;
            }
            Output::Token(token) => {
                stage.note_sampled(token);
                let position = position + rows;
                let token = PeerFrame::Token { session: id, position, token };
                context.send_from_stage(stage.requester(), token);
            }
            Output::Logits(_) | Output::None => {}
        }
        if let Some(window) = stage.leave(rows) {
            context.send_from_stage(stage.previous(), window);
        }
    }

    /// Sends rows that the next stage has room for, and gives the room that they had here back.
    fn send_on(&mut self, id: SessionId, context: &mut Context) {
        let Some(stage) = self.sessions.get_mut(&id) else { return };
        while let Some((rows, hidden)) = stage.pop() {
            context.send_from_stage(stage.next(), hidden);
            if let Some(window) = stage.leave(rows) {
                context.send_from_stage(stage.previous(), window);
            }
        }
    }

    /// Whoever takes this stage's rows has room for more. False if this is of no session with it.
    pub(super) fn handle_window(
        &mut self,
        from: NodeId,
        id: SessionId,
        rows: u32,
        context: &mut Context,
    ) -> bool {
        let Some(stage) = self.sessions.get_mut(&id) else { return self.is_over(id) };
        if stage.takes_rows() != Some(from) {
            return false;
        }
        match stage.give(rows) {
            Ok(()) => self.send_on(id, context),
            Err(fault) => {
                let fault = fault.to_string();
                context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
            }
        }
        true
    }

    /// The requester signed the receipt that ends at this position.
    pub(super) fn handle_signed(&mut self, id: SessionId, to_position: u32) {
        if let Some(stage) = self.sessions.get_mut(&id) {
            stage.sign(to_position);
        }
    }

    /// The requester wonders whether this node is there.
    pub(super) fn handle_ping(&mut self, from: NodeId, id: SessionId, context: &mut Context) {
        if self.sessions.get(&id).is_some_and(|stage| stage.requester() == from) {
            context.send_peer(from, PeerFrame::Pong { session: id });
        }
    }

    /// The requester has the whole answer, or does not want it any more. It hears when this stage is
    /// done, so that a program that asks need not wait for receipts that do not come.
    pub(super) fn handle_end(
        &mut self,
        from: NodeId,
        id: SessionId,
        keeps: bool,
        context: &mut Context,
    ) {
        if self.sessions.get(&id).is_some_and(|stage| stage.requester() == from) {
            if keeps {
                self.keep(id, context);
            } else {
                self.close(id, None, context);
            }
        } else if !keeps && self.kept.forget(id, from) {
            context.outbox.act(Action::CloseSession { session: id });
        }
        if from != context.me && self.over.contains(&(id, from)) {
            context.outbox.raise(Event::AllProposed { requester: from, session: id });
        }
    }

    /// Forgets a session; the work done so far is still put on a receipt.
    pub(super) fn close(&mut self, id: SessionId, reason: Option<&str>, context: &mut Context) {
        let Some(stage) = self.sessions.remove(&id) else { return };
        if let Some(reason) = reason {
            tracing::info!(session = %id, reason, "session ended early");
        }
        context.outbox.act(Action::CloseSession { session: id });
        self.part_with(stage, context);
    }

    /// Ends a session whose requester may say more; what it has computed stays in the engine, unless
    /// something of it is still under way.
    fn keep(&mut self, id: SessionId, context: &mut Context) {
        let settled = self.sessions.get(&id).and_then(StageSession::settled);
        let Some(positions) = settled else { return self.close(id, None, context) };
        let Some(stage) = self.sessions.remove(&id) else { return };
        context.outbox.act(Action::KeepSession { session: id });
        let (session, layers) = (stage.session().clone(), stage.layers());
        let kept = KeptSession { session, layers, positions, since: context.now };
        for session in self.kept.keep(kept) {
            context.outbox.act(Action::CloseSession { session });
        }
        self.part_with(stage, context);
    }

    /// A session is over: what it did goes on a receipt.
    fn part_with(&mut self, mut stage: StageSession, context: &mut Context) {
        let id = stage.session().id;
        self.remember(id, stage.requester());
        if let Some(receipt) = stage.finish() {
            context.outbox.raise(Event::WorkDone(receipt));
        }
        context.outbox.raise(Event::SessionClosed { session: id });
    }

    fn is_over(&self, id: SessionId) -> bool {
        self.over.iter().any(|(over, _)| *over == id)
    }

    fn remember(&mut self, id: SessionId, requester: NodeId) {
        if self.over.len() >= MAX_OVER {
            self.over.pop_front();
        }
        self.over.push_back((id, requester));
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
        let ended =
            ToServer::EndSession { session: id, reason: reason.clone(), failed_node, keeps: false };
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
        for session in self.kept.take_all() {
            context.outbox.act(Action::CloseSession { session });
        }
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
        self.early.tick(now);
        for session in self.kept.take_old(now) {
            context.outbox.act(Action::CloseSession { session });
        }
        let idle = self.sessions.iter().filter(|(_, stage)| stage.is_idle(now, SESSION_IDLE));
        let idle: Vec<SessionId> = idle.map(|(id, _)| *id).collect();
        for id in idle {
            self.fail(id, "nothing was asked of it for two minutes", None, context);
        }
    }
}

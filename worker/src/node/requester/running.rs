//! From the route to the last token.

use potluck_protocol::id::{NodeId, RequestId, SessionId};
use potluck_protocol::page::{AnswerEvent, Notice, StageView};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{Session, Stage};

use super::answer::{Answer, Pushed};
use super::feed::Feed;
use super::liveness::{Liveness, STEP_TIMEOUT, Verdict};
use super::own::{OwnSession, all_stages};
use super::signing::sign;
use super::{Phase, Requester, Running};
use crate::node::context::Context;
use crate::node::outbox::Event;
use crate::node::peers::Path;

impl Requester {
    /// Feeds everything so far to the stages of a new session, from `start` on where they have what
    /// comes before. `repeated`: events of tokens that an earlier page had.
    pub(super) fn run(
        &mut self,
        request: RequestId,
        session: Session,
        (answer, start): (Box<Answer>, u32),
        repeated: Vec<AnswerEvent>,
        context: &mut Context,
    ) {
        let (mut own, own_layers) = self.open_own(request, context).unzip();
        let Some(question) = self.questions.get_mut(&request) else { return };
        let view = |stage: Stage| StageView { node: stage.node, layers: stage.layers };
        let own_layers = own_layers.unwrap_or_default();
        let stages = all_stages(&own_layers, &session.stages, context.me);
        let route = AnswerEvent::Route {
            session: session.id.to_string(),
            stages: stages.into_iter().map(view).collect(),
            sampling: answer.sampling(),
            prompt_tokens: answer.prompt(),
            kept_tokens: start.min(answer.prompt()),
        };
        for event in std::iter::once(route).chain(repeated) {
            context.outbox.notice(Notice::Answer { request, event });
        }
        for stage in &session.stages {
            context.open_peer(stage.node, &session);
        }
        // Where this machine has the head, nobody else needs to know them.
        if let (None, Some(seen), Some(last)) = (&own, answer.seen(), session.stages.last()) {
            let tokens = seen.iter().copied().collect();
            context.send_peer(last.node, PeerFrame::Seen { session: session.id, tokens });
        }
        let mut feed = Feed::at(start);
        feed.send(&session, &answer, own.as_mut(), context);
        let liveness = Liveness::new(context.now, question.failed_attempts);
        let running = Running { session, answer, feed, proposals: Vec::new(), liveness, own };
        question.phase = Phase::Running(Box::new(running));
    }

    /// The first stage has room for more of the prompt. False if this is of no session with it.
    pub(in crate::node) fn handle_window(
        &mut self,
        from: NodeId,
        id: SessionId,
        rows: u32,
        context: &mut Context,
    ) -> bool {
        let Some(running) = self.running_mut().find(|running| running.session.id == id) else {
            return self.closed.known(id).is_some();
        };
        let Running { session, answer, feed, liveness, own, .. } = running;
        if session.stages.first().is_none_or(|first| first.node != from) {
            return false;
        }
        match feed.give(rows) {
            Ok(()) => {
                liveness.handle_progress(context.now);
                feed.send(session, answer, own.as_mut(), context);
            }
            Err(fault) => {
                let fault = fault.to_string();
                context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
            }
        }
        true
    }

    /// The last stage sampled a token.
    pub(in crate::node) fn handle_token(
        &mut self,
        from: NodeId,
        session: SessionId,
        position: u32,
        token: u32,
        context: &mut Context,
    ) {
        let Some(request) = self.request_of(session) else { return };
        let Some(question) = self.questions.get_mut(&request) else { return };
        let Phase::Running(running) = &mut question.phase else { return };
        let Running { session: route, answer, feed, own, .. } = &mut **running;
        // Where this machine has the head, nobody else draws tokens.
        let is_last_stage =
            own.is_none() && route.stages.last().is_some_and(|stage| stage.node == from);
        let is_next = position == answer.positions() && position == feed.fed();
        if !is_last_stage || !is_next || !answer.has_token(token) {
            let fault = "it sent a token that was not asked of it".to_owned();
            if from == context.me {
                self.fail_session(session, &fault, context);
            } else {
                context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
            }
            return;
        }
        self.take_token(request, token, context);
    }

    /// The next token is there, from whoever has the head.
    pub(super) fn take_token(&mut self, request: RequestId, token: u32, context: &mut Context) {
        let Some(question) = self.questions.get_mut(&request) else { return };
        let Phase::Running(running) = &mut question.phase else { return };
        let Running { session: route, answer, feed, proposals, liveness, own } = &mut **running;
        question.failed_attempts = 0;
        liveness.handle_token(context.now);
        let Pushed { text, end } = answer.push(token, context.now);
        feed.send(route, answer, own.as_mut(), context);
        if feed.handle_token() {
            for receipt in std::mem::take(proposals) {
                sign(&receipt, context);
            }
        }
        let event = AnswerEvent::Token { token, text };
        context.outbox.notice(Notice::Answer { request, event });
        if let Some(end) = end {
            self.finish(request, end, context);
        }
    }

    /// A stage of a session is there.
    pub(in crate::node) fn handle_pong(&mut self, from: NodeId, session: SessionId) {
        for running in self.running_mut().filter(|running| running.session.id == session) {
            running.liveness.handle_pong(from);
        }
    }

    /// Probes stages where no token comes, and goes on without those that do not answer.
    pub(super) fn look_after_stages(&mut self, context: &mut Context) {
        let now = context.now;
        let mut broken: Vec<(SessionId, String, Option<NodeId>)> = Vec::new();
        for Running { session, liveness, own, .. } in self.running_mut() {
            if own.as_ref().is_some_and(OwnSession::is_computing) {
                liveness.handle_progress(now); // nobody waits for others then
            }
            let path =
                |stage: &Stage| context.peers.path(stage.node).map(|path| (stage.node, path));
            let mut others: Vec<_> = session.stages.iter().filter_map(path).collect();
            // Signals come through the server: without a link, nobody can give a sign.
            others.retain(|(_, path)| *path == Path::Open || context.link.is_open());
            match liveness.tick(&others, now) {
                Verdict::Fine => {}
                Verdict::Probe(stages) => {
                    for stage in stages {
                        context.send_peer(stage, PeerFrame::Ping { session: session.id });
                    }
                }
                Verdict::Gone(stage) => {
                    let reason = format!("{} does not answer any more", stage.name());
                    broken.push((session.id, reason, Some(stage)));
                }
                // Every session with it learns of that by what follows.
                Verdict::Unreachable(stage) => {
                    context.peers.give_up(stage, &mut context.outbox);
                }
                Verdict::Late => {
                    let reason = format!("no token came for {} s", STEP_TIMEOUT.as_secs());
                    broken.push((session.id, reason, None));
                }
            }
        }
        for (session, reason, failed_node) in broken {
            self.resume(session, &reason, failed_node, context);
        }
    }
}

//! From the route to the last token.

use potluck_protocol::id::{NodeId, RequestId, SessionId};
use potluck_protocol::page::{AnswerEvent, Notice, StageView};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{Session, Stage};

use super::answer::{Answer, Pushed};
use super::feed::Feed;
use super::liveness::{Liveness, STEP_TIMEOUT, Verdict};
use super::signing::sign;
use super::{Phase, Requester, Running};
use crate::node::context::Context;
use crate::node::outbox::Event;
use crate::node::peers::Path;

impl Requester {
    /// Feeds everything so far to the stages of a new session. `repeated`: events of tokens that an
    /// earlier page had.
    pub(super) fn run(
        &mut self,
        request: RequestId,
        session: Session,
        answer: Box<Answer>,
        repeated: Vec<AnswerEvent>,
        context: &mut Context,
    ) {
        let Some(question) = self.questions.get_mut(&request) else { return };
        let view = |stage: &Stage| StageView { node: stage.node, layers: stage.layers };
        let route = AnswerEvent::Route {
            session: session.id.to_string(),
            stages: session.stages.iter().map(view).collect(),
            sampling: answer.sampling(),
            prompt_tokens: answer.prompt(),
        };
        for event in std::iter::once(route).chain(repeated) {
            context.outbox.notice(Notice::Answer { request, event });
        }
        for stage in &session.stages {
            context.open_peer(stage.node, &session);
        }
        let mut feed = Feed::new();
        feed.send(&session, &answer, context);
        let liveness = Liveness::new(context.now, question.failed_attempts);
        let running = Running { session, answer, feed, proposals: Vec::new(), liveness };
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
        let Running { session, answer, feed, liveness, .. } = running;
        if session.stages.first().is_none_or(|first| first.node != from) {
            return false;
        }
        match feed.give(rows) {
            Ok(()) => {
                liveness.handle_progress(context.now);
                feed.send(session, answer, context);
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
        let Running { session: route, answer, feed, proposals, liveness } = &mut **running;
        let is_last_stage = route.stages.last().is_some_and(|stage| stage.node == from);
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
        question.failed_attempts = 0;
        liveness.handle_token(context.now);
        let Pushed { text, end } = answer.push(token, context.now);
        feed.send(route, answer, context);
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
        for Running { session, liveness, .. } in self.running_mut() {
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

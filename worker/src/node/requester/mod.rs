//! The node as a requester: a prompt goes in, text comes out.
//!
//! ```text
//! Ask -> manifest, tokenizer -> (server) Waiting* -> Route -> steps out, tokens in -> Done
//!                                   ▲                          │
//!                                   └── a stage is gone: again, with all tokens so far
//! ```
//! Where the person chose so, this machine computes the first and last layers itself, or all of them:
//! then steps go to its own engine, and the server is asked for the layers between, or for nothing.
//!
//! | file | what |
//! |---|---|
//! | `prepare` | from a question to its route |
//! | `running` | from the route to the last token |
//! | `answer` | how far an answer has come; outlives its sessions |
//! | `feed` | how far a session has |
//! | `own` | what of an answer this very machine computes |
//! | `liveness` | stages that fall silent |
//! | `closing` | the end of a session, and what comes after it |
//! | `kept` | sessions that an answer to what is said next goes on with |
//! | `stops` | texts at which an answer ends |
//! | `signing` | receipts |
//!
//! The prompt goes out in steps of up to 128 tokens, two at once so that the stages overlap, and more
//! as the first stage gives room; then one token at a time. An answer that breaks off is asked for again, in a new session without
//! whoever it broke off at. The tokens so far are its prompt then: arithmetic is exact and sampling
//! depends on nothing but seed, position and the text, so the text goes on as if nothing had been.

mod answer;
mod closing;
mod fault;
mod feed;
mod kept;
mod liveness;
mod own;
mod prepare;
mod running;
mod signing;
mod stops;

use std::collections::BTreeMap;

use potluck_protocol::codec::MAX_EXCLUDED;
use potluck_protocol::id::{ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Ask, Failure, Notice};
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::{Session, ToServer};

use self::answer::Answer;
use self::closing::{ClosedSessions, SessionEnd};
use self::feed::Feed;
use self::kept::{KeptSession, KeptSessions};
use self::liveness::Liveness;
use self::own::{OwnEngine, OwnSession};
use self::signing::Known;
use super::context::Context;

/// The requester.
#[derive(Debug, Default)]
pub(super) struct Requester {
    questions: BTreeMap<RequestId, Question>,
    closed: ClosedSessions,
    kept: KeptSessions,
    own: OwnEngine,
}

#[derive(Debug)]
struct Question {
    ask: Ask,
    phase: Phase,
    /// Nodes that the answer broke off at, the latest last.
    exclude: Vec<NodeId>,
    /// Routes since the last token that led to none.
    failed_attempts: u32,
}

#[derive(Debug)]
enum Phase {
    /// Waiting for the link, the manifest or the tokenizer.
    Preparing(Start),
    /// The server is looking for a route.
    Waiting {
        model: ModelId,
        /// The tokens of what was said.
        prompt: Vec<u32>,
        start: Start,
        kept: Option<Box<KeptSession>>,
    },
    /// The answer is coming.
    Running(Box<Running>),
}

/// Where the next session begins.
#[derive(Debug, Default)]
enum Start {
    /// At the prompt.
    #[default]
    Prompt,
    /// Behind the tokens that an earlier session brought.
    Answer(Box<Answer>),
}

#[derive(Debug)]
struct Running {
    session: Session,
    answer: Box<Answer>,
    feed: Feed,
    /// What is right and will be signed when the session has brought a token. Each stage's continue
    /// one another and end at what was fed, and have a bound.
    proposals: Vec<Receipt>,
    liveness: Liveness,
    /// What of it this very machine computes.
    own: Option<OwnSession>,
}

/// How the session of an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Before its answer is whole.
    BrokenOff,
    /// With its answer.
    Whole,
    /// With its answer, to be gone on with.
    Kept,
}

/// Routes in a row that bring no token: then the swarm, or the question, is at fault.
const MAX_FAILED_ATTEMPTS: u32 = 5;

impl Requester {
    /// True if `node` is a stage of this running session of ours.
    pub(super) fn is_in(&self, session: SessionId, node: NodeId) -> bool {
        self.running().any(|(_, running)| running.session.id == session && running.includes(node))
    }

    /// True if `peer` is a stage of any session of ours, running or just over.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.running().any(|(_, running)| running.includes(peer))
            || self.closed.uses(peer)
            || self.kept.uses(peer)
    }

    /// True while an answer runs, or its last receipts may still come: a program that asks stays
    /// until then.
    pub(super) fn is_settling(&self) -> bool {
        !self.questions.is_empty() || self.closed.expects_receipts()
    }

    /// The person gives up on a question.
    pub(super) fn cancel(&mut self, request: RequestId, context: &mut Context) {
        let Some(question) = self.questions.get(&request) else { return };
        if matches!(question.phase, Phase::Waiting { .. }) {
            context.send_server(&ToServer::Cancel { request });
        }
        self.finish(request, AnswerEnd::Cancelled, context);
    }

    /// There will be no link to the server.
    pub(super) fn fail_all(&mut self, reason: &str, context: &mut Context) {
        let requests: Vec<RequestId> = self.questions.keys().copied().collect();
        for request in requests {
            self.fail(request, (Failure::Swarm, reason), context);
        }
    }

    /// The connection to a peer is gone: answers that it computes go on without it.
    pub(super) fn handle_peer_lost(&mut self, peer: NodeId, reason: &str, context: &mut Context) {
        self.kept.handle_peer_lost(peer, context);
        let with_it = self.running().filter(|(_, running)| running.includes(peer));
        let sessions: Vec<SessionId> = with_it.map(|(_, running)| running.session.id).collect();
        for session in sessions {
            self.resume(session, reason, Some(peer), context);
        }
    }

    /// A stage is done with a session that was ended.
    pub(super) fn handle_end(&mut self, from: NodeId, session: SessionId) {
        self.closed.handle_end(from, session);
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        self.look_after_stages(context);
        self.tidy_own(context);
        self.closed.tick(context.now);
        self.kept.tick(context.now);
    }

    /// A session of ours cannot go on: its answer does in another, without the failed node, if one
    /// is known and can be spared.
    pub(super) fn resume(
        &mut self,
        session: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
        context: &mut Context,
    ) {
        let Some(request) = self.request_of(session) else { return };
        let Some(question) = self.questions.get_mut(&request) else { return };
        if matches!(&question.phase, Phase::Running(running) if running.is_alone()) {
            return; // nobody else has to do with it
        }
        question.failed_attempts += 1;
        if question.failed_attempts > MAX_FAILED_ATTEMPTS {
            return self.fail_session(session, reason, context);
        }
        if let Some(failed_node) = failed_node.filter(|failed_node| *failed_node != context.me) {
            question.exclude.retain(|excluded| *excluded != failed_node);
            question.exclude.push(failed_node);
            if question.exclude.len() > MAX_EXCLUDED {
                question.exclude.remove(0);
            }
        }
        let phase = std::mem::replace(&mut question.phase, Phase::Preparing(Start::Prompt));
        let Phase::Running(running) = phase else { return };
        let Running { session, answer, feed, own, .. } = *running;
        own.iter().for_each(|own| own.close(context));
        tracing::info!(session = %session.id, reason, "an answer goes on elsewhere");
        let prompt = answer.prompt();
        question.phase = Phase::Preparing(Start::Answer(answer));
        let event = AnswerEvent::Resuming { reason: reason.to_owned() };
        context.outbox.notice(Notice::Answer { request, event });
        let end = SessionEnd { reason, failed_node, is_whole: false, keeps: false };
        self.closed.close(session, prompt, &feed, &end, context);
        self.prepare(request, context);
    }

    /// Whoever is at fault is here, so no other session would do better.
    fn fail_session(&mut self, session: SessionId, reason: &str, context: &mut Context) {
        let Some(request) = self.request_of(session) else { return };
        let reason = format!(
            "the answer stopped: {reason}. The text so far is kept; ask again to get a whole one"
        );
        self.fail(request, (Failure::Swarm, &reason), context);
    }

    fn fail(&mut self, request: RequestId, (kind, reason): (Failure, &str), context: &mut Context) {
        let Some(question) = self.questions.remove(&request) else { return };
        let event = AnswerEvent::Failed { kind, reason: reason.to_owned() };
        context.outbox.notice(Notice::Answer { request, event });
        self.close(question.phase, reason, Ending::BrokenOff, context);
        self.tidy_own(context);
    }

    fn finish(&mut self, request: RequestId, end: AnswerEnd, context: &mut Context) {
        let Some(question) = self.questions.remove(&request) else { return };
        let event = match &question.phase {
            Phase::Preparing(Start::Answer(answer))
            | Phase::Waiting { start: Start::Answer(answer), .. } => answer.done(end, context.now),
            Phase::Running(running) => running.answer.done(end, context.now),
            Phase::Preparing(Start::Prompt) | Phase::Waiting { start: Start::Prompt, .. } => {
                AnswerEvent::Done { end, first_token_ms: 0, decode_ms: 0, tokens: 0 }
            }
        };
        context.outbox.notice(Notice::Answer { request, event });
        let ending = match end {
            AnswerEnd::Cancelled => Ending::BrokenOff,
            _ if question.ask.keeps => Ending::Kept,
            _ => Ending::Whole,
        };
        self.close(question.phase, "the answer is whole", ending, context);
        self.tidy_own(context);
    }

    /// Ends the session of a question that is over, if it has one.
    fn close(&mut self, phase: Phase, reason: &str, ending: Ending, context: &mut Context) {
        let running = match phase {
            Phase::Running(running) => running,
            Phase::Waiting { kept: Some(kept), .. } => return kept.forget(context),
            Phase::Preparing(_) | Phase::Waiting { .. } => return,
        };
        let Running { session, answer, feed, own, .. } = *running;
        own.iter().for_each(|own| own.close(context));
        // What this machine computes itself is not kept, and the others' part is of no use without it.
        let is_settled = own.is_none() && feed.fed() == answer.positions();
        let keeps = ending == Ending::Kept && is_settled && !session.stages.is_empty();
        let is_whole = ending != Ending::BrokenOff;
        let end = SessionEnd { reason, failed_node: None, is_whole, keeps };
        let prompt = answer.prompt();
        if keeps {
            let (tokens, since) = (answer.tokens().to_vec(), context.now);
            let kept = KeptSession { session: session.clone(), tokens, since };
            self.kept.keep(kept, context);
        }
        self.closed.close(session, prompt, &feed, &end, context);
    }

    /// What is known of a session of ours, running or just over.
    fn known(&self, session: SessionId) -> Option<Known<'_>> {
        let running = self.running().find(|(_, running)| running.session.id == session);
        let known = running.map(|(_, Running { session, answer, feed, .. })| Known {
            session,
            start: feed.start(),
            fed: feed.fed(),
            prompt: answer.prompt(),
            has_token: feed.has_token(),
        });
        known.or_else(|| self.closed.known(session))
    }

    fn running(&self) -> impl Iterator<Item = (RequestId, &Running)> {
        self.questions.iter().filter_map(|(request, question)| match &question.phase {
            Phase::Running(running) => Some((*request, &**running)),
            Phase::Preparing(_) | Phase::Waiting { .. } => None,
        })
    }

    fn running_mut(&mut self) -> impl Iterator<Item = &mut Running> {
        self.questions.values_mut().filter_map(|question| match &mut question.phase {
            Phase::Running(running) => Some(&mut **running),
            Phase::Preparing(_) | Phase::Waiting { .. } => None,
        })
    }

    fn request_of(&self, session: SessionId) -> Option<RequestId> {
        self.running()
            .find(|(_, running)| running.session.id == session)
            .map(|(request, _)| request)
    }
}

impl Running {
    /// True if all of it is computed on this machine.
    fn is_alone(&self) -> bool {
        self.session.stages.is_empty()
    }

    fn includes(&self, node: NodeId) -> bool {
        self.session.stages.iter().any(|stage| stage.node == node)
    }
}

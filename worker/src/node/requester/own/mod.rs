//! The part of its own answers that a requester computes on its own machine: the first and the last
//! layers, or all of them (`docs/privacy.md`).
//!
//! | file | what |
//! |---|---|
//! | `parts` | which layers, and what they take |
//! | `engine` | the engine for it, and what is in it |
//! | `session` | one session: tokens in, rows out and back, tokens out |
//!
//! The person's choice is the yes to it, for that question: nothing is fetched or computed here without
//! a question that wants it. Nobody is credited for it.

mod engine;
mod parts;
mod session;

use std::collections::{BTreeMap, BTreeSet};

use potluck_engine::engine::Output;
use potluck_model::package::BlobRole;
use potluck_protocol::codec::{self, HiddenHeader};
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use potluck_protocol::page::{AnswerEvent, Ask, Failure, Notice};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::sampling::Sampling;
use potluck_protocol::server::{Session, Stage};

pub(super) use self::engine::OwnEngine;
use self::parts::Parts;
pub(super) use self::session::OwnSession;
use super::fault::QuestionFault;
use super::prepare::find_model;
use super::{Phase, Question, Requester, Running};
use crate::failure::LoadFailure;
use crate::node::context::{Context, Library};
use crate::node::outbox::Event;
use crate::node::{MachineEvent, StepResult};

/// Who computes what this machine does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Everything.
    All,
    /// These layers.
    Middle(LayerRange),
    /// Nothing.
    None,
}

/// What others are told of how a token is drawn, where they do not draw it: nothing.
const UNSAID: Sampling = Sampling {
    temperature_milli: 0,
    top_k: 0,
    top_p_milli: 1000,
    repetition_penalty_milli: 1000,
    seed: 0,
};

/// The own parts of a question; none if all of it is others'.
fn own_parts(ask: &Ask, library: &Library) -> Result<Option<(ModelId, Parts)>, QuestionFault> {
    let Some(own) = &ask.own else { return Ok(None) };
    let model = find_model(ask, library)?;
    let manifest = library.manifests.get(&model).ok_or(QuestionFault::NotReady)?;
    Ok(Some((model, Parts::new(own, manifest)?)))
}

/// The layers that others compute of a question; none if nobody does.
pub(super) fn layers_of_others(ask: &Ask, model: ModelId, library: &Library) -> Option<LayerRange> {
    match own_parts(ask, library) {
        Ok(Some((_, parts))) => parts.middle(),
        Ok(None) => LayerRange::new(0, library.manifests.get(&model)?.config.layers),
        Err(_) => None,
    }
}

impl Requester {
    /// Gets this machine ready for its part in an answer. Who computes the rest, once it is; `None`
    /// until then.
    pub(super) fn prepare_own(
        &mut self,
        request: RequestId,
        context: &mut Context,
    ) -> Result<Option<Others>, QuestionFault> {
        let Some(Question { ask, .. }) = self.questions.get(&request) else { return Ok(None) };
        let library = &context.library;
        let (Some(own), Some((model, parts))) = (ask.own, own_parts(ask, library)?) else {
            return Ok(Some(Others::All));
        };
        // Questions at once share one engine, and what it holds.
        let mut blobs: BTreeMap<_, _> = parts.blobs.clone();
        for other in self.questions.values() {
            match own_parts(&other.ask, library) {
                Ok(Some((of, _))) if of != model => return Err(QuestionFault::OtherModel),
                Ok(Some((_, parts))) => blobs.extend(parts.blobs),
                Ok(None) | Err(_) => {}
            }
        }
        let needed = blobs.values().map(|blob| blob.size_bytes).sum();
        if needed > own.memory_bytes {
            let model =
                library.manifests.get(&model).map_or_else(String::new, |it| it.name.clone());
            return Err(QuestionFault::NoMemory { model, needed, given: own.memory_bytes });
        }
        let (bytes, loaded_bytes) = (parts.bytes(), self.own.loaded_bytes(model, &parts));
        if loaded_bytes < bytes {
            let event = AnswerEvent::Own { layers: parts.ranges(), bytes, loaded_bytes };
            context.outbox.notice(Notice::Answer { request, event });
        }
        let is_ready = self.own.prepare(model, &parts, own.backend, context);
        let others = parts.middle().map_or(Others::None, Others::Middle);
        Ok(is_ready.then_some(others))
    }

    /// The own part in a session of this question, if it has one.
    pub(super) fn open_own(
        &mut self,
        request: RequestId,
        context: &mut Context,
    ) -> Option<(OwnSession, Vec<LayerRange>)> {
        let Question { ask, .. } = self.questions.get(&request)?;
        let (model, parts) = own_parts(ask, &context.library).ok().flatten()?;
        let d_model = context.library.manifests.get(&model)?.config.d_model;
        let session = OwnSession::open(&parts, d_model, &mut self.own, context);
        Some((session, parts.ranges()))
    }

    /// A session that nobody else is in.
    pub(super) fn session_alone(&mut self, model: ModelId, context: &Context) -> Session {
        let (id, epochs) = (self.own.name(), vec![Epoch(0)]);
        Session { id, model, requester: context.me, stages: Vec::new(), epochs, continues: None }
    }

    /// The engine for own questions has something to say.
    pub(in crate::node) fn handle_own(&mut self, event: MachineEvent, context: &mut Context) {
        match event {
            MachineEvent::EngineReady(_) => {
                self.own.handle_ready();
                self.prepare_all(context);
            }
            MachineEvent::EngineFailed { reason } => {
                self.own.handle_failed();
                let reason =
                    format!("this machine cannot compute its part of the answer: {reason}");
                self.fail_own(|_| true, &reason, context);
            }
            MachineEvent::Loaded { model, role, result } => {
                self.handle_own_loaded(model, role, result, context);
            }
            MachineEvent::Computed(result) => self.handle_own_result(result, context),
            // Of manifests and tokenizers the node's other machine tells, and of the day's bytes the
            // volunteer hears.
            MachineEvent::EngineReplaced(_)
            | MachineEvent::Manifest { .. }
            | MachineEvent::Tokenizer { .. }
            | MachineEvent::Progress { .. }
            | MachineEvent::Fetched { .. }
            | MachineEvent::KeptBudget { .. } => {}
        }
    }

    fn handle_own_loaded(
        &mut self,
        model: ModelId,
        role: BlobRole,
        result: Result<(), LoadFailure>,
        context: &mut Context,
    ) {
        if !self.own.handle_loaded(model, role, result.is_ok()) {
            return;
        }
        match result {
            Ok(()) => self.prepare_all(context),
            // The store has tried several times by then.
            Err(failure) => {
                let reason = format!(
                    "this machine could not get its part of the model: {failure}. Ask again, or let \
                     the swarm compute all of it"
                );
                let waits = |question: &Question| matches!(question.phase, Phase::Preparing(_));
                self.fail_own(waits, &reason, context);
            }
        }
    }

    /// Fails the questions with an own part that are meant.
    fn fail_own(
        &mut self,
        is_meant: impl Fn(&Question) -> bool,
        reason: &str,
        context: &mut Context,
    ) {
        let of_own = |question: &Question| question.ask.own.is_some() && is_meant(question);
        let meant = self.questions.iter().filter(|(_, question)| of_own(question));
        let requests: Vec<RequestId> = meant.map(|(request, _)| *request).collect();
        for request in requests {
            self.fail(request, (Failure::Question, reason), context);
        }
    }

    /// Holds and fetches nothing that no question needs.
    pub(super) fn tidy_own(&mut self, context: &mut Context) {
        if !self.own.is_on() {
            return;
        }
        let asks = self.questions.values().map(|question| &question.ask);
        let needed = asks.filter(|ask| ask.own.is_some()).fold(None, |needed, ask| {
            let mut needed: BTreeSet<BlobRole> = needed.unwrap_or_default();
            let parts = own_parts(ask, &context.library).ok().flatten();
            needed.extend(parts.into_iter().flat_map(|(_, parts)| parts.blobs.into_keys()));
            Some(needed)
        });
        self.own.tidy(needed.as_ref(), context);
    }

    /// A step of an own part came out of the engine.
    fn handle_own_result(&mut self, result: StepResult, context: &mut Context) {
        let StepResult { session: name, position, rows, sampling, output, elapsed: _ } = result;
        let of_own = |running: &Running| running.own.as_ref().is_some_and(|own| own.has(name));
        let found = self.running().find(|(_, running)| of_own(running));
        let Some(request) = found.map(|(request, _)| request) else { return };
        let Some(Question { phase: Phase::Running(running), .. }) =
            self.questions.get_mut(&request)
        else {
            return;
        };
        let Running { session, answer, feed, liveness, own, .. } = &mut **running;
        let Some(own) = own else { return };
        let id = session.id;
        own.handle_result();
        liveness.handle_progress(context.now);
        let output = match output {
            Ok(output) => output,
            Err(failure) => {
                let reason = format!("this machine could not compute its part of it: {failure}");
                return self.fail_session(id, &reason, context);
            }
        };
        if let Output::Hidden(values) = output {
            if let Some(first) = session.stages.first().filter(|_| own.is_before_others(name)) {
                let sampling = sampling.map(|_| UNSAID);
                let hidden = PeerFrame::Hidden { session: id, position, rows, values, sampling };
                context.send_peer(first.node, hidden);
            }
            return;
        }
        if !own.has_others() {
            // As many as it took.
            let _ = feed.give(rows);
        } else if let Some(rows) = own.leave(rows)
            && let Some(last) = session.stages.last()
        {
            context.send_peer(last.node, PeerFrame::Window { session: id, rows });
        }
        match output {
            Output::Token(token) => self.take_token(request, token, context),
            _ if !own.has_others() => feed.send(session, answer, Some(own), context),
            _ => {}
        }
    }

    /// True if rows of this session that `from` sends are for the own last layers.
    pub(in crate::node) fn awaits_rows(&self, session: SessionId, from: NodeId) -> bool {
        self.known(session).is_some_and(|known| {
            let stages = &known.session.stages;
            stages.first().is_some_and(|first| first.layers.first > 0)
                && stages.last().is_some_and(|last| last.node == from)
        })
    }

    /// Rows came back from the last of the others. They are decoded if they are those to come.
    pub(in crate::node) fn handle_rows(
        &mut self,
        from: NodeId,
        header: &HiddenHeader,
        frame: &[u8],
        context: &mut Context,
    ) {
        let running = self.running_mut().find(|running| running.session.id == header.session);
        // One that is just over has some under way.
        let Some(Running { answer, feed, liveness, own: Some(own), .. }) = running else { return };
        let fault = match own.check(header, feed.fed()) {
            Err(fault) => fault.to_string(),
            Ok(()) => match codec::decode_peer_frame(frame) {
                Ok(PeerFrame::Hidden { values, .. }) => {
                    liveness.handle_progress(context.now);
                    // As this node has it, whatever the frame says.
                    let is_last = header.position + header.rows == answer.positions();
                    let sampling = is_last.then_some(answer.sampling());
                    return own.take(header, values, sampling, answer.seen(), context);
                }
                Ok(_) => "it sent something else than rows".to_owned(),
                Err(error) => format!("it sent something unreadable: {error}"),
            },
        };
        context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
    }
}

/// Who computes a session, for people: others, and this node before and behind them.
pub(super) fn all_stages(own: &[LayerRange], stages: &[Stage], me: NodeId) -> Vec<Stage> {
    let own = own.iter().map(|layers| Stage { node: me, layers: *layers });
    let mut all: Vec<Stage> = own.chain(stages.iter().cloned()).collect();
    all.sort_by_key(|stage| stage.layers.first);
    all
}

//! From a question to its route: is it one, is everything here that it needs, who computes it.

use potluck_model::chat::LocalTime;
use potluck_model::package::Manifest;
use potluck_protocol::chat::{MAX_STOP_BYTES, MAX_STOPS};
use potluck_protocol::codec::{MAX_POSITIONS, clip_reason};
use potluck_protocol::id::{LayerRange, ModelId, RequestId};
use potluck_protocol::page::{AnswerEvent, Ask, Failure, Notice};
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI,
};
use potluck_protocol::server::{Session, ToServer};

use super::answer::Answer;
use super::fault::{MAX_QUESTIONS, MAX_SEED, QuestionFault};
use super::own::{Others, layers_of_others};
use super::{Phase, Question, Requester, Start};
use crate::node::Action;
use crate::node::context::{Context, Library};

impl Requester {
    /// The person asks.
    pub(in crate::node) fn ask(&mut self, ask: Ask, context: &mut Context) {
        let request = ask.request;
        if let Err(fault) = self.check(&ask, context) {
            let (kind, reason) = (fault.kind(), fault.to_string());
            let event = AnswerEvent::Failed { kind, reason };
            context.outbox.notice(Notice::Answer { request, event });
            return;
        }
        let phase = Phase::Preparing(Start::Prompt);
        let question = Question { ask, phase, exclude: Vec::new(), failed_attempts: 0 };
        self.questions.insert(request, question);
        self.prepare(request, context);
    }

    fn check(&self, ask: &Ask, context: &Context) -> Result<(), QuestionFault> {
        let temperatures = MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI;
        let sampling = &ask.sampling;
        if self.questions.len() >= MAX_QUESTIONS {
            return Err(QuestionFault::TooMany);
        } else if self.questions.contains_key(&ask.request) {
            return Err(QuestionFault::Repeated);
        } else if ask.stops.len() > MAX_STOPS
            || ask.stops.iter().any(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
        {
            return Err(QuestionFault::Stops);
        } else if sampling.seed > MAX_SEED {
            return Err(QuestionFault::Seed { seed: sampling.seed });
        } else if ask.max_tokens == Some(0) {
            return Err(QuestionFault::NoTokens);
        } else if context.link.is_off() {
            return Err(QuestionFault::NotConnected);
        }
        ask.conversation.check()?;
        let penalties = MIN_REPETITION_PENALTY_MILLI..=MAX_REPETITION_PENALTY_MILLI;
        let penalty = sampling.repetition_penalty_milli;
        match (sampling.temperature_milli, sampling.top_p_milli, penalty) {
            (Some(milli), ..) if milli != 0 && !temperatures.contains(&milli) => {
                Err(QuestionFault::Temperature { milli })
            }
            (_, Some(milli), _) if !(1..=1000).contains(&milli) => Err(QuestionFault::TopP),
            (.., Some(milli)) if !penalties.contains(&milli) => {
                Err(QuestionFault::RepetitionPenalty { milli })
            }
            _ => Ok(()),
        }
    }

    /// Takes a question one step further: model, manifest, tokenizer, this machine's own part if it
    /// has one, then to the server.
    pub(super) fn prepare(&mut self, request: RequestId, context: &mut Context) {
        let Some(question) = self.questions.get_mut(&request) else { return };
        let Phase::Preparing(_) = &question.phase else { return };
        if !context.link.is_open() {
            return;
        }
        let model = match find_model(&question.ask, &context.library) {
            Ok(model) => model,
            Err(fault) => return self.fail(request, (fault.kind(), &fault.to_string()), context),
        };
        let Some(manifest) = context.library.manifests.get(&model) else {
            context.outbox.act(Action::FetchManifest { model });
            return;
        };
        if !context.library.tokenizers.contains_key(&model) {
            let blob = manifest.tokenizer;
            context.outbox.act(Action::FetchTokenizer { model, blob });
            return;
        }
        if question.ask.counts_only {
            match encoded(&question.ask, model, &context.library) {
                Ok((tokens, _)) => self.count(request, tokens.len(), context),
                Err(fault) => self.fail(request, (fault.kind(), &fault.to_string()), context),
            }
            return;
        }
        let prompt = match prompt_tokens(&question.ask, model, &context.library) {
            Ok(tokens) => tokens,
            Err(fault) => return self.fail(request, (fault.kind(), &fault.to_string()), context),
        };
        let others = match self.prepare_own(request, context) {
            Ok(Some(others)) => others,
            Ok(None) => return,
            Err(fault) => return self.fail(request, (fault.kind(), &fault.to_string()), context),
        };
        let Some(question) = self.questions.get_mut(&request) else { return };
        let Phase::Preparing(start) = &mut question.phase else { return };
        let start = std::mem::take(start);
        // An answer that broke off goes on without what its stages had.
        let is_first = matches!(start, Start::Prompt) && question.ask.own.is_none();
        let kept = is_first.then(|| [&prompt[..], &question.ask.sampled].concat());
        let kept = kept.and_then(|tokens| self.kept.take(model, &tokens)).map(Box::new);
        let continues = kept.as_ref().map(|kept| kept.session.id);
        question.phase = Phase::Waiting { model, prompt, start, kept };
        let exclude = question.exclude.clone();
        match others {
            Others::All => {
                context.send_server(&ToServer::Ask { request, model, exclude, continues })
            }
            Others::Middle(layers) => {
                let continues = None;
                let ask = ToServer::AskMiddle { request, model, exclude, layers, continues };
                context.send_server(&ask);
            }
            Others::None => {
                let session = self.session_alone(model, context);
                self.handle_route(request, session, context);
            }
        }
    }

    /// So many tokens is all that was wanted to be known.
    fn count(&mut self, request: RequestId, tokens: usize, context: &mut Context) {
        self.questions.remove(&request);
        let event = AnswerEvent::Counted { tokens: u32::try_from(tokens).unwrap_or(u32::MAX) };
        context.outbox.notice(Notice::Answer { request, event });
    }

    /// A manifest or a tokenizer came, or could not be had: questions for that model go on, or
    /// fail.
    pub(in crate::node) fn handle_description(
        &mut self,
        model: ModelId,
        failure: Option<&str>,
        context: &mut Context,
    ) {
        let needs_it = |question: &Question| {
            matches!(question.phase, Phase::Preparing(_))
                && find_model(&question.ask, &context.library).is_ok_and(|needed| needed == model)
        };
        let needing = self.questions.iter().filter(|(_, question)| needs_it(question));
        let requests: Vec<RequestId> = needing.map(|(request, _)| *request).collect();
        for request in requests {
            match failure {
                Some(reason) => {
                    let reason = format!("could not get the model's description: {reason}");
                    self.fail(request, (Failure::Swarm, &reason), context);
                }
                None => self.prepare(request, context),
            }
        }
    }

    /// The server has welcomed this node.
    pub(in crate::node) fn handle_link_open(&mut self, context: &mut Context) {
        self.prepare_all(context);
    }

    /// Takes every question one step further that can go one.
    pub(super) fn prepare_all(&mut self, context: &mut Context) {
        let requests: Vec<RequestId> = self.questions.keys().copied().collect();
        for request in requests {
            self.prepare(request, context);
        }
    }

    /// Questions without a route are asked again when the link is back; running answers go on
    /// without the server.
    pub(in crate::node) fn handle_link_lost(&mut self, context: &mut Context) {
        for question in self.questions.values_mut() {
            if let Phase::Waiting { start, kept, .. } = &mut question.phase {
                // The server was told what to go on with, and does not know it twice.
                kept.take().into_iter().for_each(|kept| kept.forget(context));
                question.phase = Phase::Preparing(std::mem::take(start));
            }
        }
    }

    /// The server has no route yet.
    pub(in crate::node) fn handle_waiting(
        &mut self,
        request: RequestId,
        missing: Vec<LayerRange>,
        context: &mut Context,
    ) {
        let Some(Question { phase: Phase::Waiting { model, .. }, .. }) =
            self.questions.get(&request)
        else {
            return;
        };
        let manifest = context.library.manifests.get(model);
        let model = manifest.map_or_else(String::new, |manifest| manifest.name.clone());
        let event = AnswerEvent::Waiting { model, missing };
        context.outbox.notice(Notice::Answer { request, event });
    }

    /// The server will never have a route.
    pub(in crate::node) fn handle_refused(
        &mut self,
        request: RequestId,
        reason: &str,
        context: &mut Context,
    ) {
        if let Some(Question { phase: Phase::Waiting { .. }, .. }) = self.questions.get(&request) {
            self.fail(request, (Failure::Swarm, reason), context);
        }
    }

    /// The server has a route.
    pub(in crate::node) fn handle_route(
        &mut self,
        request: RequestId,
        session: Session,
        context: &mut Context,
    ) {
        let refused = |reason: &str| ToServer::EndSession {
            session: session.id,
            reason: clip_reason(reason),
            failed_node: None,
            keeps: false,
        };
        let question = self.questions.get_mut(&request).filter(|question| {
            matches!(&question.phase, Phase::Waiting { model, .. } if *model == session.model)
        });
        let Some(question) = question.filter(|_| session.requester == context.me) else {
            context.send_server(&refused("the question was withdrawn"));
            return;
        };
        if route_layers(&session)
            != layers_of_others(&question.ask, session.model, &context.library)
        {
            let fault = QuestionFault::OtherLayers.to_string();
            context.send_server(&refused(&fault));
            return self.fail(request, (Failure::Swarm, &fault), context);
        }
        let Phase::Waiting { prompt, start, kept, .. } = &mut question.phase else { return };
        let (prompt, start, kept) = (std::mem::take(prompt), std::mem::take(start), kept.take());
        let kept = match kept {
            Some(kept) if session.continues == Some(kept.session.id) => Some(kept),
            Some(unused) => {
                unused.forget(context);
                None
            }
            None => None,
        };
        let begun = match start {
            Start::Answer(answer) => Ok((answer, Vec::new())),
            Start::Prompt => begin(&question.ask, prompt, session.model, context),
        };
        match begun {
            Ok((answer, repeated)) => {
                let start = kept.map_or(0, |kept| kept.shared(answer.tokens()));
                self.run(request, session, (answer, start), repeated, context);
            }
            Err(fault) => {
                if !session.stages.is_empty() {
                    context.send_server(&refused(&fault.to_string()));
                }
                self.fail(request, (fault.kind(), &fault.to_string()), context);
            }
        }
    }
}

/// The layers that a route is through, which follow one another.
fn route_layers(session: &Session) -> Option<LayerRange> {
    let (first, last) = (session.stages.first()?, session.stages.last()?);
    LayerRange::new(first.layers.first, last.layers.end)
}

/// The first route: from here on there is something to lose.
fn begin(
    ask: &Ask,
    prompt: Vec<u32>,
    model: ModelId,
    context: &Context,
) -> Result<(Box<Answer>, Vec<AnswerEvent>), QuestionFault> {
    let library = &context.library;
    let manifest = library.manifests.get(&model).ok_or(QuestionFault::NotReady)?;
    let tokenizer = library.tokenizers.get(&model).ok_or(QuestionFault::NotReady)?;
    let (answer, repeated) = Answer::begin(ask, prompt, manifest, tokenizer, context.now)?;
    Ok((Box::new(answer), repeated))
}

/// The model that a question is for.
pub(super) fn find_model(ask: &Ask, library: &Library) -> Result<ModelId, QuestionFault> {
    let wanted = ask.model.as_deref();
    if let Some(model) = library.find(wanted) {
        return Ok(model.id);
    }
    let Some(wanted) = wanted else { return Err(QuestionFault::NoModels) };
    let known: Vec<&str> = library.models.iter().map(|model| model.name.as_str()).collect();
    Err(QuestionFault::NoSuchModel { wanted: wanted.to_owned(), known: known.join(", ") })
}

fn prompt_tokens(ask: &Ask, model: ModelId, library: &Library) -> Result<Vec<u32>, QuestionFault> {
    let (tokens, manifest) = encoded(ask, model, library)?;
    let limit = manifest.config.max_positions.min(MAX_POSITIONS) as usize;
    if tokens.len() >= limit {
        let model = manifest.name.clone();
        return Err(QuestionFault::TooManyTokens { tokens: tokens.len(), model, limit });
    }
    Ok(tokens)
}

/// The tokens of what was said, however many.
fn encoded<'a>(
    ask: &Ask,
    model: ModelId,
    library: &'a Library,
) -> Result<(Vec<u32>, &'a Manifest), QuestionFault> {
    let manifest = library.manifests.get(&model).ok_or(QuestionFault::NotReady)?;
    let tokenizer = library.tokenizers.get(&model).ok_or(QuestionFault::NotReady)?;
    let now = LocalTime(ask.asked_at_s);
    Ok((tokenizer.encode_chat(&manifest.chat, &ask.conversation, now)?, manifest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use potluck_protocol::chat::Conversation;
    use potluck_protocol::identity::Identity;
    use potluck_protocol::page::SamplingChoice;

    use super::*;

    #[test]
    fn a_question_that_the_server_refuses_fails_with_its_reason() {
        let mut context = Context::new(Identity::from_seed(&[1; 32]));
        context.now = Duration::ZERO;
        let mut requester = Requester::default();
        for (request, phase) in [
            (RequestId(1), Phase::Preparing(Start::Prompt)),
            (
                RequestId(2),
                Phase::Waiting {
                    model: ModelId([1; 32]),
                    prompt: Vec::new(),
                    start: Start::Prompt,
                    kept: None,
                },
            ),
        ] {
            let ask = Ask {
                request,
                model: None,
                conversation: Conversation::question("a question"),
                asked_at_s: 0,
                sampling: SamplingChoice::default(),
                max_tokens: None,
                sampled: Vec::new(),
                own: None,
                stops: Vec::new(),
                keeps: false,
                counts_only: false,
            };
            let question = Question { ask, phase, exclude: Vec::new(), failed_attempts: 0 };
            requester.questions.insert(request, question);
        }
        requester.handle_refused(RequestId(1), "it waits for nothing", &mut context);
        assert!(context.outbox.actions.is_empty(), "a question that was not asked yet goes on");
        requester.handle_refused(RequestId(2), "nobody computes this model", &mut context);
        let failed = |action: &Action| {
            matches!(action, Action::Notice(Notice::Answer {
                request: RequestId(2),
                event: AnswerEvent::Failed { reason, .. },
            }) if reason == "nobody computes this model")
        };
        assert!(context.outbox.actions.iter().any(failed), "{:?}", context.outbox.actions);
        assert_eq!(requester.questions.len(), 1);
    }
}

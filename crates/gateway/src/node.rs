//! The node behind the gateway: questions go out to it, and what it reports finds its question again.
//! Whoever drops an [`Answer`] before its end has its question cancelled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc as commands;
use potluck_protocol::id::RequestId;
use potluck_protocol::page::{
    AnswerEnd, AnswerEvent, Ask, Command, Failure, Link, Notice, SamplingChoice,
};
use potluck_protocol::sampling::Sampling;
use potluck_protocol::server::ModelSummary;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::question::{Choices, Question};

pub use potluck_protocol::page::Own;

/// Questions that the node answers at once; a server gives one requester no more sessions.
const MAX_AT_ONCE: usize = potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;
/// Questions that wait for one of these to end. Beyond it, clients are told to come back.
const MAX_WAITING: usize = 64;
/// How long a question may be without anybody who computes it, at its beginning or when somebody is
/// gone, before its client is told why.
const MAX_WITHOUT_ROUTE: Duration = Duration::from_secs(30);

/// The swarm, as far as a gateway has to do with it. Its clones are the same one.
#[derive(Clone, Debug)]
pub struct Swarm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    commands: commands::UnboundedSender<Command>,
    own: Option<Own>,
    /// Seconds since 1970 as a clock on the wall shows them.
    local_time_s: fn() -> i64,
    next: AtomicU32,
    answers: Mutex<HashMap<RequestId, mpsc::UnboundedSender<AnswerEvent>>>,
    models: Mutex<Vec<ModelSummary>>,
    /// Why there is no connection to the server, if there is none.
    trouble: Mutex<Option<String>>,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    metrics: Metrics,
}

/// An answer as it comes.
#[derive(Debug)]
pub(crate) struct Answer {
    swarm: Swarm,
    request: RequestId,
    events: mpsc::UnboundedReceiver<AnswerEvent>,
    /// When its client is told that nobody computes it; none while somebody does.
    deadline: Option<Instant>,
    /// Why nobody does.
    missing: Option<String>,
    is_over: bool,
    tokens: u32,
    _place: OwnedSemaphorePermit,
}

/// What is known of an answer once somebody computes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) prompt_tokens: u32,
    /// Of these, what was computed before.
    pub(crate) kept_tokens: u32,
    pub(crate) sampling: Sampling,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text, of one token.
    Text(String),
    /// It is whole.
    End(AnswerEnd),
}

impl Swarm {
    /// A swarm whose node takes commands from `commands`. What it reports goes to [`Self::handle`].
    #[must_use]
    pub fn new(
        commands: commands::UnboundedSender<Command>,
        own: Option<Own>,
        local_time_s: fn() -> i64,
    ) -> Self {
        Self(Arc::new(Inner {
            commands,
            own,
            local_time_s,
            next: AtomicU32::new(0),
            answers: Mutex::default(),
            models: Mutex::default(),
            trouble: Mutex::new(Some("it is being opened".to_owned())),
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            waiting: AtomicUsize::new(0),
            metrics: Metrics::default(),
        }))
    }

    /// The node reports something.
    pub fn handle(&self, notice: Notice) {
        match notice {
            Notice::Answer { request, event } => {
                let is_last = matches!(
                    event,
                    AnswerEvent::Done { .. }
                        | AnswerEvent::Failed { .. }
                        | AnswerEvent::Counted { .. }
                );
                let mut answers = locked(&self.0.answers);
                if let Some(answer) = answers.get(&request) {
                    // Whoever asked may be gone; then the question is cancelled.
                    let _ = answer.send(event);
                }
                if is_last {
                    answers.remove(&request);
                }
            }
            Notice::Models(models) => {
                *locked(&self.0.models) = serde_json::from_str(&models).unwrap_or_default();
            }
            Notice::Link(Link::Open) => *locked(&self.0.trouble) = None,
            Notice::Link(Link::Lost { reason, .. } | Link::Refused { reason }) => {
                *locked(&self.0.trouble) = Some(reason);
            }
            _ => {}
        }
    }

    /// The models of the swarm's server.
    pub(crate) fn models(&self) -> Vec<ModelSummary> {
        locked(&self.0.models).clone()
    }

    /// Why there is no connection to the server, if there is none.
    pub(crate) fn trouble(&self) -> Option<String> {
        locked(&self.0.trouble).clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Asks for as many answers as are wanted; waits until the node has room for all of them.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        choices: Choices,
    ) -> Result<Vec<Answer>, ApiError> {
        let mut places = self.places(choices.count).await?;
        let mut answers = Vec::new();
        for index in 0..choices.count {
            let closed = || ApiError::unavailable("this gateway is ending");
            let place = places.split(1).ok_or_else(closed)?;
            answers.push(self.ask_once(question, choices.seed(index), place)?);
        }
        Ok(answers)
    }

    /// The same for one answer.
    pub(crate) async fn ask_one(
        &self,
        question: &Question,
        choices: Choices,
    ) -> Result<Answer, ApiError> {
        let place = self.places(1).await?;
        self.ask_once(question, choices.seed(0), place)
    }

    fn ask_once(
        &self,
        question: &Question,
        seed: u64,
        place: OwnedSemaphorePermit,
    ) -> Result<Answer, ApiError> {
        let request = RequestId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = mpsc::unbounded_channel();
        locked(&self.0.answers).insert(request, sender);
        let answer = Answer {
            swarm: self.clone(),
            request,
            events,
            deadline: Some(Instant::now() + MAX_WITHOUT_ROUTE),
            missing: None,
            is_over: false,
            tokens: 0,
            _place: place,
        };
        let ask = Ask {
            request,
            model: question.model.clone(),
            conversation: question.conversation.clone(),
            asked_at_s: (self.0.local_time_s)(),
            sampling: SamplingChoice { seed, ..question.sampling },
            max_tokens: question.max_tokens,
            stops: question.stops.clone(),
            sampled: Vec::new(),
            own: self.0.own,
            keeps: true,
            counts_only: question.counts_only,
        };
        match self.0.commands.unbounded_send(Command::Ask(ask)) {
            Ok(()) => Ok(answer),
            Err(_) => Err(ApiError::unavailable("this gateway is ending")),
        }
    }

    /// All at once, so that no two requests wait for each other's.
    async fn places(&self, count: u32) -> Result<OwnedSemaphorePermit, ApiError> {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let Inner { places, waiting, .. } = &*self.0;
        if let Ok(place) = Arc::clone(places).try_acquire_many_owned(count) {
            return Ok(place);
        }
        if waiting.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(ApiError::busy(format!(
                "{MAX_AT_ONCE} questions are being answered and {MAX_WAITING} wait; try again later"
            )));
        }
        let _waits = Waits(waiting);
        let place = Arc::clone(places).acquire_many_owned(count).await;
        place.map_err(|_| ApiError::unavailable("this gateway is ending"))
    }
}

impl Answer {
    /// Waits until somebody computes it.
    pub(crate) async fn begin(&mut self) -> Result<Begun, ApiError> {
        loop {
            match self.event().await? {
                AnswerEvent::Route { prompt_tokens, kept_tokens, sampling, .. } => {
                    self.swarm.metrics().note_prompt(prompt_tokens, kept_tokens);
                    return Ok(Begun { prompt_tokens, kept_tokens, sampling });
                }
                AnswerEvent::Done { .. } => {
                    return Err(ApiError::unavailable("the question was cancelled"));
                }
                _ => {}
            }
        }
    }

    /// Waits for its next piece.
    pub(crate) async fn next(&mut self) -> Result<Piece, ApiError> {
        loop {
            match self.event().await {
                Ok(AnswerEvent::Token { text, .. }) => {
                    self.tokens += 1;
                    return Ok(Piece::Text(text));
                }
                Ok(AnswerEvent::Done { end, .. }) => {
                    self.swarm.metrics().note_answer(self.tokens, true);
                    return Ok(Piece::End(end));
                }
                Ok(_) => {}
                Err(error) => {
                    self.swarm.metrics().note_answer(self.tokens, false);
                    return Err(error);
                }
            }
        }
    }

    /// Waits until the tokens of what was asked are counted.
    pub(crate) async fn count(&mut self) -> Result<u32, ApiError> {
        loop {
            if let AnswerEvent::Counted { tokens } = self.event().await? {
                return Ok(tokens);
            }
        }
    }

    /// Tokens that have come.
    pub(crate) fn tokens(&self) -> u32 {
        self.tokens
    }

    async fn event(&mut self) -> Result<AnswerEvent, ApiError> {
        let deadline = self.deadline;
        let late = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = self.events.recv() => event,
            () = late => return Err(self.without_route()),
        };
        match &event {
            Some(AnswerEvent::Waiting { model, missing }) => {
                self.missing = Some(AnswerEvent::waiting_text(model, missing));
            }
            Some(AnswerEvent::Resuming { reason }) => {
                self.missing = Some(reason.clone());
                self.deadline.get_or_insert(Instant::now() + MAX_WITHOUT_ROUTE);
            }
            // This machine fetches its own part: that takes as long as it takes.
            Some(
                AnswerEvent::Route { .. } | AnswerEvent::Token { .. } | AnswerEvent::Own { .. },
            ) => self.deadline = None,
            Some(AnswerEvent::Done { .. } | AnswerEvent::Counted { .. }) => self.is_over = true,
            Some(AnswerEvent::Failed { kind, reason }) => {
                self.is_over = true;
                return Err(ApiError::failed(*kind, reason.clone()));
            }
            None => {
                self.is_over = true;
                return Err(ApiError::failed(Failure::Swarm, "this gateway is ending".to_owned()));
            }
        }
        event.ok_or_else(|| ApiError::unavailable("this gateway is ending"))
    }

    fn without_route(&self) -> ApiError {
        let trouble = self.swarm.trouble();
        let trouble = trouble.map(|reason| format!("no connection to the server: {reason}"));
        let reason = trouble.or_else(|| self.missing.clone());
        let reason = reason.unwrap_or_else(|| "the swarm does not answer".to_owned());
        let kept = match self.tokens {
            0 => String::new(),
            tokens => format!("; the {tokens} tokens so far are right, and the rest is missing"),
        };
        ApiError::unavailable(format!("{reason}{kept}"))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        locked(&self.swarm.0.answers).remove(&self.request);
        if !self.is_over {
            let cancel = Command::Cancel { request: self.request };
            let _ = self.swarm.0.commands.unbounded_send(cancel);
        }
    }
}

/// What a lock guards. Nothing here leaves it half changed.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How far an answer has come: what outlives the sessions that compute it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use potluck_model::package::Manifest;
use potluck_model::tokenizer::{TextStream, Tokenizer};
use potluck_protocol::codec::{MAX_POSITIONS, MAX_ROWS};
use potluck_protocol::id::SessionId;
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Ask};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::sampling::Sampling;

use super::fault::QuestionFault;
use super::stops::Stops;

/// An answer that has begun.
#[derive(Debug)]
pub(super) struct Answer {
    sampling: Sampling,
    max_tokens: u32,
    max_positions: u32,
    end_tokens: Vec<u32>,
    vocab: u32,
    stream: TextStream,
    stops: Stops,
    /// To be fed: those of the prompt and those sampled, but for the last that an answer has.
    tokens: Vec<u32>,
    /// Which tokens those are, if the sampling minds repetition.
    seen: Option<Arc<BTreeSet<u32>>>,
    /// Positions of the prompt.
    prompt: u32,
    /// Tokens received.
    received: u32,
    started: Duration,
    first_token: Option<Duration>,
}

/// What follows from a token.
#[derive(Debug)]
pub(super) struct Pushed {
    /// The text that it completes.
    pub(super) text: String,
    /// Set if it is the last one; else it has to be fed.
    pub(super) end: Option<AnswerEnd>,
}

impl Answer {
    /// An answer to `prompt`, which fits the model, with the tokens that the person has of it
    /// already, and their events, to be shown again.
    pub(super) fn begin(
        ask: &Ask,
        prompt: Vec<u32>,
        manifest: &Manifest,
        tokenizer: &Arc<Tokenizer>,
        now: Duration,
    ) -> Result<(Self, Vec<AnswerEvent>), QuestionFault> {
        let defaults = &manifest.defaults;
        let sampling = ask.sampling.or(defaults.sampling(ask.sampling.seed));
        let seen = sampling.minds_repetition().then(|| Arc::new(prompt.iter().copied().collect()));
        let mut answer = Self {
            sampling,
            max_tokens: ask.max_tokens.unwrap_or(defaults.max_tokens),
            max_positions: manifest.config.max_positions.min(MAX_POSITIONS),
            end_tokens: manifest.end_tokens.clone(),
            vocab: manifest.config.vocab,
            stream: TextStream::new(Arc::clone(tokenizer)),
            stops: Stops::new(&ask.stops),
            prompt: u32::try_from(prompt.len()).unwrap_or(u32::MAX),
            tokens: prompt,
            seen,
            received: 0,
            started: now,
            first_token: None,
        };
        let mut events = Vec::new();
        for &token in &ask.sampled {
            if !answer.has_token(token) || answer.end_tokens.contains(&token) {
                return Err(QuestionFault::ForeignToken);
            }
            answer.received += 1;
            if answer.is_full() {
                return Err(QuestionFault::Whole);
            }
            answer.add(token);
            let text = answer.stream.push(token);
            let (text, stop) = answer.stops.push(text);
            if stop.is_some() {
                return Err(QuestionFault::Whole);
            }
            events.push(AnswerEvent::Token { token, text });
        }
        Ok((answer, events))
    }

    pub(super) fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// The tokens of the text so far, prompt and answer, if the sampling minds repetition.
    pub(super) fn seen(&self) -> Option<Arc<BTreeSet<u32>>> {
        self.seen.clone()
    }

    /// One more to be fed.
    fn add(&mut self, token: u32) {
        self.tokens.push(token);
        if let Some(seen) = &mut self.seen {
            Arc::make_mut(seen).insert(token);
        }
    }

    /// Positions of the prompt.
    pub(super) fn prompt(&self) -> u32 {
        self.prompt
    }

    /// Positions that there are tokens for.
    pub(super) fn positions(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX)
    }

    /// True if the model has this token.
    pub(super) fn has_token(&self, token: u32) -> bool {
        token < self.vocab
    }

    /// No more tokens are wanted, or can be fed.
    fn is_full(&self) -> bool {
        self.received >= self.max_tokens || self.positions() + 1 >= self.max_positions
    }

    /// All tokens that are to be fed.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The step of a session that starts at this position, behind what it was fed already; none if
    /// it was fed everything. Only the last of them asks for a token.
    pub(super) fn step(&self, session: SessionId, position: u32) -> Option<PeerFrame> {
        let rest = self.tokens.get(position as usize..).filter(|rest| !rest.is_empty())?;
        let tokens = rest[..rest.len().min(MAX_ROWS)].to_vec();
        let sampling = (tokens.len() == rest.len()).then_some(self.sampling);
        Some(PeerFrame::Step { session, position, tokens, sampling })
    }

    /// The next token came.
    pub(super) fn push(&mut self, token: u32, now: Duration) -> Pushed {
        self.received += 1;
        self.first_token.get_or_insert(now);
        let end = if self.end_tokens.contains(&token) {
            Some(AnswerEnd::Stop)
        } else {
            self.is_full().then_some(AnswerEnd::Length)
        };
        let mut text = match end {
            Some(AnswerEnd::Stop) => String::new(),
            _ => self.stream.push(token),
        };
        if end.is_some() {
            text.push_str(&self.stream.finish());
        }
        let (mut text, stop) = self.stops.push(text);
        if let Some(which) = stop {
            return Pushed { text, end: Some(AnswerEnd::Text(which)) };
        }
        match end {
            Some(_) => text.push_str(&self.stops.finish()),
            None => self.add(token),
        }
        Pushed { text, end }
    }

    /// The last event.
    pub(super) fn done(&self, end: AnswerEnd, now: Duration) -> AnswerEvent {
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let first = self.first_token.unwrap_or(now);
        AnswerEvent::Done {
            end,
            first_token_ms: millis(first.saturating_sub(self.started)),
            decode_ms: millis(now.saturating_sub(first)),
            tokens: self.received,
        }
    }
}

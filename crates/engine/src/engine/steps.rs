//! Steps: rows through the layers of the sessions that they belong to.
//!
//! ```text
//! steps ── check, embed ──▶ batch: of the same layers, up to MAX_ROWS rows,
//!                             │    up to MAX_WANTED of them for the head
//!                             ▼
//!                           layers ──▶ head, on the rows whose logits are wanted
//! ```
//! A batch reads every weight once, whoever the rows belong to; attention sees each session alone,
//! so that an output does not depend on what it was computed beside. A GPU is given all batches
//! before the first is read.

use std::ops::Range;

use potluck_model::package::ModelConfig;
use potluck_protocol::sampling::Sampling;

use super::{
    Engine, ForwardError, Input, MAX_KEPT_BYTES, MAX_ROWS, Output, OutputRequest, Session,
};
use crate::backend::{Backend as _, Batch};
use crate::sampler::{penalise, sample};
use crate::step::{MAX_BACK, MAX_WANTED, SessionRows, Step, ring};

/// A step that fits its session.
struct Ready {
    /// Place among the steps.
    at: usize,
    /// Of the session.
    layers: Range<u32>,
    /// `[rows, d_model]`.
    rows: Vec<i32>,
}

impl Engine {
    /// Computes a step of a session: rows through its layers, and what is wanted of the last row if
    /// the session ends at the last layer. For a token with a repetition penalty there is
    /// [`Self::forward_all`].
    ///
    /// # Errors
    /// If the step does not fit the session, a part was unloaded, or the backend fails; the session
    /// is then as it was before.
    pub async fn forward(
        &mut self,
        id: u128,
        position: u32,
        input: Input<'_>,
        want: OutputRequest,
    ) -> Result<Output, ForwardError> {
        let step = Step { session: id, position, input, want, seen: None };
        self.forward_all(&[step]).await.pop().unwrap_or(Err(ForwardError::NoSession))
    }

    /// Computes steps of several sessions, at most one of each, and gives every one's output as if
    /// it had been alone. A step that does not fit its session fails by itself.
    pub async fn forward_all(&mut self, steps: &[Step<'_>]) -> Vec<Result<Output, ForwardError>> {
        let mut outputs = Vec::with_capacity(steps.len());
        let mut ready: Vec<Ready> = Vec::new();
        // What sessions hold, and of that what these steps add.
        let (mut held_bytes, mut taken) = (self.cache_bytes(), 0);
        for (at, step) in steps.iter().enumerate() {
            // Two steps of one session start at the same place, or the second one is wrong.
            let twice = ready.iter().any(|earlier| steps[earlier.at].session == step.session);
            let mut checked =
                if twice { Err(ForwardError::Twice) } else { self.check(step, held_bytes) };
            while matches!(checked, Err(ForwardError::CachesFull { .. })) && self.close_kept() {
                held_bytes = self.cache_bytes() + taken;
                checked = self.check(step, held_bytes);
            }
            outputs.push(checked.map(|(fitting, bytes)| {
                held_bytes += bytes;
                taken += bytes;
                ready.push(Ready { at, ..fitting });
                Output::None
            }));
        }
        let width = self.d_model().max(1);
        let last = self.model.as_ref().map_or(0, |model| model.manifest.config.layers);
        let mut batches = Vec::new();
        while let Some(first) = ready.first() {
            let (layers, mut rows, mut wanted) = (first.layers.clone(), 0, 0);
            let fits = |next: &mut Ready| {
                let more = rows + next.rows.len() / width;
                let more_wanted = wanted
                    + usize::from(
                        layers.end == last && steps[next.at].want != OutputRequest::Nothing,
                    );
                let fits = next.layers == layers && more <= MAX_ROWS && more_wanted <= MAX_WANTED;
                if fits {
                    (rows, wanted) = (more, more_wanted);
                }
                fits
            };
            batches.push(ready.extract_if(.., fits).collect::<Vec<_>>());
        }
        for step in batches.iter().flatten().map(|ready| &steps[ready.at]) {
            // Even if it fails: what comes before that is forgotten first.
            if let Some(session) = self.sessions.get_mut(&step.session) {
                session.earliest = session.earliest.max(step.position.saturating_sub(MAX_BACK));
            }
        }
        let computed = self
            .backend
            .forward(&batches.iter().map(|ready| batch(steps, ready, last)).collect::<Vec<_>>())
            .await;
        for (batch, computed) in batches.iter().zip(computed) {
            match computed {
                Ok(computed) => {
                    for (ready, output) in batch.iter().zip(computed) {
                        let step = &steps[ready.at];
                        self.advance(step);
                        let end = self.session_position(step.session).unwrap_or(step.position);
                        outputs[ready.at] = Ok(sampled(step, output, end));
                    }
                }
                Err(error) => {
                    for ready in batch {
                        outputs[ready.at] = Err(error.clone());
                    }
                }
            }
        }
        outputs
    }

    /// A step that fits its session, and the bytes that it adds to its caches.
    fn check(&self, step: &Step<'_>, held_bytes: u64) -> Result<(Ready, u64), ForwardError> {
        let (Some(session), Some(model)) = (self.sessions.get(&step.session), &self.model) else {
            return Err(ForwardError::NoSession);
        };
        if let Some(role) = model.first_missing(&session.layers) {
            return Err(ForwardError::Missing(role));
        }
        let config = &model.manifest.config;
        let width = config.d_model as usize;
        if session.layers.end == config.layers && penalised(step).is_some() && step.seen.is_none() {
            return Err(ForwardError::Unseen);
        }
        if step.position != session.position {
            return Err(ForwardError::Position { expected: session.position, got: step.position });
        }
        let rows = match step.input {
            Input::Tokens(tokens) if session.layers.start == 0 => {
                check_rows(tokens.len())?;
                if let Some(got) = tokens.iter().copied().find(|token| *token >= config.vocab) {
                    return Err(ForwardError::Token { vocab: config.vocab, got });
                }
                model.embed(tokens)?
            }
            Input::Hidden(values) if session.layers.start > 0 => {
                if values.len() % width != 0 {
                    return Err(ForwardError::Shape {
                        expected: format!("a multiple of {width} values"),
                        got: values.len(),
                    });
                }
                check_rows(values.len() / width)?;
                values.to_vec()
            }
            Input::Tokens(_) | Input::Hidden(_) => {
                return Err(ForwardError::Kind { first: session.layers.start });
            }
        };
        let count = count(&rows, width);
        if count > config.max_positions - step.position {
            return Err(ForwardError::Full { limit: config.max_positions });
        }
        let bytes = session.cache_bytes(config, step.position + count, self.is_on_gpu())
            - session.cache_bytes(config, step.position, self.is_on_gpu());
        if held_bytes + bytes > self.max_cache_bytes {
            return Err(ForwardError::CachesFull { held_bytes, limit_bytes: self.max_cache_bytes });
        }
        Ok((Ready { at: 0, layers: session.layers.clone(), rows }, bytes))
    }

    /// Bytes of all sessions' KV caches.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        let Some(model) = &self.model else { return 0 };
        let config = &model.manifest.config;
        self.sessions
            .values()
            .map(|session| session.cache_bytes(config, session.position, self.is_on_gpu()))
            .sum()
    }

    /// Bounds the KV caches of all sessions together, instead of [`super::DEFAULT_CACHE_BYTES`].
    pub fn limit_caches(&mut self, bytes: u64) {
        self.max_cache_bytes = bytes;
    }

    /// Takes note of a computed step. Last, so that one that failed can be tried again: a GPU's
    /// caches are written anew from its position.
    fn advance(&mut self, step: &Step<'_>) {
        let width = self.d_model();
        let Some(session) = self.sessions.get_mut(&step.session) else { return };
        session.position += match step.input {
            Input::Tokens(tokens) => u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            Input::Hidden(values) => count(values, width),
        };
        if self.backend.can_be_lost() {
            self.keep(step.session, step.input);
        }
    }

    /// Keeps what a session was given, as far as there is room.
    fn keep(&mut self, id: u128, input: Input<'_>) {
        let kept: usize = self
            .sessions
            .values()
            .filter_map(|session| session.inputs.as_ref())
            .map(Vec::len)
            .sum();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(inputs) = &mut session.inputs else { return };
        match input {
            Input::Tokens(tokens) => inputs.extend(tokens.iter().map(|token| token.cast_signed())),
            Input::Hidden(rows) if (kept + rows.len()) * size_of::<i32>() <= MAX_KEPT_BYTES => {
                inputs.extend(rows)
            }
            Input::Hidden(_) => session.inputs = None,
        }
    }

    /// Computes the caches of all sessions again, after [`Self::take_over`] and once all parts are
    /// loaded. A session whose inputs were too many to keep is closed.
    ///
    /// # Errors
    /// If a part of a session is missing, which waits on, or the backend fails.
    pub async fn resume(&mut self) -> Result<(), ForwardError> {
        let ids: Vec<u128> = self.waiting.keys().copied().collect();
        let mut lacking = None;
        for id in ids {
            let (Some(lost), Some(model)) = (self.waiting.remove(&id), &self.model) else {
                continue;
            };
            let Some(inputs) = &lost.inputs else { continue };
            if let Some(role) = model.first_missing(&lost.layers) {
                lacking.get_or_insert(role);
                self.waiting.insert(id, lost);
            } else if let Err(error) = self.again(id, lost.layers.clone(), inputs).await {
                self.close_session(id);
                // Yet another engine may take it over.
                self.waiting.insert(id, lost);
                return Err(error);
            }
        }
        lacking.map_or(Ok(()), |role| Err(ForwardError::Missing(role)))
    }

    /// A session that was given `inputs`.
    async fn again(
        &mut self,
        id: u128,
        layers: Range<u32>,
        inputs: &[i32],
    ) -> Result<(), ForwardError> {
        let Some(model) = &self.model else { return Err(ForwardError::NoSession) };
        self.backend.open_session(id, layers.clone())?;
        let session = Session::new(layers);
        let (is_first, width) =
            (session.layers.start == 0, session.input_width(&model.manifest.config));
        self.sessions.insert(id, session);
        let mut position = 0;
        for inputs in inputs.chunks(MAX_ROWS * width) {
            if is_first {
                let tokens: Vec<u32> = inputs.iter().map(|token| token.cast_unsigned()).collect();
                self.forward(id, position, Input::Tokens(&tokens), OutputRequest::Nothing).await?;
            } else {
                self.forward(id, position, Input::Hidden(inputs), OutputRequest::Nothing).await?;
            }
            position += count(inputs, width);
        }
        Ok(())
    }
}

impl Session {
    /// Bytes of its caches after so many rows: for every position that a layer keeps, keys and values
    /// of two bytes, an exponent each a head. A layer with a window keeps that and [`MAX_BACK`], and as
    /// much again before it forgets; a GPU a ring of at least as many.
    fn cache_bytes(&self, config: &ModelConfig, rows: u32, on_gpu: bool) -> u64 {
        let kept = self.layers.clone().map(|index| {
            let keeps = |window| if on_gpu { ring(window) } else { 2 * (window + MAX_BACK) };
            let most = config.layer_kind(index).window.map(keeps);
            u64::from(most.map_or(rows, |most| rows.min(most)))
        });
        let heads = u64::from(config.kv_heads);
        kept.sum::<u64>() * heads * (u64::from(config.head_dim) * 4 + 8)
    }
}

/// Steps over the same layers as a backend takes them, of a model with `last` layers.
fn batch<'a>(steps: &[Step<'_>], together: &'a [Ready], last: u32) -> Batch<'a> {
    let rows = together.iter().map(|ready| {
        let Step { session, position, want, .. } = steps[ready.at];
        // Only the logits know what a penalty does to their order.
        let want = penalised(&steps[ready.at]).map_or(want, |_| OutputRequest::Logits);
        let want = (ready.layers.end == last).then_some(want);
        SessionRows { session, position, rows: &ready.rows, want }
    });
    Batch {
        layers: together.first().map_or(0..0, |ready| ready.layers.clone()),
        rows: rows.collect(),
    }
}

/// How a step's token is sampled, if a repetition penalty has a say in it.
fn penalised(step: &Step<'_>) -> Option<Sampling> {
    match step.want {
        OutputRequest::Token(sampling) => sampling.minds_repetition().then_some(sampling),
        OutputRequest::Nothing | OutputRequest::Logits => None,
    }
}

/// What a step asked for, of what a backend made of it; `end` is the position behind its rows. Such
/// tokens are sampled here, whatever computes their logits.
fn sampled(step: &Step<'_>, output: Output, end: u32) -> Output {
    match (penalised(step), step.seen, output) {
        (Some(sampling), Some(seen), Output::Logits(mut logits)) => {
            penalise(&mut logits, seen, sampling.repetition_penalty_milli);
            Output::Token(sample(&logits, &sampling, end))
        }
        (_, _, output) => output,
    }
}

/// Rows of values.
fn count(values: &[i32], width: usize) -> u32 {
    u32::try_from(values.len() / width.max(1)).unwrap_or(u32::MAX)
}

fn check_rows(rows: usize) -> Result<(), ForwardError> {
    if (1..=MAX_ROWS).contains(&rows) {
        return Ok(());
    }
    Err(ForwardError::Shape { expected: format!("1 to {MAX_ROWS} rows"), got: rows })
}

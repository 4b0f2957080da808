//! How many tokens a second an engine decodes and takes in.
//!
//! Decoding is one row a step with logits at the end of each, greedily; prefill is all rows as one
//! text, with the last one's logits.

use std::sync::Arc;

use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, Input, LoadError, MAX_ROWS, Output, OutputRequest,
    SessionError, Step,
};
use potluck_model::package::{BlobRole, ModelConfig};
use potluck_model::synthetic::Synthetic;
use potluck_protocol::sampling::Sampling;
use web_time::Instant;

/// A loaded engine.
#[derive(Debug)]
pub struct Subject {
    engine: Engine,
    config: ModelConfig,
}

/// An engine could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum RateError {
    /// No such backend here.
    #[error(transparent)]
    Engine(#[from] potluck_engine::engine::EngineError),
    /// A part did not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A step failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The last layer gave no logits.
    #[error("a step that should give logits gave none")]
    NoToken,
}

const SESSION: u128 = 1;
const TOKEN: OutputRequest = OutputRequest::Token(Sampling {
    temperature_milli: 0,
    top_k: 0,
    top_p_milli: 1000,
    repetition_penalty_milli: 1000,
    seed: 0,
});

impl Subject {
    /// An engine with a whole model of random weights, made and loaded part by part.
    ///
    /// # Errors
    /// If the backend is not there or a part does not load.
    pub async fn random(choice: BackendChoice, config: ModelConfig) -> Result<Self, RateError> {
        let mut engine = Engine::new(choice).await?;
        let manifest = Arc::new(Synthetic::nameless(config.clone()));
        engine.set_model(Arc::clone(&manifest), &Synthetic::part(&config, 1, BlobRole::Tables))?;
        for (role, _) in manifest.blobs_for(0..config.layers) {
            engine.load(role, &Synthetic::part(&config, 1, role))?;
        }
        Ok(Self { engine, config })
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.engine.backend().kind
    }

    /// Its name.
    #[must_use]
    pub fn adapter(&self) -> &str {
        &self.engine.backend().adapter
    }

    /// Seconds for a text of `tokens` in a session of its own.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn prefill(&mut self, tokens: u32) -> Result<f64, RateError> {
        self.restart()?;
        let text: Vec<u32> = (0..tokens).map(|token| token * 31 % self.config.vocab).collect();
        let begun = Instant::now();
        let mut position = 0;
        for chunk in text.chunks(MAX_ROWS) {
            let next = position + u32::try_from(chunk.len()).unwrap_or(0);
            self.engine
                .forward(
                    SESSION,
                    position,
                    Input::Tokens(chunk),
                    if next == tokens { TOKEN } else { OutputRequest::Nothing },
                )
                .await?;
            position = next;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds for drawing `tokens` greedily, one after the other, after a first one that does not
    /// count.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn decode(&mut self, tokens: u32) -> Result<f64, RateError> {
        self.restart()?;
        let mut token = self.step(0, 1).await?;
        let begun = Instant::now();
        for position in 1..=tokens {
            token = self.step(position, token).await?;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds for drawing `tokens` in each of so many sessions, one of each in a step, after first
    /// ones that do not count.
    ///
    /// # Errors
    /// If a step fails.
    pub async fn decode_together(&mut self, sessions: u32, tokens: u32) -> Result<f64, RateError> {
        let ids = || (0..u128::from(sessions)).map(|session| SESSION + session);
        for id in ids() {
            self.engine.close_session(id);
            self.engine.open_session(id, 0..self.config.layers)?;
        }
        let mut sampled: Vec<u32> = (1..=sessions).collect();
        let mut begun = Instant::now();
        for position in 0..=tokens {
            if position == 1 {
                begun = Instant::now();
            }
            let steps: Vec<Step<'_>> = ids()
                .zip(&sampled)
                .map(|(session, token)| {
                    let input = Input::Tokens(std::slice::from_ref(token));
                    Step { session, position, input, want: TOKEN, seen: None }
                })
                .collect();
            let outputs = self.engine.forward_all(&steps).await;
            let next = outputs.into_iter().map(|output| match output? {
                Output::Token(token) => Ok(token),
                _ => Err(RateError::NoToken),
            });
            sampled = next.collect::<Result<_, RateError>>()?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        ids().for_each(|id| self.engine.close_session(id));
        Ok(seconds)
    }

    async fn step(&mut self, position: u32, token: u32) -> Result<u32, RateError> {
        match self.engine.forward(SESSION, position, Input::Tokens(&[token]), TOKEN).await? {
            Output::Token(token) => Ok(token),
            _ => Err(RateError::NoToken),
        }
    }

    fn restart(&mut self) -> Result<(), RateError> {
        self.engine.close_session(SESSION);
        Ok(self.engine.open_session(SESSION, 0..self.config.layers)?)
    }
}

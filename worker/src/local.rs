//! A whole model in one process, without any network: what every swarm's answer must equal, token
//! for token.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use potluck_engine::engine::{
    BackendChoice, Engine, EngineError, ForwardError, Input, LoadError, Output, OutputRequest,
    SessionError, Step,
};
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::{BlobError, BlobRef, BlobRole, Manifest, ManifestError, verify_blob};
use potluck_model::tokenizer::{TextStream, Tokenizer, TokenizerError};
use potluck_protocol::codec::MAX_ROWS;
use potluck_protocol::page::{AnswerEnd, SamplingChoice};
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI,
};
use web_time::Instant;

/// An imported model on disk.
#[derive(Debug)]
pub struct Model {
    manifest: Arc<Manifest>,
    blobs: PathBuf,
    tokenizer: Arc<Tokenizer>,
}

/// What to compute.
#[derive(Debug)]
pub struct Question<'a> {
    /// What was said.
    pub conversation: &'a Conversation,
    /// What that person's clock shows.
    pub asked_at: LocalTime,
    /// How tokens are sampled; what is left out comes from the model.
    pub sampling: SamplingChoice,
    /// Tokens at most; the model's default if `None`.
    pub max_tokens: Option<u32>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The text, without the token that ends it.
    pub text: String,
    /// The tokens sampled, the one that ends the answer included.
    pub token_ids: Vec<u32>,
    /// Why it ended: the model ended it, or there were as many tokens as asked for or as fit.
    pub end: AnswerEnd,
    /// From the first token to the last.
    pub decode: Duration,
}

/// The answer could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A file of the model could not be read.
    #[error("could not read {path}; import the model first with `potluck-server model add`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The manifest is not one.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A blob is not what the manifest says.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The tokenizer is not one, or refuses the prompt.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The sampling is not one that a step may carry.
    #[error(
        "the temperature must be 0, or {MIN_TEMPERATURE_MILLI} to {MAX_TEMPERATURE_MILLI} thousandths, \
         top-p above 0 and at most 1, and the repetition penalty {MIN_REPETITION_PENALTY_MILLI} to \
         {MAX_REPETITION_PENALTY_MILLI} thousandths"
    )]
    Sampling,
    /// No token is wanted.
    #[error("an answer of 0 tokens was asked for; ask for at least 1")]
    NoTokens,
    /// The prompt leaves no room for an answer.
    #[error("the question has {tokens} tokens; the model takes at most {limit}, answer included")]
    TooManyTokens {
        /// With what the model's template adds.
        tokens: usize,
        /// The model's context.
        limit: u32,
    },
    /// There is no such backend here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A part does not fit the engine.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The session could not be opened.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A step failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl Model {
    /// Opens `folder/models/{name}.json` and its blobs in `folder/blobs`.
    ///
    /// # Errors
    /// If a file is missing or is not what the manifest says.
    pub fn open(folder: &Path, name: &str) -> Result<Self, LocalError> {
        let manifest =
            Manifest::from_bytes(&read(&folder.join("models").join(format!("{name}.json")))?)?;
        let blobs = folder.join("blobs");
        let tokenizer = Tokenizer::from_bytes(&blob(&blobs, &manifest.tokenizer)?)?;
        Ok(Self { manifest: Arc::new(manifest), blobs, tokenizer: Arc::new(tokenizer) })
    }

    /// Computes the answer, unsharded.
    ///
    /// # Errors
    /// If the backend is missing, a blob is wrong, or the prompt does not fit.
    pub async fn answer(
        &self,
        backend: BackendChoice,
        question: &Question<'_>,
    ) -> Result<Answer, LocalError> {
        const SESSION: u128 = 1;
        let (config, defaults) = (&self.manifest.config, &self.manifest.defaults);
        let sampling = question.sampling.or(defaults.sampling(question.sampling.seed));
        if !sampling.is_valid() {
            return Err(LocalError::Sampling);
        }
        let max_tokens = question.max_tokens.unwrap_or(defaults.max_tokens) as usize;
        if max_tokens == 0 {
            return Err(LocalError::NoTokens);
        }
        let mut pending = self.tokenizer.encode_chat(
            &self.manifest.chat,
            question.conversation,
            question.asked_at,
        )?;
        let (tokens, limit) = (pending.len(), config.max_positions);
        if tokens >= limit as usize {
            return Err(LocalError::TooManyTokens { tokens, limit });
        }
        let mut seen: BTreeSet<u32> = pending.iter().copied().collect();
        let mut engine = Engine::new(backend).await?;
        engine.prove(config).await?;
        for (role, part) in self.manifest.blobs_for(0..config.layers) {
            let bytes = blob(&self.blobs, &part)?;
            match role {
                BlobRole::Tables => engine.set_model(Arc::clone(&self.manifest), &bytes)?,
                role => engine.load(role, &bytes)?,
            }
        }
        engine.open_session(SESSION, 0..config.layers)?;
        let mut stream = TextStream::new(Arc::clone(&self.tokenizer));
        let mut answer = Answer {
            text: String::new(),
            token_ids: Vec::new(),
            end: AnswerEnd::Length,
            decode: Duration::ZERO,
        };
        let (mut position, mut first) = (0, None);
        loop {
            let mut sampled = None;
            let steps = pending.len().div_ceil(MAX_ROWS);
            for (step, tokens) in pending.chunks(MAX_ROWS).enumerate() {
                let want = if step + 1 == steps {
                    OutputRequest::Token(sampling)
                } else {
                    OutputRequest::Nothing
                };
                let (input, seen) = (Input::Tokens(tokens), Some(&seen));
                let step = Step { session: SESSION, position, input, want, seen };
                let output = engine.forward_all(&[step]).await.pop();
                let output = output.unwrap_or(Err(ForwardError::NoSession))?;
                position += u32::try_from(tokens.len()).unwrap_or(u32::MAX);
                if let Output::Token(token) = output {
                    sampled = Some(token);
                }
            }
            let Some(token) = sampled else { break };
            let first = *first.get_or_insert_with(Instant::now);
            answer.decode = first.elapsed();
            answer.token_ids.push(token);
            if self.manifest.end_tokens.contains(&token) {
                answer.end = AnswerEnd::Stop;
                break;
            }
            seen.insert(token);
            answer.text.push_str(&stream.push(token));
            if answer.token_ids.len() >= max_tokens || position + 1 >= config.max_positions {
                break;
            }
            pending = vec![token];
        }
        answer.text.push_str(&stream.finish());
        Ok(answer)
    }
}

fn blob(folder: &Path, part: &BlobRef) -> Result<Vec<u8>, LocalError> {
    let bytes = read(&folder.join(part.hash.to_string()))?;
    verify_blob(part, &bytes)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, LocalError> {
    fs::read(path).map_err(|source| LocalError::Read { path: path.to_owned(), source })
}

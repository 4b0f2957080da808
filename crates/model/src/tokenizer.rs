//! Text to tokens and back, through the `tokenizers` crate.
//!
//! What a person typed can never become a special token: the chat's own prefix and suffix are
//! encoded with special tokens, the question by a copy of the tokenizer that has none, and should
//! its vocabulary still spell one, the question is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokenizers::Tokenizer as Inner;

use crate::encoder::EncoderManifest;
use crate::package::ChatFormat;

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// The same without its special tokens, for what people type.
    plain: Inner,
    /// Ids of the special tokens.
    special: BTreeSet<u32>,
}

/// Text could not be turned into tokens, or a tokenizer not be read.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// Not a `tokenizer.json`.
    #[error("the tokenizer cannot be read: {0}")]
    Read(String),
    /// The tokenizer has no tokens for this text.
    #[error("the text cannot be turned into tokens: {0}")]
    Encode(String),
    /// The text would become one of the model's control tokens.
    #[error("the text would become control token {0}")]
    Special(u32),
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let read = |bytes: &[u8]| {
            Inner::from_bytes(bytes).map_err(|error| TokenizerError::Read(error.to_string()))
        };
        let mut json: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|error| TokenizerError::Read(error.to_string()))?;
        if let Some(added) = json.get_mut("added_tokens") {
            *added = serde_json::Value::Array(Vec::new());
        }
        let inner = read(bytes)?;
        let added = inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let plain =
            serde_json::to_vec(&json).map_err(|error| TokenizerError::Read(error.to_string()))?;
        Ok(Self { inner, plain: read(&plain)?, special })
    }

    /// The model's input for a question.
    ///
    /// # Errors
    /// If the tokenizer has no tokens for it, or only by way of a special token.
    pub fn encode_chat(
        &self,
        chat: &ChatFormat,
        question: &str,
    ) -> Result<Vec<u32>, TokenizerError> {
        let encode = |tokenizer: &Inner, text: &str| {
            let encoding = tokenizer
                .encode_fast(text, false)
                .map_err(|error| TokenizerError::Encode(error.to_string()))?;
            Ok::<_, TokenizerError>(encoding.get_ids().to_vec())
        };
        let mut tokens = encode(&self.inner, &chat.prefix)?;
        let asked = encode(&self.plain, question)?;
        if let Some(token) = asked.iter().find(|token| self.special.contains(token)) {
            return Err(TokenizerError::Special(*token));
        }
        tokens.extend(asked);
        tokens.extend(encode(&self.inner, &chat.suffix)?);
        Ok(tokens)
    }

    /// An encoder's input for a text: its tokens, cut to what the encoder takes, between those that
    /// belong around them.
    ///
    /// # Errors
    /// As [`Self::encode_chat`].
    pub fn encode_text(
        &self,
        encoder: &EncoderManifest,
        text: &str,
    ) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .plain
            .encode_fast(text, false)
            .map_err(|error| TokenizerError::Encode(error.to_string()))?;
        let own = encoding.get_ids().iter().take(encoder.max_text_tokens());
        Ok(encoder.prefix.iter().chain(own).chain(&encoder.suffix).copied().collect())
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.inner.decode(tokens, true).unwrap_or_default()
    }
}

/// Turns tokens into text as they come; holds back bytes of an incomplete character.
#[derive(Debug)]
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    /// Tokens since the last clean cut.
    pending: Vec<u32>,
    /// Bytes of `pending`'s text that were given out.
    given: usize,
}

/// After so many tokens the stream looks for a clean cut, so that its work a token stays small.
const CUT_AFTER: usize = 64;
/// What an incomplete character decodes to.
const REPLACEMENT: char = '\u{FFFD}';

impl TextStream {
    /// A stream at the start of an answer.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, pending: Vec::new(), given: 0 }
    }

    /// The text that `token` completes; empty inside a character.
    pub fn push(&mut self, token: u32) -> String {
        self.pending.push(token);
        let text = self.tokenizer.decode(&self.pending);
        if text.ends_with(REPLACEMENT) && self.pending.len() < 2 * CUT_AFTER {
            return String::new();
        }
        let news = text.get(self.given..).unwrap_or_default().to_owned();
        self.given = text.len();
        if self.pending.len() >= CUT_AFTER {
            self.pending.clear();
            self.given = 0;
        }
        news
    }

    /// What is left at the end, incomplete characters as replacement characters.
    pub fn finish(&mut self) -> String {
        let text = self.tokenizer.decode(&self.pending);
        let rest = text.get(self.given..).unwrap_or_default().to_owned();
        self.pending.clear();
        self.given = 0;
        rest
    }
}

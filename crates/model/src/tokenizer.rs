//! Text to tokens and back, through the `tokenizers` crate.
//!
//! What a person typed can never become a control token: spellings of one in it are broken by a mark
//! before the tokenizer looks for its control tokens, and the mark is taken out before the pieces
//! between them are tokenised. So the pieces are what they would be in the whole text, blanks at their
//! seams included. Should the vocabulary still spell one, the text is refused.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokenizers::{
    Model as _, OffsetReferential, OffsetType, PreTokenizer as _, Tokenizer as Inner,
};

use crate::chat::{ChatError, ChatFormat, Control, Conversation, LocalTime, Mark, Role};
use crate::encoder::{EncoderManifest, Pair};

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Inner,
    /// Tokens that it takes out of a text before it looks at the rest.
    added: Vec<Added>,
    /// Ids of those that are no text.
    special: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Added {
    spelling: String,
    special: bool,
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
    /// The model's template does not take it.
    #[error(transparent)]
    Chat(#[from] ChatError),
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let inner =
            Inner::from_bytes(bytes).map_err(|error| TokenizerError::Read(error.to_string()))?;
        let decoder = inner.get_added_tokens_decoder();
        let special =
            decoder.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let added = decoder
            .into_values()
            .map(|token| Added { spelling: token.content, special: token.special })
            .filter(|token| !token.spelling.is_empty())
            .collect();
        Ok(Self { inner, added, special })
    }

    /// The model's input for a conversation: its template's text, tokenised at once.
    ///
    /// # Errors
    /// If the template does not take it, or the tokenizer has no tokens for it, or only by way of a
    /// control token that somebody typed.
    pub fn encode_chat(
        &self,
        chat: &ChatFormat,
        conversation: &Conversation,
        now: LocalTime,
    ) -> Result<Vec<u32>, TokenizerError> {
        conversation.texts().try_for_each(|text| self.check_letters(text))?;
        // What is escaped in JSON is a letter to the template.
        for json in conversation.json().filter(|json| json.contains('\\')) {
            let unescaped = serde_json::from_str(json).unwrap_or_default();
            self.check_letters_in(&unescaped)?;
        }
        let (text, mark) = chat.render(conversation, now, &self.controls())?;
        self.encode_marked(&text, mark)
    }

    /// The tokens of a text that nothing stands around.
    ///
    /// # Errors
    /// As [`Self::encode_chat`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.check_letters(text)?;
        let mark = Mark::absent_from([text].into_iter()).ok_or(ChatError::NoMark)?;
        self.encode_marked(&mark.breaking(&self.controls(), Role::User, text), mark)
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
        let tokens = self.encode(text)?;
        let own = tokens.iter().take(encoder.max_text_tokens());
        Ok(encoder.prefix.iter().chain(own).chain(&encoder.suffix).copied().collect())
    }

    /// The input of an encoder that scores, for a question and a text: their tokens, cut to what the
    /// encoder takes (the longer of the two first), and those that belong around and between them.
    ///
    /// # Errors
    /// As [`Self::encode_chat`].
    pub fn encode_pair(
        &self,
        encoder: &EncoderManifest,
        question: &str,
        text: &str,
    ) -> Result<Pair, TokenizerError> {
        let [mut question, mut text] = [self.encode(question)?, self.encode(text)?];
        let most = encoder.max_pair_tokens();
        let (first, second) = Pair::lengths(question.len(), text.len(), most);
        question.truncate(first);
        text.truncate(second);
        let middle = encoder.score.iter().flat_map(|score| &score.middle);
        let mut tokens: Vec<u32> =
            encoder.prefix.iter().chain(&question).chain(middle).copied().collect();
        let second = tokens.len();
        tokens.extend(text.iter().chain(&encoder.suffix));
        Ok(Pair { tokens, second })
    }

    /// The id of a control token, if there is one of this spelling.
    #[must_use]
    pub fn control_token(&self, spelling: &str) -> Option<u32> {
        self.inner.token_to_id(spelling).filter(|id| self.special.contains(id))
    }

    /// The control token that a text begins with, the longest one.
    #[must_use]
    pub fn control_at(&self, text: &str) -> Option<u32> {
        let begins = |token: &&Added| token.special && text.starts_with(&token.spelling);
        let longest = self.added.iter().filter(begins).max_by_key(|token| token.spelling.len());
        self.inner.token_to_id(&longest?.spelling)
    }

    /// Refuses a control token of one letter, which no mark can break.
    fn check_letters(&self, text: &str) -> Result<(), TokenizerError> {
        let is_letter = |token: &&Added| token.special && token.spelling.chars().count() == 1;
        let typed = self.added.iter().filter(is_letter).find(|it| text.contains(&it.spelling));
        match typed.and_then(|token| self.inner.token_to_id(&token.spelling)) {
            Some(token) => Err(TokenizerError::Special(token)),
            None => Ok(()),
        }
    }

    /// The same of all texts in a value of JSON.
    fn check_letters_in(&self, value: &serde_json::Value) -> Result<(), TokenizerError> {
        match value {
            serde_json::Value::String(text) => self.check_letters(text),
            serde_json::Value::Array(items) => {
                items.iter().try_for_each(|item| self.check_letters_in(item))
            }
            serde_json::Value::Object(members) => members.iter().try_for_each(|(key, value)| {
                self.check_letters(key)?;
                self.check_letters_in(value)
            }),
            _ => Ok(()),
        }
    }

    fn controls(&self) -> Vec<Control<'_>> {
        let added = self.added.iter();
        added.map(|Added { spelling, special }| Control { spelling, special: *special }).collect()
    }

    /// What [`Inner::encode_fast`] does, with the marks taken out in between.
    fn encode_marked(&self, text: &str, mark: Mark) -> Result<Vec<u32>, TokenizerError> {
        let failed = |error: tokenizers::Error| TokenizerError::Encode(error.to_string());
        let inner = &self.inner;
        let mut pieces =
            inner.get_added_vocabulary().extract_and_normalize(inner.get_normalizer(), text);
        // A control token that is not spelled out in the text was made by the normaliser from something
        // that somebody typed.
        for (_, (start, end), tokens) in
            pieces.get_splits(OffsetReferential::Original, OffsetType::Byte)
        {
            for token in tokens.iter().flatten().filter(|token| self.special.contains(&token.id)) {
                let spelled = inner.id_to_token(token.id);
                let original = text.get(start..end).map(str::trim);
                if original != spelled.as_deref().map(str::trim) {
                    return Err(TokenizerError::Special(token.id));
                }
            }
        }
        pieces
            .normalize(|piece| {
                piece.filter(|letter| !mark.is(letter));
                Ok(())
            })
            .map_err(failed)?;
        if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(failed)?;
        }
        let typed = Cell::new(None);
        pieces
            .tokenize(|piece| {
                let tokens = inner.get_model().tokenize(piece.get())?;
                let control = tokens.iter().map(|token| token.id).find(|id| self.is_special(*id));
                typed.set(typed.get().or(control));
                Ok(tokens)
            })
            .map_err(failed)?;
        if let Some(token) = typed.get() {
            return Err(TokenizerError::Special(token));
        }
        let encoding = pieces.into_encoding(None, 0, OffsetType::None).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    }

    fn is_special(&self, token: u32) -> bool {
        self.special.contains(&token)
    }

    /// The text of tokens, control tokens left out.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        self.inner.decode(tokens, true).unwrap_or_default()
    }
}

/// Turns tokens into text as they come; holds back bytes of an incomplete character.
///
/// Decoders look at what stands before a token: the blank in front of a whole text is cut, the one in
/// front of a word is not. So some tokens whose text was given out stay in front of the next ones.
#[derive(Debug)]
pub struct TextStream {
    tokenizer: Arc<Tokenizer>,
    /// The tokens that are looked at: those that stay for what follows, and those since.
    window: Vec<u32>,
    /// How many of them stay.
    context: usize,
    /// The window's text, as far as it was given out.
    given: String,
    /// Tokens since something was given out.
    held: usize,
}

/// After so many tokens the window is moved on, so that its work a token stays small.
const MOVE_AFTER: usize = 32;
/// After so many tokens without a whole character there is none to come.
const MAX_HELD: usize = 64;
/// What an incomplete character decodes to.
const REPLACEMENT: char = '\u{FFFD}';

impl TextStream {
    /// A stream at the start of an answer.
    #[must_use]
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), context: 0, given: String::new(), held: 0 }
    }

    /// The text that `token` completes; empty inside a character.
    pub fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        self.held += 1;
        let text = self.tokenizer.decode(&self.window);
        if text.ends_with(REPLACEMENT) {
            return if self.held < MAX_HELD { String::new() } else { self.finish() };
        }
        let news = self.news(&text);
        self.given = text;
        self.held = 0;
        let since = &self.window[self.context..];
        // Tokens that are no text are no context either.
        if since.len() >= MOVE_AFTER && since.iter().any(|token| !self.tokenizer.is_special(*token))
        {
            self.window.drain(..self.context);
            self.context = self.window.len();
            self.given = self.tokenizer.decode(&self.window);
        }
        news
    }

    /// What is left at the end, incomplete characters as replacement characters.
    pub fn finish(&mut self) -> String {
        let news = self.news(&self.tokenizer.decode(&self.window));
        self.window.drain(..self.window.len() - self.held);
        self.context = self.window.len();
        self.given = self.tokenizer.decode(&self.window);
        self.held = 0;
        news
    }

    /// What the window's text has beyond what was given out.
    fn news(&self, text: &str) -> String {
        match text.strip_prefix(&self.given) {
            Some(news) => news.to_owned(),
            // Bytes that make no characters together take those before them along, which were shown.
            None => self.tokenizer.decode(&self.window[self.window.len() - self.held..]),
        }
    }
}

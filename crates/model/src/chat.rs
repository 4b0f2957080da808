//! A conversation as its model was taught to read one: messages to text, by the model's own template,
//! and to tokens, all at once.
//!
//! Templates are programs in Jinja, another in every model. They run where somebody asks, over what was
//! really said, as Hugging Face `transformers` runs them; the whole text is then tokenised as the
//! reference does. One thing differs: what people typed never becomes a control token, though it be
//! spelled like one. Such spellings are broken by a mark before the template sees them, and the marks
//! are taken out once the template's own control tokens have been found (`tokenizer`).
//!
//! ```text
//!  messages ──mark──▶ marked ──template──▶ text ──tokenizer──▶ control tokens │ pieces
//!                                                                               └─ unmark ─▶ tokens
//! ```
//! Nothing here reads a clock: the asker says what theirs shows.

mod dates;
mod json;
mod mark;
mod said;
mod template;

use serde::{Deserialize, Serialize};

pub(crate) use mark::{Control, Mark};
pub use potluck_protocol::chat::{Conversation, Effort, Message, Role, ToolCall};

/// Bytes of a template at most; the longest in use have a third of it.
pub const MAX_TEMPLATE_BYTES: usize = 64 << 10;

/// How a model is talked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatFormat {
    /// Its template, in Jinja; a model without one goes on with the text.
    pub template: Option<String>,
    /// What the template calls `bos_token`, and what a text without a template begins with.
    pub bos: String,
    /// What it calls `eos_token`.
    pub eos: String,
    /// What a message's content is to the template.
    pub content: Content,
    /// It refuses a conversation that does not begin with a system message: an empty one is put first.
    pub wants_system: bool,
}

/// What a template takes for the content of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// A text.
    #[default]
    Text,
    /// A list of parts, of which a text is one.
    Parts,
}

/// What the asker's clock shows: seconds from 1970-01-01 00:00 as it reads there, in the asker's own
/// time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTime(pub i64);

/// A conversation could not be put as its model reads one.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The template does not take it; in its own words.
    #[error("the model's chat template does not take this conversation: {0}")]
    Template(String),
    /// What should be JSON is none.
    #[error("{0}")]
    Json(String),
    /// Every mark that there is, is in it already.
    #[error(
        "the text has all the characters in it that Unicode keeps for programs' own use; take some out"
    )]
    NoMark,
}

impl ChatFormat {
    /// The conversation as text, with the beginning of the answer. What people typed is marked where it
    /// is spelled like one of `controls`.
    pub(crate) fn render(
        &self,
        conversation: &Conversation,
        now: LocalTime,
        controls: &[Control<'_>],
    ) -> Result<(String, Mark), ChatError> {
        let fixed = [self.template.as_deref().unwrap_or_default(), &self.bos, &self.eos];
        let mark = Mark::absent_from(conversation.texts().chain(fixed));
        let mark = mark.ok_or(ChatError::NoMark)?;
        let breaking = |role: Role, text: &str| mark.breaking(controls, role, text);
        if let Some(text) = &conversation.plain {
            let marked = breaking(Role::User, text);
            return Ok((self.bos.clone() + &marked, mark));
        }
        let text = match &self.template {
            Some(template) => {
                let said = said::Said::new(conversation, self.content, &breaking)?;
                template::render(self, template, said, now)
                    .map_err(|error| ChatError::Template(format!("{error:#}")))?
            }
            None => conversation.messages.iter().fold(self.bos.clone(), |text, message| {
                text + &breaking(message.role, &message.content)
            }),
        };
        Ok((text, mark))
    }

    /// The conversation as text, nothing marked.
    ///
    /// # Errors
    /// If the template does not take it.
    pub fn text(&self, conversation: &Conversation, now: LocalTime) -> Result<String, ChatError> {
        self.render(conversation, now, &[]).map(|(text, _)| text)
    }
}

//! A conversation as its asker has it. It goes from a page to its worker, or into a native node, and no
//! further: the asker's own node makes tokens of it.

use serde::{Deserialize, Serialize};

/// Messages of a conversation at most. A template goes through all of them, and no context holds more.
pub const MAX_MESSAGES: usize = 2_048;
/// Bytes of a conversation at most, tools included: more than any context here holds, little enough to
/// tokenise at once.
pub const MAX_CONVERSATION_BYTES: usize = 1 << 20;
/// Calls of one message at most.
pub const MAX_TOOL_CALLS: usize = 64;
/// Texts at which an answer ends, at most.
pub const MAX_STOPS: usize = 16;
/// Bytes of one of them at most: so much text is held back while an answer comes.
pub const MAX_STOP_BYTES: usize = 256;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever set up the conversation.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// A tool that the model called, with what came of it.
    Tool,
}

impl Role {
    /// As templates call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A call of a tool, as the model made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// What its result names.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// With what: JSON, an object.
    pub arguments: String,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// What.
    pub content: String,
    /// What the model thought before it said it, where it is known apart.
    pub reasoning: Option<String>,
    /// Tools that the model calls with it.
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's result: the call that it answers.
    pub tool_call_id: Option<String>,
    /// Of a tool's result: which tool; of others who speaks, where there are several.
    pub name: Option<String>,
}

impl Message {
    /// A text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
        }
    }

    /// What a person asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// All texts of it, whoever wrote them.
    fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        let others = [&self.reasoning, &self.tool_call_id, &self.name];
        let calls = self.tool_calls.iter();
        let calls = calls.flat_map(|call| [&call.id, &call.name, &call.arguments]);
        let own = core::iter::once(&self.content);
        own.chain(others.into_iter().flatten()).chain(calls).map(String::as_str)
    }
}

/// How much a model thinks before it answers, where it can do both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all, where its template knows how to say so.
    #[default]
    None,
    /// A little.
    Low,
    /// As usual.
    Medium,
    /// Much.
    High,
}

impl Effort {
    /// As templates call it; none where the model is not to think.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Low => Some("low"),
            Self::Medium => Some("medium"),
            Self::High => Some("high"),
        }
    }
}

/// What was said so far, and what a model may use to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// From the first on.
    pub messages: Vec<Message>,
    /// Tools that the model may call: JSON, a list of them as the protocol of `OpenAI` has it.
    pub tools: Option<String>,
    /// How much it thinks.
    pub effort: Effort,
    /// A text to be gone on with as it stands, in place of messages: no template sees it.
    pub plain: Option<String>,
}

/// A conversation that is none, or too much of one; the sentences are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConversationFault {
    /// Nothing was asked.
    #[error("the question is empty; write something first")]
    Empty,
    /// Too much to make tokens of.
    #[error("the conversation has {bytes} bytes; at most {MAX_CONVERSATION_BYTES} can be sent")]
    TooLong {
        /// In all messages and tools.
        bytes: usize,
    },
    /// Too many.
    #[error("the conversation has {messages} messages; at most {MAX_MESSAGES} can be sent")]
    TooMany {
        /// How many.
        messages: usize,
    },
    /// Too many calls in one message.
    #[error("a message calls {calls} tools; at most {MAX_TOOL_CALLS} can be called at once")]
    TooManyCalls {
        /// How many.
        calls: usize,
    },
}

impl Conversation {
    /// A question that stands alone.
    pub fn question(content: impl Into<String>) -> Self {
        Self { messages: vec![Message::user(content)], ..Self::default() }
    }

    /// Messages, without tools or thinking.
    #[must_use]
    pub fn of(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// A text to be gone on with.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { plain: Some(text.into()), ..Self::default() }
    }

    /// All that people, tools and the model wrote.
    pub fn texts(&self) -> impl Iterator<Item = &str> + Clone {
        let others = [&self.tools, &self.plain].into_iter().flatten().map(String::as_str);
        self.messages.iter().flat_map(Message::texts).chain(others)
    }

    /// What of it is JSON: tools, and what they are called with.
    pub fn json(&self) -> impl Iterator<Item = &str> {
        let calls = self.messages.iter().flat_map(|message| &message.tool_calls);
        calls.map(|call| &call.arguments).chain(&self.tools).map(String::as_str)
    }

    /// Bytes of all of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Whether it can be answered, as far as can be told without a model.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ConversationFault> {
        let (messages, bytes) = (self.messages.len(), self.bytes());
        let calls = self.messages.iter().map(|message| message.tool_calls.len()).max().unwrap_or(0);
        let says_nothing = |message: &Message| {
            message.content.trim().is_empty()
                && message.tool_calls.is_empty()
                && message.role != Role::Tool
        };
        let is_empty = match &self.plain {
            Some(text) => text.is_empty(),
            None => self.messages.last().is_none_or(says_nothing),
        };
        if messages > MAX_MESSAGES {
            Err(ConversationFault::TooMany { messages })
        } else if bytes > MAX_CONVERSATION_BYTES {
            Err(ConversationFault::TooLong { bytes })
        } else if calls > MAX_TOOL_CALLS {
            Err(ConversationFault::TooManyCalls { calls })
        } else if is_empty {
            Err(ConversationFault::Empty)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_answered_is_said() {
        let said = |count: usize| Conversation::of(vec![Message::user("x"); count]);
        assert_eq!(Conversation::question(" \n").check(), Err(ConversationFault::Empty));
        assert_eq!(Conversation::default().check(), Err(ConversationFault::Empty));
        assert_eq!(Conversation::plain("").check(), Err(ConversationFault::Empty));
        assert_eq!(Conversation::plain(" ").check(), Ok(()), "a blank can be gone on with");
        assert_eq!(said(MAX_MESSAGES).check(), Ok(()));
        let too_many = ConversationFault::TooMany { messages: 100_000 };
        assert_eq!(said(100_000).check(), Err(too_many));
        let long = "x".repeat(MAX_CONVERSATION_BYTES);
        assert_eq!(Conversation::question(&long).check(), Ok(()));
        let tools = Some("[]".to_owned());
        let longer = Conversation { tools, ..Conversation::question(&long) };
        let bytes = MAX_CONVERSATION_BYTES + 2;
        assert_eq!(longer.check(), Err(ConversationFault::TooLong { bytes }));
    }

    #[test]
    fn a_tool_may_give_nothing() {
        let call = ToolCall { id: "1".into(), name: "look".into(), arguments: "{}".into() };
        let called =
            Message { tool_calls: vec![call.clone()], ..Message::new(Role::Assistant, "") };
        let given = Message::new(Role::Tool, "");
        assert_eq!(Conversation::of(vec![called.clone(), given]).check(), Ok(()));
        let many = Message { tool_calls: vec![call; MAX_TOOL_CALLS + 1], ..called };
        let calls = MAX_TOOL_CALLS + 1;
        assert_eq!(
            Conversation::of(vec![many]).check(),
            Err(ConversationFault::TooManyCalls { calls })
        );
    }
}

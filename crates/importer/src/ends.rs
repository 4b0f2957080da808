//! Which tokens end an answer: all that anything of a model's files names as its end, as makers change
//! one place and forget the others.

use potluck_model::chat::{ChatFormat, Conversation, LocalTime, Message, Role};
use potluck_model::package::MAX_END_TOKENS;
use potluck_model::tokenizer::Tokenizer;

use crate::error::ImportError;
use crate::source::Source;

/// Stands for an answer.
const ANSWER: &str = "AnswerOfPotluck";

/// What ends an answer of gpt-oss (harmony, its format): its last message, or one to a tool.
const HARMONY_ENDS: [&str; 2] = ["<|return|>", "<|call|>"];
/// And what ends one of its messages.
const HARMONY_MESSAGE_END: &str = "<|end|>";

/// The union of what the configurations name, the tokenizer's own end, and what the template puts
/// behind an answer; in order, each once.
pub(crate) fn tokens(
    source: &Source,
    tokenizer: &Tokenizer,
    chat: &ChatFormat,
) -> Result<Vec<u32>, ImportError> {
    let unsupported = |what: String, supported: &str| {
        Err(ImportError::Unsupported { what, supported: supported.to_owned() })
    };
    let mut ends = source.end_tokens.clone();
    ends.extend(tokenizer.control_token(&chat.eos));
    ends.extend(behind_an_answer(tokenizer, chat));
    // In harmony an answer is several messages, each with an end of its own.
    let harmony = HARMONY_ENDS.map(|end| tokenizer.control_token(end));
    if let [Some(returns), Some(calls)] = harmony {
        ends.extend([returns, calls]);
        ends.retain(|end| Some(*end) != tokenizer.control_token(HARMONY_MESSAGE_END));
    }
    ends.sort_unstable();
    ends.dedup();
    if let Some(token) = ends.iter().find(|token| **token >= source.shape.vocab) {
        let tokens = source.shape.vocab;
        return unsupported(
            format!("end token {token}"),
            &format!("a vocabulary of {tokens} tokens"),
        );
    }
    match ends.len() {
        0 => unsupported(
            "a model without an end token".to_owned(),
            "eos_token_id in config.json or generation_config.json, or eos_token in tokenizer_config.json",
        ),
        1..=MAX_END_TOKENS => Ok(ends),
        count => unsupported(format!("{count} end tokens"), &format!("at most {MAX_END_TOKENS}")),
    }
}

/// The control token that a template puts right behind what the model said.
fn behind_an_answer(tokenizer: &Tokenizer, chat: &ChatFormat) -> Option<u32> {
    chat.template.as_ref()?;
    let answer = Message::new(Role::Assistant, ANSWER);
    // A template that takes no answers has nothing behind them.
    let text = chat
        .text(&Conversation::of(vec![Message::user("?"), answer]), LocalTime::default())
        .ok()?;
    let (_, behind) = text.rsplit_once(ANSWER)?;
    tokenizer.control_at(behind.trim_start())
}

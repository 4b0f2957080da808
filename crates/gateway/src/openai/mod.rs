//! OpenAI's protocol: chats, responses, texts, models.

pub(crate) mod chat;
mod choices;
pub(crate) mod completions;
mod messages;
pub(crate) mod models;
pub(crate) mod responses;

use potluck_protocol::page::AnswerEnd;
use serde_json::{Value, json};

use crate::collect::Usage;
use crate::error::ApiError;
use crate::fields::{Fields, is_nothing};

/// What OpenAI calls an answer's end.
pub(crate) fn finish_reason(end: AnswerEnd) -> &'static str {
    match end {
        AnswerEnd::Stop | AnswerEnd::Text(_) => "stop",
        AnswerEnd::Length | AnswerEnd::Cancelled => "length",
    }
}

pub(crate) fn usage(usage: Usage) -> Value {
    let Usage { prompt, kept, completion } = usage;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": kept },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}

/// Names and hints for OpenAI's own servers; they change no answer.
const HINTS: [&str; 9] = [
    "metadata",
    "user",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "prediction",
    "stream_options",
];

/// Fields of chats and texts that would change an answer and cannot be honoured.
fn refuse_unsupported(fields: &mut Fields) -> Result<(), ApiError> {
    let drawn =
        "tokens are drawn by the node with the model's last layer, which knows no such rule";
    for name in ["presence_penalty", "frequency_penalty", "logit_bias", "min_p", "typical_p"] {
        fields.refuse(name, is_nothing, drawn)?;
    }
    let unknown = "the node that draws tokens does not report their probabilities";
    for name in ["logprobs", "top_logprobs"] {
        fields.refuse(name, is_nothing, unknown)?;
    }
    fields.drop(&HINTS);
    Ok(())
}

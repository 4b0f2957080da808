//! `/v1/completions`: texts that are gone on with as they stand.

use axum::response::Response;
use potluck_protocol::chat::Conversation;
use serde_json::{Value, json};

use super::chat::stream_options;
use super::choices::{Form, Manner, respond};
use super::refuse_unsupported;
use crate::collect::Whole;
use crate::error::ApiError;
use crate::fields::{Fields, Ignored, is_nothing};
use crate::node::Swarm;
use crate::question::{self, Choices, Question};

/// A text's choices.
struct Texts {
    /// What is given back before what follows it.
    before: String,
}

impl Form for Texts {
    const OBJECTS: [&'static str; 2] = ["text_completion", "text_completion"];

    fn whole(&self, whole: &Whole) -> Value {
        json!({ "text": format!("{}{}", self.before, whole.text) })
    }

    fn first(&self) -> Option<Value> {
        (!self.before.is_empty()).then(|| json!({ "text": self.before }))
    }

    fn piece(&self, text: Option<&str>) -> Value {
        json!({ "text": text.unwrap_or_default() })
    }
}

fn parse(body: &[u8]) -> Result<((Question, Manner), Texts, Ignored), ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.take("model")?;
    let prompt = match fields.require::<Value>("prompt")? {
        Value::String(text) => text,
        Value::Array(mut texts) if texts.len() == 1 && texts[0].is_string() => {
            texts.remove(0).as_str().unwrap_or_default().to_owned()
        }
        _ => {
            let why = "one text a request, and no tokens";
            return Err(ApiError::unsupported("prompt", why));
        }
    };
    let max_tokens = question::max_tokens(&mut fields, "max_tokens")?;
    let count = question::choices(&mut fields)?;
    let seed = question::seed(&mut fields)?;
    let sampling = question::sampling(&mut fields, "repetition_penalty")?;
    let stops = question::stops(&mut fields, "stop")?;
    let stream = fields.take("stream")?.unwrap_or(false);
    let says_usage = stream_options(&mut fields)?;
    let echo: bool = fields.take("echo")?.unwrap_or(false);
    let before = if echo { prompt.clone() } else { String::new() };
    fields.refuse("suffix", is_nothing, "the model goes on with a text, and knows no end of it")?;
    fields.refuse("best_of", |best| best.as_u64() == Some(count.into()), "use `n`")?;
    refuse_unsupported(&mut fields)?;
    let conversation = Conversation::plain(prompt);
    conversation.check().map_err(|fault| ApiError::field("prompt", fault.to_string()))?;
    let question =
        Question { model, conversation, sampling, max_tokens, stops, counts_only: false };
    let manner = Manner { choices: Choices::new(count, seed)?, stream, says_usage };
    Ok(((question, manner), Texts { before }, fields.ignored()))
}

pub(crate) async fn completions(swarm: Swarm, body: &[u8]) -> Result<Response, ApiError> {
    let (asked, texts, ignored) = parse(body)?;
    respond(swarm, "cmpl", asked, texts, &ignored).await
}

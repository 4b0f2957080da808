//! `/v1/chat/completions`.

use axum::response::Response;
use potluck_protocol::chat::{Conversation, Effort};
use serde_json::{Value, json};

use super::choices::{Form, Manner, respond};
use super::{messages, refuse_unsupported};
use crate::collect::Whole;
use crate::error::ApiError;
use crate::fields::{Fields, Ignored, is_nothing};
use crate::node::Swarm;
use crate::question::{self, Choices, Question};

/// A chat's choices.
struct Chat;

impl Form for Chat {
    const OBJECTS: [&'static str; 2] = ["chat.completion", "chat.completion.chunk"];

    fn whole(&self, whole: &Whole) -> Value {
        json!({ "message": { "role": "assistant", "content": whole.text, "refusal": null } })
    }

    fn first(&self) -> Option<Value> {
        Some(json!({ "delta": { "role": "assistant", "content": "", "refusal": null } }))
    }

    fn piece(&self, text: Option<&str>) -> Value {
        json!({ "delta": text.map_or_else(|| json!({}), |text| json!({ "content": text })) })
    }
}

/// How much a model thinks.
pub(super) fn effort_of(word: Option<&str>, name: &str) -> Result<Effort, ApiError> {
    match word {
        None | Some("none" | "minimal") => Ok(Effort::None),
        Some("low") => Ok(Effort::Low),
        Some("medium") => Ok(Effort::Medium),
        Some("high" | "xhigh") => Ok(Effort::High),
        Some(other) => {
            let message =
                format!("`{name}` is {other:?}; it can be none, minimal, low, medium or high");
            Err(ApiError::field(name, message))
        }
    }
}

/// Refuses tools, and a form that the answer must have.
pub(super) fn refuse_forms(fields: &mut Fields) -> Result<(), ApiError> {
    let tools = "this gateway does not call tools yet";
    for name in ["tools", "functions"] {
        fields.refuse(name, is_nothing, tools)?;
    }
    let no_tools = |value: &Value| is_nothing(value) || value == "none" || value == "auto";
    for name in ["tool_choice", "function_call"] {
        fields.refuse(name, no_tools, tools)?;
    }
    fields.drop(&["parallel_tool_calls"]);
    let is_text = |value: &Value| value["type"] == "text";
    fields.refuse("response_format", is_text, "answers are free text")
}

fn parse(body: &[u8]) -> Result<((Question, Manner), Ignored), ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.take("model")?;
    let messages = messages::messages(fields.require("messages")?)?;
    let most = question::max_tokens(&mut fields, "max_completion_tokens")?;
    let max_tokens = question::max_tokens(&mut fields, "max_tokens")?.into_iter().chain(most).min();
    let count = question::choices(&mut fields)?;
    let seed = question::seed(&mut fields)?;
    let sampling = question::sampling(&mut fields, "repetition_penalty")?;
    let stops = question::stops(&mut fields, "stop")?;
    let effort: Option<String> = fields.take("reasoning_effort")?;
    let effort = effort_of(effort.as_deref(), "reasoning_effort")?;
    let stream = fields.take("stream")?.unwrap_or(false);
    let says_usage = stream_options(&mut fields)?;
    refuse_forms(&mut fields)?;
    let is_text = |value: &Value| *value == json!(["text"]);
    fields.refuse("modalities", is_text, "answers are text")?;
    fields.refuse("store", is_nothing, "nothing is kept")?;
    for name in ["audio", "web_search_options"] {
        fields.refuse(name, is_nothing, "answers are the model's own text")?;
    }
    fields.refuse(
        "verbosity",
        |value| value == "medium",
        "this swarm's models know no such setting",
    )?;
    refuse_unsupported(&mut fields)?;
    let conversation = Conversation { effort, ..Conversation::of(messages) };
    conversation.check().map_err(|fault| ApiError::field("messages", fault.to_string()))?;
    let question =
        Question { model, conversation, sampling, max_tokens, stops, counts_only: false };
    let manner = Manner { choices: Choices::new(count, seed)?, stream, says_usage };
    Ok(((question, manner), fields.ignored()))
}

/// Whether a stream's end says what it took.
pub(super) fn stream_options(fields: &mut Fields) -> Result<bool, ApiError> {
    let Some(options) = fields.value("stream_options") else { return Ok(false) };
    let mut options = Fields::within(options, "stream_options")?;
    Ok(options.take("include_usage")?.unwrap_or(false))
}

pub(crate) async fn chat(swarm: Swarm, body: &[u8]) -> Result<Response, ApiError> {
    let (asked, ignored) = parse(body)?;
    respond(swarm, "chatcmpl", asked, Chat, &ignored).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Result<((Question, Manner), Ignored), ApiError> {
        parse(body.to_string().as_bytes())
    }

    fn hi(mut more: Value) -> Value {
        more["messages"] = json!([{ "role": "user", "content": "hi" }]);
        more
    }

    #[test]
    fn what_clients_send_is_understood() {
        let ((question, manner), ignored) = parsed(hi(json!({
            "model": "m", "max_tokens": 90, "max_completion_tokens": 70, "temperature": 0, "seed": 5,
            "stop": ["x"], "stream": true, "stream_options": { "include_usage": true }, "n": 2,
            "user": "u", "metadata": {}, "presence_penalty": 0, "logprobs": false, "tools": [],
            "tool_choice": "auto", "response_format": { "type": "text" }, "frobnicate": 1,
            "reasoning_effort": "low", "store": false,
        })))
        .unwrap();
        assert_eq!(question.max_tokens, Some(70));
        assert_eq!(question.sampling.temperature_milli, Some(0));
        assert_eq!(question.conversation.effort, Effort::Low);
        assert!(manner.stream && manner.says_usage);
        assert_eq!((manner.choices.count, manner.choices.seed(1)), (2, 6));
        assert_eq!(ignored.header().unwrap(), "frobnicate");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (field, value) in [
            ("tools", json!([{ "type": "function" }])),
            ("tool_choice", json!("required")),
            ("response_format", json!({ "type": "json_object" })),
            ("logprobs", json!(true)),
            ("logit_bias", json!({ "5": 10 })),
            ("presence_penalty", json!(0.5)),
            ("n", json!(9)),
            ("modalities", json!(["audio"])),
            ("store", json!(true)),
            ("reasoning_effort", json!("enormous")),
            ("stream", json!("yes")),
        ] {
            let error = parsed(hi(json!({ field: value }))).unwrap_err();
            assert_eq!((error.status.as_u16(), error.param.as_deref()), (400, Some(field)));
        }
    }

    #[test]
    fn too_much_or_nothing_is_refused() {
        let many = vec![json!({ "role": "user", "content": "x" }); 100_000];
        let error = parsed(json!({ "messages": many })).unwrap_err();
        assert!(error.message.contains("100000 messages"), "{}", error.message);
        assert!(parsed(json!({ "messages": [] })).is_err());
        assert!(parsed(json!({})).unwrap_err().message.contains("missing"));
    }
}

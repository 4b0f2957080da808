//! Ollama's protocol: `/api/chat`, `/api/generate`, `/api/tags` and what clients ask besides.

use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use potluck_protocol::chat::{Conversation, Effort, Message, Role, ToolCall};
use potluck_protocol::page::AnswerEnd;
use potluck_protocol::server::ModelSummary;
use serde_json::{Value, json};

use crate::collect::{Usage, begin_one, whole};
use crate::error::{ApiError, Dialect};
use crate::fields::{Fields, Ignored, is_nothing};
use crate::node::{Answer, Begun, Piece, Swarm};
use crate::question::{self, Choices, Question};
use crate::server::{Head, ignoring};
use crate::stream::{self, Gone, Sink};

/// Which of the two requests, and so where the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Generate,
}

impl Kind {
    fn parse(self, body: &[u8]) -> Result<(Question, Choices, bool, Ignored), ApiError> {
        let mut fields = Fields::of(body)?;
        let model = model(&mut fields)?;
        let mut conversation = match self {
            Self::Chat => {
                let values: Vec<Value> = fields.require("messages")?;
                let values = values.into_iter().enumerate();
                let messages = values.map(|(at, value)| {
                    message(value).map_err(|error| {
                        let message = format!("messages[{at}]: {}", error.message);
                        ApiError { message, ..error }
                    })
                });
                Conversation::of(messages.collect::<Result<_, _>>()?)
            }
            Self::Generate => text(&mut fields)?,
        };
        conversation.effort = match fields.value("think") {
            None | Some(Value::Bool(false)) => Effort::None,
            Some(Value::Bool(true)) => Effort::Medium,
            Some(Value::String(word)) => match word.as_str() {
                "low" => Effort::Low,
                "medium" => Effort::Medium,
                "high" => Effort::High,
                _ => return Err(ApiError::field("think", "`think` can be low, medium or high")),
            },
            Some(_) => return Err(ApiError::field("think", "`think` can be true or false")),
        };
        fields.refuse("tools", is_nothing, "this gateway does not call tools yet")?;
        fields.refuse("format", is_nothing, "answers are free text")?;
        for name in ["logprobs", "top_logprobs"] {
            let why = "the node that draws tokens does not report their probabilities";
            fields.refuse(name, is_nothing, why)?;
        }
        let stream = fields.take("stream")?.unwrap_or(true);
        fields.drop(&["keep_alive", "truncate", "shift"]);
        let options = fields.value("options").unwrap_or_else(|| json!({}));
        let mut options = Fields::within(options, "options")?;
        let seed = question::seed(&mut options)?;
        let sampling = question::sampling(&mut options, "repeat_penalty")?;
        let stops = question::stops(&mut options, "stop")?;
        let length: Option<i64> = options.take("num_predict")?;
        // Less than nothing is as much as there is.
        let max_tokens = match length.unwrap_or(-1) {
            0 => {
                return Err(ApiError::field(
                    "num_predict",
                    "`num_predict` is 0; ask for at least 1",
                ));
            }
            length => u32::try_from(length).ok(),
        };
        for name in ["presence_penalty", "frequency_penalty", "min_p", "mirostat"] {
            let why = "the node that draws tokens knows no such rule";
            options.refuse(name, is_nothing, why)?;
        }
        // How others' machines run a model is not the asker's to say.
        options.drop(&[
            "num_ctx",
            "num_keep",
            "num_batch",
            "num_gpu",
            "main_gpu",
            "num_thread",
            "use_mmap",
            "numa",
            "low_vram",
            "f16_kv",
            "vocab_only",
            "use_mlock",
            "repeat_last_n",
            "tfs_z",
            "typical_p",
            "mirostat_tau",
            "mirostat_eta",
            "penalize_newline",
        ]);
        conversation.check().map_err(|fault| ApiError::bad(fault.to_string()))?;
        let question =
            Question { model, conversation, sampling, max_tokens, stops, counts_only: false };
        Ok((question, Choices::new(1, seed)?, stream, fields.ignored()))
    }

    /// A line of an answer, or all of it.
    fn line(self, head: &Head, text: &str) -> Value {
        let mut line =
            json!({ "model": head.model, "created_at": head.created_at(), "done": false });
        match self {
            Self::Chat => line["message"] = json!({ "role": "assistant", "content": text }),
            Self::Generate => line["response"] = text.into(),
        }
        line
    }
}

fn model(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let name: Option<String> = fields.take("model")?;
    // Clients put a tag behind every name.
    Ok(name.map(|name| name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)))
}

fn message(value: Value) -> Result<Message, ApiError> {
    let mut fields = Fields::within(value, "message")?;
    let role: String = fields.require("role")?;
    let role = match role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let message = format!("`role` is {other:?}; it can be system, user, assistant or tool");
            return Err(ApiError::field("role", message));
        }
    };
    fields.refuse("images", is_nothing, "this swarm's models read text")?;
    let content: String = fields.take("content")?.unwrap_or_default();
    let calls: Vec<Value> = fields.take("tool_calls")?.unwrap_or_default();
    let call = |value: Value| -> Result<ToolCall, ApiError> {
        let mut function = Fields::within(value["function"].clone(), "function")?;
        let arguments = function.value("arguments").unwrap_or_else(|| json!({})).to_string();
        Ok(ToolCall { id: String::new(), name: function.require("name")?, arguments })
    };
    let mut said = Message::new(role, content);
    said.tool_calls = calls.into_iter().map(call).collect::<Result<_, _>>()?;
    said.reasoning = fields.take("thinking")?;
    said.name = fields.take("tool_name")?;
    Ok(said)
}

fn text(fields: &mut Fields) -> Result<Conversation, ApiError> {
    let prompt: String = fields.require("prompt")?;
    let system: Option<String> = fields.take("system")?;
    let is_raw: bool = fields.take("raw")?.unwrap_or(false);
    for (name, why) in [
        ("images", "this swarm's models read text"),
        ("suffix", "the model goes on with a text, and knows no end of it"),
        ("template", "the model's own is used"),
        ("context", "send the conversation to /api/chat"),
    ] {
        fields.refuse(name, is_nothing, why)?;
    }
    if is_raw {
        return Ok(Conversation::plain(prompt));
    }
    let system = system.filter(|text| !text.is_empty());
    let system = system.map(|text| Message::new(Role::System, text));
    Ok(Conversation::of(system.into_iter().chain([Message::user(prompt)]).collect()))
}

pub(crate) async fn answer(swarm: Swarm, kind: Kind, body: &[u8]) -> Result<Response, ApiError> {
    let (question, choices, stream, ignored) = kind.parse(body)?;
    let started = Instant::now();
    let answer = begin_one(&swarm, &question, choices).await?;
    let head = Head::new("", &swarm, question.model.as_deref());
    let response = if stream {
        stream::lines(move |sink| streamed((kind, head, started), answer, sink))
    } else {
        let whole = whole(answer).await?;
        let mut body = kind.line(&head, &whole.text);
        end(&mut body, whole.end, whole.usage, started);
        Json(body).into_response()
    };
    Ok(ignoring(response, &ignored))
}

/// What the last line says besides.
fn end(line: &mut Value, end: AnswerEnd, usage: Usage, started: Instant) {
    let nanoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let reason = match end {
        AnswerEnd::Stop | AnswerEnd::Text(_) => "stop",
        AnswerEnd::Length | AnswerEnd::Cancelled => "length",
    };
    let said = json!({
        "done": true,
        "done_reason": reason,
        "total_duration": nanoseconds,
        "load_duration": 0,
        "prompt_eval_count": usage.prompt,
        "prompt_eval_duration": 0,
        "eval_count": usage.completion,
        "eval_duration": nanoseconds,
    });
    if let (Some(line), Value::Object(said)) = (line.as_object_mut(), said) {
        line.extend(said);
    }
}

async fn streamed(
    (kind, head, started): (Kind, Head, Instant),
    (mut answer, begun): (Answer, Begun),
    sink: Sink<Bytes>,
) -> Result<(), Gone> {
    loop {
        match answer.next().await {
            Ok(Piece::Text(text)) if text.is_empty() => {}
            Ok(Piece::Text(text)) => sink.line(&kind.line(&head, &text)).await?,
            Ok(Piece::End(reason)) => {
                let mut line = kind.line(&head, "");
                end(&mut line, reason, Usage::of(&answer, begun), started);
                return sink.line(&line).await;
            }
            Err(error) => {
                return sink.line(&error.body(Dialect::Ollama)).await;
            }
        }
    }
}

fn described(summary: &ModelSummary) -> Value {
    let name = format!("{}:latest", summary.name);
    json!({
        "name": name,
        "model": name,
        "modified_at": "1970-01-01T00:00:00Z",
        "size": 0,
        "digest": summary.id.to_string(),
        "details": {
            "parent_model": "",
            "format": "potluck",
            "family": "potluck",
            "families": ["potluck"],
            "parameter_size": "",
            "quantization_level": "",
        },
    })
}

pub(crate) fn tags(swarm: &Swarm) -> Value {
    json!({ "models": swarm.models().iter().map(described).collect::<Vec<Value>>() })
}

pub(crate) fn version() -> Value {
    json!({ "version": env!("CARGO_PKG_VERSION") })
}

/// What a model is.
pub(crate) fn show(swarm: &Swarm, body: &[u8]) -> Result<Value, ApiError> {
    let wanted = model(&mut Fields::of(body)?)?;
    let wanted = wanted.ok_or_else(|| ApiError::field("model", "`model` is missing"))?;
    let models = swarm.models();
    let found = models.iter().find(|summary| summary.name == wanted);
    let found =
        found.ok_or_else(|| ApiError::not_found(format!("this swarm has no model {wanted:?}")))?;
    let mut body = described(found);
    body["capabilities"] = json!(["completion"]);
    body["model_info"] =
        json!({ "general.architecture": "potluck", "potluck.block_count": found.layers });
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(kind: Kind, body: Value) -> Result<Question, ApiError> {
        kind.parse(body.to_string().as_bytes()).map(|(question, ..)| question)
    }

    #[test]
    fn both_requests_are_understood() {
        let chat = parsed(
            Kind::Chat,
            json!({
                "model": "potluck-tiny:latest",
                "messages": [{ "role": "user", "content": "hi" }],
                "options": { "temperature": 0, "num_predict": 7, "seed": 3, "stop": "x", "num_ctx": 1 },
                "keep_alive": "5m",
            }),
        )
        .unwrap();
        assert_eq!(chat.model.as_deref(), Some("potluck-tiny"));
        assert_eq!((chat.max_tokens, chat.stops), (Some(7), vec!["x".to_owned()]));
        let all =
            parsed(Kind::Generate, json!({ "prompt": "a", "options": { "num_predict": -1 } }));
        assert_eq!(all.unwrap().max_tokens, None);
        let raw = parsed(Kind::Generate, json!({ "prompt": "a", "raw": true })).unwrap();
        assert_eq!(raw.conversation.plain.as_deref(), Some("a"));
        let system = parsed(Kind::Generate, json!({ "prompt": "a", "system": "b" })).unwrap();
        assert_eq!(system.conversation.messages.len(), 2);
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        let hi = json!([{ "role": "user", "content": "hi" }]);
        for more in [
            json!({ "format": "json" }),
            json!({ "tools": [{}] }),
            json!({ "options": { "min_p": 0.1 } }),
            json!({ "options": { "num_predict": 0 } }),
            json!({ "think": "hard" }),
        ] {
            let mut body = more.clone();
            body["messages"] = hi.clone();
            assert_eq!(parsed(Kind::Chat, body).unwrap_err().status.as_u16(), 400, "{more}");
        }
    }
}

//! Anthropic's protocol: `/v1/messages` and `/v1/messages/count_tokens`.

use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use potluck_protocol::chat::{Conversation, Effort, Message, Role, ToolCall};
use potluck_protocol::page::AnswerEnd;
use serde_json::{Value, json};

use crate::collect::{Usage, begin_one, whole};
use crate::error::{ApiError, Dialect};
use crate::fields::{Fields, Ignored, is_nothing};
use crate::node::{Answer, Begun, Piece, Swarm};
use crate::question::{self, Choices, Question};
use crate::server::{Head, ignoring};
use crate::stream::{self, Gone, Sink};

/// A model that may think as much as this many tokens thinks as much as it likes.
const MUCH_THINKING: u64 = 8_192;

fn conversation(fields: &mut Fields) -> Result<Conversation, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = fields.value("system") {
        messages.push(Message::new(Role::System, texts(system, "system")?));
    }
    for (at, value) in fields.require::<Vec<Value>>("messages")?.into_iter().enumerate() {
        message(value, &mut messages).map_err(|error| {
            let message = format!("messages.{at}: {}", error.message);
            ApiError { message, param: Some(format!("messages.{at}")), ..error }
        })?;
    }
    let effort = match fields.value("thinking") {
        None => Effort::None,
        Some(value) => {
            let mut thinking = Fields::within(value, "thinking")?;
            let kind: String = thinking.require("type")?;
            let budget: Option<u64> = thinking.take("budget_tokens")?;
            match kind.as_str() {
                "disabled" => Effort::None,
                "enabled" | "adaptive" if budget.is_some_and(|most| most >= MUCH_THINKING) => {
                    Effort::High
                }
                "enabled" | "adaptive" => Effort::Medium,
                other => {
                    let message = format!("`thinking.type` is {other:?}");
                    return Err(ApiError::field("thinking", message));
                }
            }
        }
    };
    let tools = "this gateway does not call tools yet";
    fields.refuse("tools", is_nothing, tools)?;
    fields.refuse("tool_choice", |choice| choice["type"] == "none", tools)?;
    for name in ["mcp_servers", "container", "context_management", "output_config", "output_format"]
    {
        fields.refuse(name, is_nothing, "this gateway knows no such thing")?;
    }
    fields.drop(&["metadata", "service_tier", "cache_control"]);
    let conversation = Conversation { effort, ..Conversation::of(messages) };
    conversation.check().map_err(|fault| ApiError::field("messages", fault.to_string()))?;
    Ok(conversation)
}

fn message(value: Value, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let mut fields = Fields::within(value, "message")?;
    let role: String = fields.require("role")?;
    let role = match role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => {
            let message = format!("`role` is {other:?}; it can be user or assistant");
            return Err(ApiError::field("role", message));
        }
    };
    let blocks = match fields.require::<Value>("content")? {
        Value::Array(blocks) => blocks,
        content => vec![json!({ "type": "text", "text": content })],
    };
    let mut said = Message::new(role, "");
    for block in blocks {
        let mut block = Fields::within(block, "content")?;
        let kind: String = block.require("type")?;
        match kind.as_str() {
            "text" => said.content.push_str(&block.require::<String>("text")?),
            "thinking" => said.reasoning = block.take("thinking")?,
            "redacted_thinking" => {}
            "tool_use" => said.tool_calls.push(ToolCall {
                id: block.require("id")?,
                name: block.require("name")?,
                arguments: block.require::<Value>("input")?.to_string(),
            }),
            // Results are messages of their own to templates, before what the person says.
            "tool_result" => {
                let tool_call_id = Some(block.require("tool_use_id")?);
                let content = block.value("content").unwrap_or_else(|| json!(""));
                let content = texts(content, "content")?;
                messages.push(Message { tool_call_id, ..Message::new(Role::Tool, content) });
            }
            other => {
                let why = format!("{other:?}: this swarm's models read text");
                return Err(ApiError::unsupported("content", &why));
            }
        }
    }
    if !said.content.is_empty() || !said.tool_calls.is_empty() {
        messages.push(said);
    }
    Ok(())
}

/// A text, or blocks of text.
fn texts(value: Value, name: &str) -> Result<String, ApiError> {
    let blocks = match value {
        Value::String(text) => return Ok(text),
        Value::Array(blocks) => blocks,
        _ => {
            return Err(ApiError::field(
                name,
                format!("`{name}` must be a text or blocks of text"),
            ));
        }
    };
    let text = |block: Value| -> Result<String, ApiError> {
        let mut block = Fields::within(block, name)?;
        match block.require::<String>("type")?.as_str() {
            "text" => block.require("text"),
            other => {
                let why = format!("{other:?}: this swarm's models read text");
                Err(ApiError::unsupported(name, &why))
            }
        }
    };
    blocks.into_iter().map(text).collect()
}

fn parse(body: &[u8]) -> Result<(Question, Choices, bool, Ignored), ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.take("model")?;
    let max_tokens = question::max_tokens(&mut fields, "max_tokens")?;
    let max_tokens = Some(max_tokens.ok_or_else(|| {
        ApiError::field("max_tokens", "`max_tokens` is missing: how long may the answer be?")
    })?);
    let sampling = question::sampling(&mut fields, "repetition_penalty")?;
    let seed = question::seed(&mut fields)?;
    let stops = question::stops(&mut fields, "stop_sequences")?;
    let stream = fields.take("stream")?.unwrap_or(false);
    let conversation = conversation(&mut fields)?;
    let question =
        Question { model, conversation, sampling, max_tokens, stops, counts_only: false };
    Ok((question, Choices::new(1, seed)?, stream, fields.ignored()))
}

pub(crate) async fn messages(swarm: Swarm, body: &[u8]) -> Result<Response, ApiError> {
    let (question, choices, stream, ignored) = parse(body)?;
    let answer = begin_one(&swarm, &question, choices).await?;
    let head = Head::new("msg", &swarm, question.model.as_deref());
    let stops = question.stops;
    let response = if stream {
        stream::events(move |sink| streamed((head, stops), answer, sink))
    } else {
        let whole = whole(answer).await?;
        let mut body = object(&head, whole.usage);
        body["content"] = json!([{ "type": "text", "text": whole.text }]);
        let (reason, stop) = stopped(whole.end, &stops);
        body["stop_reason"] = reason.into();
        body["stop_sequence"] = stop.into();
        Json(body).into_response()
    };
    Ok(ignoring(response, &ignored))
}

pub(crate) async fn count_tokens(swarm: Swarm, body: &[u8]) -> Result<Response, ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.take("model")?;
    let conversation = conversation(&mut fields)?;
    let question = Question { model, conversation, counts_only: true, ..Question::default() };
    let mut answer = swarm.ask_one(&question, Choices::new(1, Some(0))?).await?;
    let tokens = answer.count().await?;
    let response = Json(json!({ "input_tokens": tokens })).into_response();
    Ok(ignoring(response, &fields.ignored()))
}

/// Why an answer ended, and which text ended it.
fn stopped(end: AnswerEnd, stops: &[String]) -> (&'static str, Option<&str>) {
    match end {
        AnswerEnd::Stop => ("end_turn", None),
        AnswerEnd::Length | AnswerEnd::Cancelled => ("max_tokens", None),
        AnswerEnd::Text(which) => ("stop_sequence", stops.get(which as usize).map(String::as_str)),
    }
}

fn usage(Usage { prompt, kept, completion }: Usage) -> Value {
    json!({
        "input_tokens": prompt - kept,
        "cache_read_input_tokens": kept,
        "cache_creation_input_tokens": 0,
        "output_tokens": completion,
    })
}

fn object(head: &Head, took: Usage) -> Value {
    json!({
        "id": head.id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": usage(took),
    })
}

async fn streamed(
    (head, stops): (Head, Vec<String>),
    (mut answer, begun): (Answer, Begun),
    sink: Sink<Event>,
) -> Result<(), Gone> {
    let send = async |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        sink.named(kind, &data).await
    };
    let message = object(&head, Usage::of(&answer, begun));
    send("message_start", json!({ "message": message })).await?;
    let block = json!({ "index": 0, "content_block": { "type": "text", "text": "" } });
    send("content_block_start", block).await?;
    send("ping", json!({})).await?;
    let end = loop {
        match answer.next().await {
            Ok(Piece::Text(text)) if text.is_empty() => {}
            Ok(Piece::Text(text)) => {
                let delta = json!({ "type": "text_delta", "text": text });
                send("content_block_delta", json!({ "index": 0, "delta": delta })).await?;
            }
            Ok(Piece::End(end)) => break end,
            Err(error) => {
                return sink.named("error", &error.body(Dialect::Anthropic)).await;
            }
        }
    };
    send("content_block_stop", json!({ "index": 0 })).await?;
    let (reason, stop) = stopped(end, &stops);
    let delta = json!({ "stop_reason": reason, "stop_sequence": stop });
    let usage = usage(Usage::of(&answer, begun));
    send("message_delta", json!({ "delta": delta, "usage": usage })).await?;
    send("message_stop", json!({})).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Result<Question, ApiError> {
        parse(body.to_string().as_bytes()).map(|(question, ..)| question)
    }

    #[test]
    fn blocks_become_messages() {
        let question = parsed(json!({
            "max_tokens": 10,
            "system": [{ "type": "text", "text": "be kind" }],
            "messages": [
                { "role": "user", "content": "add" },
                { "role": "assistant", "content": [
                    { "type": "thinking", "thinking": "hm", "signature": "s" },
                    { "type": "text", "text": "I add." },
                    { "type": "tool_use", "id": "t", "name": "add", "input": { "a": 1 } },
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "3" }] },
                    { "type": "text", "text": "and?" },
                ] },
            ],
            "stop_sequences": ["x"], "top_k": 5, "metadata": { "user_id": "u" },
            "thinking": { "type": "enabled", "budget_tokens": 10_000 },
        }))
        .unwrap();
        let messages = &question.conversation.messages;
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool, Role::User]);
        assert_eq!(messages[2].reasoning.as_deref(), Some("hm"));
        assert_eq!(messages[2].tool_calls[0].arguments, r#"{"a":1}"#);
        assert_eq!((messages[3].content.as_str(), messages[4].content.as_str()), ("3", "and?"));
        assert_eq!(question.conversation.effort, Effort::High);
        assert_eq!(question.stops, ["x"]);
    }

    #[test]
    fn what_is_missing_or_cannot_be_read_is_named() {
        let hi = json!([{ "role": "user", "content": "hi" }]);
        let error = parsed(json!({ "messages": hi })).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("max_tokens"));
        let image = json!([{ "role": "user", "content": [{ "type": "image", "source": {} }] }]);
        let error = parsed(json!({ "max_tokens": 5, "messages": image })).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages.0"));
        let tools = json!({ "max_tokens": 5, "messages": hi, "tools": [{ "name": "f" }] });
        assert_eq!(parsed(tools).unwrap_err().param.as_deref(), Some("tools"));
    }

    #[test]
    fn ends_have_their_words() {
        let stops = ["a".to_owned(), "b".to_owned()];
        assert_eq!(stopped(AnswerEnd::Stop, &stops), ("end_turn", None));
        assert_eq!(stopped(AnswerEnd::Length, &stops), ("max_tokens", None));
        assert_eq!(stopped(AnswerEnd::Text(1), &stops), ("stop_sequence", Some("b")));
    }
}

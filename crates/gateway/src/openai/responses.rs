//! `/v1/responses`.

use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use potluck_protocol::chat::{Conversation, Message, Role, ToolCall};
use potluck_protocol::page::AnswerEnd;
use serde_json::{Value, json};

use super::chat::{effort_of, refuse_forms};
use super::messages::text;
use super::refuse_unsupported;
use crate::collect::{Usage, begin_one, whole};
use crate::error::ApiError;
use crate::fields::{Fields, Ignored, is_nothing};
use crate::node::{Answer, Begun, Piece, Swarm};
use crate::question::{self, Choices, Question};
use crate::server::{Head, ignoring};
use crate::stream::{self, Gone, Sink};

#[derive(Debug)]
struct Request {
    question: Question,
    choices: Choices,
    stream: bool,
    instructions: Option<String>,
}

fn parse(body: &[u8]) -> Result<(Request, Ignored), ApiError> {
    let mut fields = Fields::of(body)?;
    let model = fields.take("model")?;
    let instructions: Option<String> = fields.take("instructions")?;
    let system = instructions.iter().map(|text| Message::new(Role::System, text.as_str()));
    let mut messages: Vec<Message> = system.collect();
    match fields.require::<Value>("input")? {
        Value::String(text) => messages.push(Message::user(text)),
        Value::Array(items) => {
            for (at, value) in items.into_iter().enumerate() {
                item(value, &mut messages).map_err(|error| {
                    let message = format!("input[{at}]: {}", error.message);
                    ApiError { message, param: Some(format!("input[{at}]")), ..error }
                })?;
            }
        }
        _ => return Err(ApiError::field("input", "`input` must be a text or a list of items")),
    }
    let max_tokens = question::max_tokens(&mut fields, "max_output_tokens")?;
    let seed = question::seed(&mut fields)?;
    let sampling = question::sampling(&mut fields, "repetition_penalty")?;
    let effort = match fields.value("reasoning") {
        None => effort_of(None, "reasoning.effort")?,
        Some(value) => {
            let mut reasoning = Fields::within(value, "reasoning")?;
            let word: Option<String> = reasoning.take("effort")?;
            effort_of(word.as_deref(), "reasoning.effort")?
        }
    };
    let stream = fields.take("stream")?.unwrap_or(false);
    if let Some(value) = fields.value("text") {
        let mut text = Fields::within(value, "text")?;
        let is_text = |format: &Value| format["type"] == "text";
        text.refuse("format", is_text, "answers are free text")?;
    }
    refuse_forms(&mut fields)?;
    let not_kept = "nothing is kept between requests: send the whole conversation as `input`";
    for name in ["previous_response_id", "conversation", "prompt", "background"] {
        fields.refuse(name, is_nothing, not_kept)?;
    }
    let cuts_nothing = |value: &Value| value == "disabled";
    fields.refuse("truncation", cuts_nothing, "shorten the conversation yourself")?;
    fields.drop(&["store", "include", "max_tool_calls"]);
    refuse_unsupported(&mut fields)?;
    let conversation = Conversation { effort, ..Conversation::of(messages) };
    conversation.check().map_err(|fault| ApiError::field("input", fault.to_string()))?;
    let stops = Vec::new();
    let question =
        Question { model, conversation, sampling, max_tokens, stops, counts_only: false };
    let choices = Choices::new(1, seed)?;
    Ok((Request { question, choices, stream, instructions }, fields.ignored()))
}

/// One item of what was said.
fn item(value: Value, messages: &mut Vec<Message>) -> Result<(), ApiError> {
    let mut fields = Fields::within(value, "input")?;
    let kind: Option<String> = fields.take("type")?;
    match kind.as_deref() {
        None | Some("message") => {
            let role: String = fields.require("role")?;
            let role = match role.as_str() {
                "system" | "developer" => Role::System,
                "user" => Role::User,
                "assistant" => Role::Assistant,
                other => {
                    let message = format!("`role` is {other:?}");
                    return Err(ApiError::field("role", message));
                }
            };
            messages.push(Message::new(role, text(fields.require("content")?)?));
        }
        Some("function_call") => {
            let call = ToolCall {
                id: fields.require("call_id")?,
                name: fields.require("name")?,
                arguments: fields.require("arguments")?,
            };
            match messages.last_mut().filter(|last| last.role == Role::Assistant) {
                Some(last) => last.tool_calls.push(call),
                None => {
                    let tool_calls = vec![call];
                    messages.push(Message { tool_calls, ..Message::new(Role::Assistant, "") });
                }
            }
        }
        Some("function_call_output") => {
            let tool_call_id = Some(fields.require("call_id")?);
            let output = text(fields.require("output")?)?;
            messages.push(Message { tool_call_id, ..Message::new(Role::Tool, output) });
        }
        // What it thought is its own affair, and templates leave it out.
        Some("reasoning") => {}
        Some(other) => {
            let why = format!("{other:?} is not supported: this swarm's models read text");
            return Err(ApiError::field("type", why));
        }
    }
    Ok(())
}

pub(crate) async fn responses(swarm: Swarm, body: &[u8]) -> Result<Response, ApiError> {
    let (request, ignored) = parse(body)?;
    let Request { question, choices, stream, instructions } = request;
    let answer = begin_one(&swarm, &question, choices).await?;
    let mut head = Head::new("resp", &swarm, question.model.as_deref());
    head.more = json!({
        "object": "response",
        "created_at": head.created,
        "instructions": instructions,
        "max_output_tokens": question.max_tokens,
        "metadata": {},
        "parallel_tool_calls": false,
        "temperature": answer.1.sampling.temperature_milli as f64 / 1000.0,
        "top_p": f64::from(answer.1.sampling.top_p_milli) / 1000.0,
        "tool_choice": "none",
        "tools": [],
        "truncation": "disabled",
        "store": false,
        "error": null,
        "incomplete_details": null,
        "potluck": { "seed": choices.seed(0) },
    });
    let response = if stream {
        stream::events(move |sink| streamed(head, answer, sink))
    } else {
        let whole = whole(answer).await?;
        let item = message(&head, "completed", Some(&whole.text));
        Json(response(&head, Some(whole.end), vec![item], Some(whole.usage))).into_response()
    };
    Ok(ignoring(response, &ignored))
}

/// The response's object: in progress where there is no end yet.
fn response(head: &Head, end: Option<AnswerEnd>, output: Vec<Value>, took: Option<Usage>) -> Value {
    let mut body = head.body("response");
    body["status"] = match end {
        None => "in_progress",
        Some(AnswerEnd::Length | AnswerEnd::Cancelled) => "incomplete",
        Some(_) => "completed",
    }
    .into();
    if matches!(end, Some(AnswerEnd::Length)) {
        body["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    body["output"] = output.into();
    body["usage"] = took.map_or(Value::Null, |Usage { prompt, kept, completion }| {
        json!({
            "input_tokens": prompt,
            "input_tokens_details": { "cached_tokens": kept },
            "output_tokens": completion,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": prompt + completion,
        })
    });
    body
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// The one message of the output.
fn message(head: &Head, status: &str, text: Option<&str>) -> Value {
    let content: Vec<Value> = text.map(part).into_iter().collect();
    json!({
        "type": "message",
        "id": head.item(),
        "status": status,
        "role": "assistant",
        "content": content,
    })
}

async fn streamed(
    head: Head,
    (mut answer, begun): (Answer, Begun),
    sink: Sink<Event>,
) -> Result<(), Gone> {
    let mut number = 0;
    let mut send = async |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        data["sequence_number"] = number.into();
        number += 1;
        sink.named(kind, &data).await
    };
    let item = head.item();
    let place = |mut data: Value| {
        data["item_id"] = item.as_str().into();
        data["output_index"] = 0.into();
        data["content_index"] = 0.into();
        data
    };
    let started = json!({ "response": response(&head, None, Vec::new(), None) });
    send("response.created", started.clone()).await?;
    send("response.in_progress", started).await?;
    let added = json!({ "output_index": 0, "item": message(&head, "in_progress", None) });
    send("response.output_item.added", added).await?;
    send("response.content_part.added", place(json!({ "part": part("") }))).await?;
    let mut text = String::new();
    let end = loop {
        match answer.next().await {
            Ok(Piece::Text(more)) if more.is_empty() => {}
            Ok(Piece::Text(more)) => {
                let delta = place(json!({ "delta": more, "logprobs": [] }));
                send("response.output_text.delta", delta).await?;
                text.push_str(&more);
            }
            Ok(Piece::End(end)) => break end,
            Err(error) => {
                let mut body =
                    response(&head, None, vec![message(&head, "incomplete", Some(&text))], None);
                body["status"] = "failed".into();
                body["error"] = json!({ "code": "server_error", "message": error.message });
                return send("response.failed", json!({ "response": body })).await;
            }
        }
    };
    let done = place(json!({ "text": text, "logprobs": [] }));
    send("response.output_text.done", done).await?;
    send("response.content_part.done", place(json!({ "part": part(&text) }))).await?;
    let whole = message(&head, "completed", Some(&text));
    send("response.output_item.done", json!({ "output_index": 0, "item": whole })).await?;
    let body = response(&head, Some(end), vec![whole], Some(Usage::of(&answer, begun)));
    let name =
        if body["status"] == "completed" { "response.completed" } else { "response.incomplete" };
    send(name, json!({ "response": body })).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(body: Value) -> Result<Request, ApiError> {
        parse(body.to_string().as_bytes()).map(|(request, _)| request)
    }

    #[test]
    fn input_is_a_text_or_a_conversation() {
        let request = parsed(json!({ "input": "hi", "instructions": "be kind" })).unwrap();
        let messages = &request.question.conversation.messages;
        assert_eq!(messages[0], Message::new(Role::System, "be kind"));
        assert_eq!(messages[1], Message::user("hi"));
        let request = parsed(json!({ "input": [
            { "role": "developer", "content": "be kind" },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "hi" }] },
            { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c", "output": "7" },
            { "type": "reasoning", "summary": [] },
        ] }))
        .unwrap();
        let messages = &request.question.conversation.messages;
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::Tool]);
        assert_eq!(messages[2].tool_calls[0].name, "f");
    }

    #[test]
    fn what_needs_a_memory_is_refused_by_name() {
        for (field, value) in [
            ("previous_response_id", json!("r")),
            ("background", json!(true)),
            ("truncation", json!("auto")),
            ("tools", json!([{ "type": "web_search" }])),
        ] {
            let error = parsed(json!({ "input": "hi", field: value })).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(field));
        }
        let schema = json!({ "format": { "type": "json_schema" } });
        assert!(parsed(json!({ "input": "hi", "text": schema })).is_err());
        let item = parsed(json!({ "input": [{ "type": "computer_call" }] })).unwrap_err();
        assert_eq!(item.param.as_deref(), Some("input[0]"));
    }
}

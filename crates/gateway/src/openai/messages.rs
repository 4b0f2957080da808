//! OpenAI's messages.

use potluck_protocol::chat::{Message, Role, ToolCall};
use serde_json::Value;

use crate::error::ApiError;
use crate::fields::Fields;

/// The messages of a chat.
pub(super) fn messages(values: Vec<Value>) -> Result<Vec<Message>, ApiError> {
    values.into_iter().enumerate().map(|(at, value)| message(at, value)).collect()
}

fn message(at: usize, value: Value) -> Result<Message, ApiError> {
    let name = |field: &str| format!("messages[{at}].{field}");
    let named = |error: ApiError| {
        let param = error.param.as_deref().map_or_else(|| format!("messages[{at}]"), name);
        ApiError { message: format!("{param}: {}", error.message), param: Some(param), ..error }
    };
    let mut fields = Fields::within(value, "message").map_err(named)?;
    let role: String = fields.require("role").map_err(named)?;
    let role = match role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        other => {
            let message = format!(
                "{} is {other:?}; it can be system, developer, user, assistant or tool",
                name("role")
            );
            return Err(ApiError::field(&name("role"), message));
        }
    };
    let content = fields.value("content").map_or_else(|| Ok(String::new()), text);
    let mut message = Message::new(role, content.map_err(named)?);
    message.reasoning = fields.take("reasoning_content").map_err(named)?;
    message.name = fields.take("name").map_err(named)?;
    message.tool_call_id = fields.take("tool_call_id").map_err(named)?;
    fields.refuse("function_call", Value::is_null, "use tool_calls").map_err(named)?;
    fields.refuse("audio", Value::is_null, "this swarm's models read text").map_err(named)?;
    let calls: Vec<Value> = fields.take("tool_calls").map_err(named)?.unwrap_or_default();
    message.tool_calls =
        calls.into_iter().map(|call| tool_call(call).map_err(named)).collect::<Result<_, _>>()?;
    Ok(message)
}

fn tool_call(value: Value) -> Result<ToolCall, ApiError> {
    let mut call = Fields::within(value, "tool_calls")?;
    let id = call.take("id")?.unwrap_or_default();
    let mut function = Fields::within(call.require("function")?, "function")?;
    let name = function.require("name")?;
    let arguments: String = function.take("arguments")?.unwrap_or_else(|| "{}".to_owned());
    let arguments = if arguments.trim().is_empty() { "{}".to_owned() } else { arguments };
    Ok(ToolCall { id, name, arguments })
}

/// What a message says: a text, or a list of parts that are texts.
pub(super) fn text(content: Value) -> Result<String, ApiError> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts,
        _ => {
            let message = "`content` must be a text or a list of parts";
            return Err(ApiError::field("content", message));
        }
    };
    let mut texts = Vec::new();
    for part in parts {
        let mut part = Fields::within(part, "content")?;
        let kind: String = part.require("type")?;
        match kind.as_str() {
            "text" | "input_text" | "output_text" => texts.push(part.require::<String>("text")?),
            "refusal" => texts.push(part.require::<String>("refusal")?),
            other => {
                let why = format!("{other:?}: this swarm's models read text");
                return Err(ApiError::unsupported("content", &why));
            }
        }
    }
    Ok(texts.concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Result<Message, ApiError> {
        Ok(messages(vec![value])?.remove(0))
    }

    #[test]
    fn content_may_be_a_text_parts_or_nothing() {
        assert_eq!(of(json!({"role": "user", "content": "hi"})), Ok(Message::user("hi")));
        let parts = json!({"role": "user", "content": [
            {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
        ]});
        assert_eq!(of(parts), Ok(Message::user("ab")));
        let developer = of(json!({"role": "developer", "content": "be kind"})).unwrap();
        assert_eq!(developer.role, Role::System);
        let called = of(json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}
        ]}))
        .unwrap();
        assert_eq!(called.tool_calls[0].arguments, "{\"a\":1}");
        let given = of(json!({"role": "tool", "tool_call_id": "c", "content": "7"})).unwrap();
        assert_eq!(given.tool_call_id.as_deref(), Some("c"));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let image = json!({"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "x"}}
        ]});
        let error = of(image).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages[0].content"));
        assert!(error.message.contains("image_url"), "{}", error.message);
        for wrong in [
            json!({"content": "x"}),
            json!({"role": "narrator", "content": "x"}),
            json!({"role": "user", "content": 3}),
            json!("x"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.param.unwrap().starts_with("messages[0]"));
        }
    }
}

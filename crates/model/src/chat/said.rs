//! A conversation as templates see it: their values, with the spellings of control tokens broken in all
//! that people and tools wrote.

use core::fmt;

use minijinja::value::Value;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{ChatError, Content, Conversation, Message, Role};

/// Breaks the spellings of control tokens in what somebody wrote.
type Breaking<'a> = dyn Fn(Role, &str) -> String + 'a;

/// What a template is given.
#[derive(Debug)]
pub(super) struct Said {
    /// The messages.
    pub(super) messages: Vec<Value>,
    /// The tools that the model may call; `none` where there are none.
    pub(super) tools: Value,
    /// How much it is to think; `none` if it is not.
    pub(super) effort: Option<&'static str>,
    /// Somebody set the conversation up, in its first message.
    pub(super) has_system: bool,
}

impl Said {
    /// The values of a conversation.
    pub(super) fn new(
        conversation: &Conversation,
        content: Content,
        breaking: &Breaking<'_>,
    ) -> Result<Self, ChatError> {
        let Conversation { messages, tools, effort, plain: _ } = conversation;
        let has_system = messages.first().is_some_and(|first| first.role == Role::System);
        let message = |one: &Message| message(one, content, breaking);
        let messages = messages.iter().map(message).collect::<Result<_, _>>()?;
        let tools = match tools {
            Some(tools) => json("the list of tools", tools, Role::User, breaking)?,
            None => Value::from(()),
        };
        Ok(Self { messages, tools, effort: effort.name(), has_system })
    }
}

/// An empty system message, for templates that want one.
pub(super) fn nothing_set_up(content: Content) -> Value {
    Value::from_pairs([("role", Value::from("system")), ("content", parts(content, String::new()))])
}

fn parts(content: Content, text: String) -> Value {
    match content {
        Content::Text => Value::from(text),
        Content::Parts => {
            let part = [("type", Value::from("text")), ("text", Value::from(text))];
            Value::from(vec![Value::from_pairs(part)])
        }
    }
}

fn message(said: &Message, content: Content, breaking: &Breaking<'_>) -> Result<Value, ChatError> {
    let Message { role, content: text, reasoning, tool_calls, tool_call_id, name } = said;
    let broken = |text: &str| Value::from(breaking(*role, text));
    let mut members = vec![
        ("role", Value::from(role.name())),
        ("content", parts(content, breaking(*role, text))),
    ];
    if !tool_calls.is_empty() {
        let calls = tool_calls.iter().map(|call| {
            let arguments = json("what a tool is called with", &call.arguments, *role, breaking)?;
            let function =
                Value::from_pairs([("name", broken(&call.name)), ("arguments", arguments)]);
            let call = [
                ("id", broken(&call.id)),
                ("type", Value::from("function")),
                ("function", function),
            ];
            Ok(Value::from_pairs(call))
        });
        members.push(("tool_calls", calls.collect::<Result<Vec<Value>, ChatError>>()?.into()));
    }
    let others = [("reasoning_content", reasoning), ("tool_call_id", tool_call_id), ("name", name)];
    let others = others.into_iter().filter_map(|(key, text)| Some((key, broken(text.as_ref()?))));
    members.extend(others);
    Ok(Value::from_pairs(members))
}

/// JSON as a template's value: members in the order that they came in, texts broken.
fn json(what: &str, text: &str, role: Role, breaking: &Breaking<'_>) -> Result<Value, ChatError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Seed { role, breaking };
    seed.deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| ChatError::Json(format!("{what} is not JSON: {error}")))
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Seed<'a> {
    role: Role,
    breaking: &'a Breaking<'a>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.is_finite() { Ok(Value::from(value)) } else { Err(E::custom("not a number")) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from((self.breaking)(self.role, value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::from(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut pairs: Vec<(String, Value)> = Vec::new();
        while let Some(key) = members.next_key::<String>()? {
            if pairs.len() > MAX_MEMBERS {
                return Err(A::Error::custom(format!("an object of over {MAX_MEMBERS} members")));
            }
            pairs.push(((self.breaking)(self.role, &key), members.next_value_seed(self)?));
        }
        Ok(Value::from_pairs(pairs))
    }
}

/// Members of an object at most: tools have a few dozen.
const MAX_MEMBERS: usize = 10_000;

//! A request's fields, taken one by one.

use axum::http::HeaderValue;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// What is left of a request's fields.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

/// Names of fields that nobody knows, said to the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ignored(Vec<String>);

/// Such names said at most; the rest is counted.
const MAX_SAID: usize = 16;
/// Letters of one of them.
const MAX_NAME: usize = 64;

impl Fields {
    /// Of a body.
    pub(crate) fn of(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad("the request's body must be a JSON object")),
            Err(error) => Err(ApiError::bad(format!("the request's body is not JSON: {error}"))),
        }
    }

    /// Of a part of one.
    pub(crate) fn within(value: Value, name: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(ApiError::field(name, format!("`{name}` must be an object"))),
        }
    }

    /// A field's value; none where it is absent or null.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// The same, as a type of its own.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong = |error| ApiError::field(name, format!("`{name}` is wrong: {error}"));
        serde_json::from_value(value).map(Some).map_err(wrong)
    }

    /// A field that there must be.
    pub(crate) fn require<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        let missing = || ApiError::field(name, format!("`{name}` is missing"));
        self.take(name)?.ok_or_else(missing)
    }

    /// Takes out a field that changes nothing here whatever it says: names and hints for others.
    pub(crate) fn drop(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// Refuses a field by its name, but where its value is one that asks for nothing.
    pub(crate) fn refuse(
        &mut self,
        name: &str,
        is_neutral: impl FnOnce(&Value) -> bool,
        why: &str,
    ) -> Result<(), ApiError> {
        match self.value(name) {
            Some(value) if !is_neutral(&value) => Err(ApiError::unsupported(name, why)),
            _ => Ok(()),
        }
    }

    /// What nobody knows of what is left.
    pub(crate) fn ignored(self) -> Ignored {
        Ignored(self.0.into_iter().map(|(name, _)| name).collect())
    }
}

impl Ignored {
    /// As a header; none where nothing was.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        if self.0.is_empty() {
            return None;
        }
        let plain = |name: &String| -> String {
            name.chars().filter(char::is_ascii_graphic).take(MAX_NAME).collect()
        };
        let mut said: Vec<String> = self.0.iter().take(MAX_SAID).map(plain).collect();
        if self.0.len() > MAX_SAID {
            said.push(format!("and {} more", self.0.len() - MAX_SAID));
        }
        HeaderValue::from_str(&said.join(", ")).ok()
    }
}

/// True for what asks for nothing: none, no, zero, nothing in it.
pub(crate) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_field_is_taken_once_and_null_is_none() {
        let mut all = fields(r#"{"a": 1, "b": null, "c": "x"}"#);
        assert_eq!(all.take::<u32>("a").unwrap(), Some(1));
        assert_eq!(all.take::<u32>("a").unwrap(), None);
        assert_eq!(all.take::<u32>("b").unwrap(), None);
        let error = all.take::<u32>("c").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("c"));
        assert_eq!(all.require::<u32>("d").unwrap_err().message, "`d` is missing");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[]", "{", "3", "\"x\"", "{\"a\":}", "\u{0}"] {
            assert_eq!(Fields::of(body.as_bytes()).unwrap_err().status.as_u16(), 400, "{body}");
        }
        // Half of a character that JSON can only spell in two.
        assert!(Fields::of(br#"{"a": "\ud83d"}"#).is_err());
        assert!(Fields::of(b"{\"a\": \"\xff\"}").is_err());
    }

    #[test]
    fn what_is_left_is_named() {
        assert_eq!(fields("{}").ignored().header(), None);
        let mut all = fields(r#"{"model": "m", "frob\u00fc\n": 1, "x": 2}"#);
        all.drop(&["model"]);
        assert_eq!(all.ignored().header().unwrap(), "frob, x");
        let many: Map<String, Value> = (0..100).map(|at| (format!("f{at}"), 1.into())).collect();
        let said = Fields(many).ignored().header().unwrap();
        assert!(said.to_str().unwrap().ends_with("and 84 more"));
    }

    #[test]
    fn what_asks_for_nothing_is_not_refused() {
        let mut all = fields(r#"{"a": 0, "b": {}, "c": 0.5, "d": [1]}"#);
        for name in ["a", "b", "e"] {
            assert_eq!(all.refuse(name, is_nothing, "why"), Ok(()), "{name}");
        }
        for name in ["c", "d"] {
            let error = all.refuse(name, is_nothing, "why").unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
        }
    }
}

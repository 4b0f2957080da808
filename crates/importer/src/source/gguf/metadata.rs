//! What a GGUF file says about itself, by its keys.

use std::collections::BTreeMap;

use crate::error::ImportError;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
}

/// The metadata by its keys.
#[derive(Debug, Default)]
pub(super) struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    /// A count; a value of another kind, or outside of `u32`, is refused.
    pub(super) fn integer(&self, key: &str) -> Result<Option<u32>, ImportError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Integer(value)) if u32::try_from(*value).is_ok() => {
                Ok(u32::try_from(*value).ok())
            }
            Some(_) => Err(ImportError::Weights(format!("{key} is not a count"))),
        }
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Any number, a count too.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::Float(value) => Some(*value),
            #[expect(clippy::cast_precision_loss, reason = "what is compared with it is small")]
            Value::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }

    /// Keys below a name, without it.
    pub(super) fn keys_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.keys().filter_map(move |key| key.strip_prefix(name)?.strip_prefix('.'))
    }

    pub(super) fn bool(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn texts(&self, key: &str) -> Option<&[String]> {
        match self.0.get(key)? {
            Value::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    pub(super) fn numbers(&self, key: &str) -> Option<&[f64]> {
        match self.0.get(key)? {
            Value::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Adds an entry; false if its key is there already.
    pub(super) fn add(&mut self, key: String, value: Value) -> bool {
        self.0.insert(key, value).is_none()
    }
}

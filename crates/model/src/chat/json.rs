//! JSON as Python writes it, which is what templates were taught with: a blank behind commas and colons,
//! members in the order they came in.

use core::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Lists in lists at most; no template's tools go deeper.
const MAX_LEVELS: usize = 64;

/// How `json.dumps` was asked to write.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    /// Everything beyond ASCII escaped.
    pub(super) ascii: bool,
    /// Blanks a level; `None` for one line.
    pub(super) indent: Option<usize>,
    /// What stands between items, and behind a key.
    pub(super) separators: Option<(String, String)>,
    /// Members by their keys.
    pub(super) sorted: bool,
}

impl Style {
    /// The value's text.
    ///
    /// # Errors
    /// If it holds what JSON has no form for.
    pub(super) fn write(&self, value: &Value) -> Result<String, Error> {
        let mut text = String::new();
        self.value(value, 0, &mut text)?;
        Ok(text)
    }

    fn value(&self, value: &Value, level: usize, text: &mut String) -> Result<(), Error> {
        let refused = |what: &str| Err(Error::new(ErrorKind::BadSerialization, what.to_owned()));
        if level > MAX_LEVELS {
            return refused("nested too deeply for JSON");
        }
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            // As Rust shows them: 1, 2.5, 1.0.
            ValueKind::Number => {
                let _always = write!(text, "{value}");
            }
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.nested(['[', ']'], &items, level, text, |item, text| {
                    self.value(item, level + 1, text)
                })?;
            }
            ValueKind::Map => {
                let mut members = Vec::new();
                for key in value.try_iter()? {
                    members.push((key.to_string(), value.get_item(&key)?));
                }
                if self.sorted {
                    members.sort_by(|(one, _), (other, _)| one.cmp(other));
                }
                let behind = self.separators.as_ref().map_or(": ", |(_, behind)| behind);
                self.nested(['{', '}'], &members, level, text, |(key, value), text| {
                    self.string(key, text);
                    text.push_str(behind);
                    self.value(value, level + 1, text)
                })?;
            }
            kind => return refused(&format!("JSON has no form for {kind}")),
        }
        Ok(())
    }

    fn nested<T>(
        &self,
        [open, close]: [char; 2],
        items: &[T],
        level: usize,
        text: &mut String,
        write: impl Fn(&T, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let between = match (&self.separators, self.indent) {
            (Some((between, _)), _) => between.as_str(),
            // Python leaves the blank out where a new line follows.
            (None, Some(_)) => ",",
            (None, None) => ", ",
        };
        let new_line = |level: usize, text: &mut String| {
            if let Some(indent) = self.indent {
                text.push('\n');
                text.extend(core::iter::repeat_n(' ', indent * level));
            }
        };
        text.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push_str(between);
            }
            new_line(level + 1, text);
            write(item, text)?;
        }
        if !items.is_empty() {
            new_line(level, text);
        }
        text.push(close);
        Ok(())
    }

    fn string(&self, string: &str, text: &mut String) {
        let escaped = serde_json::Value::from(string).to_string();
        if !self.ascii {
            text.push_str(&escaped);
            return;
        }
        for letter in escaped.chars() {
            if letter.is_ascii() {
                text.push(letter);
            } else {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    let _always = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
}

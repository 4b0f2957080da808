//! The page's words, in the visitor's language. English is in the program, which needs it whatever
//! else fails, in two files, as the program comes in two parts; another language is a file that is
//! fetched only by whoever wants it.
//!
//! The files: `i18n/*.ftl`. A message is named by its id where it is shown:
//! `say!("ask-button")`, `say!("tokens", tokens = 3_u32)`; the tests hold the ids and the names of the
//! values against the files.

mod fluent;

use std::cell::RefCell;

use potluck_protocol::api::NodeState;
use potluck_protocol::id::LayerRange;
use potluck_protocol::server::NodeKind;

pub use fluent::{Messages, Unreadable, Value};

/// English, whose file is in the program.
const ENGLISH: &str = include_str!("../i18n/en.ftl");
/// The rest of it, in the part of the program that is fetched later.
pub(crate) static ENGLISH_LATER: &str = include_str!("../i18n/en.later.ftl");

/// A language that the page speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese, in simplified characters.
    Chinese,
}

/// All of them, in the order in which they are offered.
pub const LANGUAGES: [Language; 2] = [Language::English, Language::Chinese];

impl Language {
    /// The language's name for browsers and files, as BCP 47 has it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hans",
        }
    }

    /// What it calls itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "中文",
        }
    }

    /// Which way it is written: `ltr` or `rtl`.
    #[must_use]
    pub const fn direction(self) -> &'static str {
        match self {
            Self::English | Self::Chinese => "ltr",
        }
    }

    /// The one that a browser or an earlier visit means by `tag`, such as `zh-CN`.
    #[must_use]
    pub fn of(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_']).next().unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    /// The first of a visitor's languages that the page speaks.
    pub fn preferred(tags: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        tags.into_iter().find_map(|tag| Self::of(tag.as_ref())).unwrap_or_default()
    }

    /// The plural category of a count, as the CLDR has it.
    const fn plural(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::English, 1) => "one",
            (Self::English | Self::Chinese, _) => "other",
        }
    }
}

/// What a message can be told. By reference, so that the hundred places that tell something have
/// nothing to drop, which would be much of the page's program.
pub trait Said {
    /// As a message takes it.
    fn said(&self) -> Value<'_>;
}

impl Said for str {
    fn said(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Said for String {
    fn said(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Said for u32 {
    fn said(&self) -> Value<'_> {
        Value::Count(u64::from(*self))
    }
}

impl Said for u64 {
    fn said(&self) -> Value<'_> {
        Value::Count(*self)
    }
}

impl Said for usize {
    fn said(&self) -> Value<'_> {
        Value::Count(*self as u64)
    }
}

impl<T: Said + ?Sized> Said for &T {
    fn said(&self) -> Value<'_> {
        (**self).said()
    }
}

thread_local! {
    /// English words that came later.
    static CAME_LATER: RefCell<&'static str> = const { RefCell::new("") };
    static SPOKEN: RefCell<(Language, Messages)> = RefCell::new((Language::English, english()));
}

/// The tests read the same files, so none is shipped that cannot be read.
fn english() -> Messages {
    let mut messages = Messages::read(ENGLISH).unwrap_or_default();
    // Natively all of the program is there at once.
    #[cfg(not(target_arch = "wasm32"))]
    learn(ENGLISH_LATER);
    let later = CAME_LATER.with(|later| *later.borrow());
    messages.add(Messages::read(later).unwrap_or_default());
    messages
}

/// Has English words that came later be known from now on.
pub(crate) fn learn(later: &'static str) {
    CAME_LATER.with(|known| *known.borrow_mut() = later);
}

/// The same, while English is spoken.
pub(crate) fn learn_now(later: &'static str) {
    learn(later);
    if spoken() == Language::English {
        speak_english();
    }
}

/// Speaks English from now on.
pub fn speak_english() {
    SPOKEN.with(|spoken| *spoken.borrow_mut() = (Language::English, english()));
}

/// Speaks `language` from now on, with the words of its file.
///
/// # Errors
/// If the file cannot be read; then nothing changes.
pub fn speak(language: Language, file: &str) -> Result<(), Unreadable> {
    let messages = Messages::read(file)?;
    SPOKEN.with(|spoken| *spoken.borrow_mut() = (language, messages));
    Ok(())
}

/// The language that is spoken.
#[must_use]
pub fn spoken() -> Language {
    SPOKEN.with(|spoken| spoken.borrow().0)
}

/// A message in words. `say!` writes this shorter.
#[must_use]
pub fn say(id: &str, values: &[(&str, Value<'_>)]) -> String {
    SPOKEN.with(|spoken| {
        let (language, messages) = &*spoken.borrow();
        messages.say(*language, id, values)
    })
}

/// A message by its id, with what it is told about: `say!("tokens", tokens = 3_u32)`.
#[macro_export]
macro_rules! say {
    ($id:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::words::say($id, &[$((stringify!($name), $crate::words::Said::said(&$value))),*])
    };
}

/// `layer 3`, `layers 0 to 5`.
#[must_use]
pub fn layers(range: LayerRange) -> String {
    let last = range.end.saturating_sub(1);
    say!("layers", count = range.len(), first = range.first.to_string(), last = last.to_string())
}

/// Several things in a row: `a, b and c`.
#[must_use]
pub fn list(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] => {
            say!("list", before = before.join(&say!("list-comma")), last = last)
        }
    }
}

/// What kind of node it is.
#[must_use]
pub fn kind(kind: NodeKind) -> String {
    match kind {
        NodeKind::Browser => say!("kind-browser"),
        NodeKind::Native => say!("kind-native"),
    }
}

/// How far a node is.
#[must_use]
pub fn state(state: NodeState) -> String {
    match state {
        NodeState::Serving => say!("state-serving"),
        NodeState::Fetching => say!("state-fetching"),
        NodeState::Waiting => say!("state-waiting"),
        NodeState::Paused => say!("state-paused"),
    }
}

#[cfg(test)]
mod tests;

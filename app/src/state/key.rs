//! The key of this browser's node: whoever has it is that node, with all its credit. Saved as a file,
//! restored from one, or forgotten; the last two only while no worker uses it.

use super::{Effect, State};
use crate::say;

/// What a saved key is called.
pub const FILE: &str = "potluck-key.txt";
/// Letters of a file with a key at most: the words around it, in any language, several times over.
const MAX_FILE_BYTES: usize = 4096;

/// What is being done about the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// **Forget the key** was pressed once.
    pub is_forgetting: bool,
    /// What became of what was asked for last, or why nothing did.
    pub said: Option<Result<String, String>>,
}

impl Key {
    pub(super) fn told(&mut self, said: Result<String, String>) {
        *self = Self { is_forgetting: false, said: Some(said) };
    }
}

/// The file that a key is saved as.
#[must_use]
pub fn written(key: &[u8; 32]) -> String {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}\n\n{digits}\n", say!("key-file"))
}

/// The key in such a file.
fn read(text: &str) -> Option<[u8; 32]> {
    if text.len() > MAX_FILE_BYTES {
        return None;
    }
    let digits =
        text.split_whitespace().last().filter(|word| word.len() == 64 && word.is_ascii())?;
    let mut key = [0; 32];
    for (place, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(key)
}

impl State {
    pub(super) fn restore_key(&mut self, text: &str) -> Vec<Effect> {
        match read(text) {
            _ if self.worker_runs => self.key.told(Err(say!("key-in-use"))),
            None => self.key.told(Err(say!("key-unreadable"))),
            Some(key) => return vec![Effect::ReplaceKey(Some(Box::new(key)))],
        }
        Vec::new()
    }

    pub(super) fn forget_key(&mut self) -> Vec<Effect> {
        if self.worker_runs {
            self.key.told(Err(say!("key-in-use")));
        } else if !self.key.is_forgetting {
            self.key = Key { is_forgetting: true, said: None };
        } else {
            return vec![Effect::ReplaceKey(None)];
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Action;

    const KEY: [u8; 32] = [0xa7; 32];

    #[test]
    fn what_is_saved_is_restored() {
        assert_eq!(read(&written(&KEY)), Some(KEY));
        let mut state = State::default();
        let effects = state.reduce(Action::RestoreKey(written(&KEY)));
        assert_eq!(effects, [Effect::ReplaceKey(Some(Box::new(KEY)))]);
        state.reduce(Action::KeyTold(Ok("done".to_owned())));
        assert_eq!(state.key.said, Some(Ok("done".to_owned())));
    }

    #[test]
    fn what_is_no_key_changes_nothing() {
        let short = &written(&KEY)[..100];
        let signed = format!("+{}", "7".repeat(63));
        for text in [
            "",
            "words",
            short,
            &"a".repeat(63),
            &"g".repeat(64),
            &signed,
            &"é".repeat(32),
            &"7".repeat(5000),
        ] {
            let mut state = State::default();
            assert_eq!(state.reduce(Action::RestoreKey(text.to_owned())), [], "{text}");
            assert!(matches!(state.key.said, Some(Err(_))));
        }
    }

    #[test]
    fn forgetting_is_asked_about_and_a_key_in_use_stays() {
        let mut state = State::default();
        assert_eq!(state.reduce(Action::ForgetKey), []);
        assert!(state.key.is_forgetting);
        assert_eq!(state.reduce(Action::ForgetKey), [Effect::ReplaceKey(None)]);
        let mut state = State { worker_runs: true, ..State::default() };
        assert_eq!(state.reduce(Action::ForgetKey), []);
        assert_eq!(state.reduce(Action::ForgetKey), []);
        assert_eq!(state.reduce(Action::RestoreKey(written(&KEY))), []);
        assert!(matches!(state.key.said, Some(Err(_))));
    }
}

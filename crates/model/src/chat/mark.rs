//! The mark that breaks spellings of control tokens in what people typed.

use super::Role;

/// Characters that Unicode keeps for programs' own use and that stand in no text: one that the texts at
/// hand do not have is the mark.
const CANDIDATES: core::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A character that is in no text at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(char);

/// A token that a tokenizer takes out of a text before it looks at the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control<'a> {
    /// As it is spelled.
    pub(crate) spelling: &'a str,
    /// It is no text to the model.
    pub(crate) special: bool,
}

impl Control<'_> {
    /// Whether somebody who types this must not have the token. Blanks and letters are tokens of their
    /// own in some vocabularies, and only text; what the model itself wrote may hold its own marks of
    /// thinking, which templates look for, but nothing that frames a conversation.
    fn is_kept_from(&self, role: Role) -> bool {
        let looks_like_one = self.spelling.starts_with(['<', '[', '{', '|']);
        self.special || (looks_like_one && role != Role::Assistant)
    }
}

impl Mark {
    /// A mark that none of these texts has.
    pub(crate) fn absent_from<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<Self> {
        CANDIDATES
            .into_iter()
            .find(|mark| texts.clone().all(|text| !text.contains(*mark)))
            .map(Self)
    }

    /// True for the mark itself.
    pub(crate) fn is(self, letter: char) -> bool {
        letter == self.0
    }

    /// `content` with every spelling broken behind its first character.
    pub(crate) fn breaking(self, controls: &[Control<'_>], role: Role, content: &str) -> String {
        let kept: Vec<&str> = controls
            .iter()
            .filter(|control| control.is_kept_from(role))
            .map(|control| control.spelling)
            .collect();
        let mut marked = String::with_capacity(content.len());
        for (at, letter) in content.char_indices() {
            marked.push(letter);
            if kept.iter().any(|spelling| content[at..].starts_with(spelling)) {
                marked.push(self.0);
            }
        }
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(role: Role, content: &str) -> String {
        let controls = [
            Control { spelling: "<|end|>", special: true },
            Control { spelling: "</think>", special: false },
            Control { spelling: "  ", special: false },
            Control { spelling: "ü", special: false },
        ];
        let mark = Mark::absent_from([content].into_iter()).unwrap();
        mark.breaking(&controls, role, content).replace(mark.0, "·")
    }

    #[test]
    fn every_spelling_is_broken_and_nothing_else() {
        assert_eq!(broken(Role::User, "a<|end|>b<|end|>"), "a<·|end|>b<·|end|>");
        assert_eq!(broken(Role::User, "<|en<|end|>d|>  ü"), "<|en<·|end|>d|>  ü");
        assert_eq!(broken(Role::User, "x</think>y"), "x<·/think>y");
        assert_eq!(broken(Role::Assistant, "x</think>y<|end|>"), "x</think>y<·|end|>");
        assert_eq!(broken(Role::User, ""), "");
    }

    #[test]
    fn a_mark_that_is_typed_is_none() {
        assert_eq!(
            Mark::absent_from(["a\u{FDD0}", "\u{FDD1}"].into_iter()),
            Some(Mark('\u{FDD2}'))
        );
        let all: String = CANDIDATES.collect();
        assert_eq!(Mark::absent_from([all.as_str()].into_iter()), None);
    }
}

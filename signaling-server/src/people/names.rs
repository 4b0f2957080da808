//! Which names are shown: written as the page writes them, in Unicode's normal form C, and with few
//! marks on each letter.

use potluck_protocol::name::{MAX_CHOSEN_LETTERS, chosen};
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::is_nfc;

/// Marks on one letter at most: Vietnamese has two, pointed Hebrew three.
const MAX_MARKS: usize = 3;

/// Why something is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoName {
    /// Too long, or with characters that are not seen.
    #[error(
        "a name is a line of at most {MAX_CHOSEN_LETTERS} letters that can be seen, one of them a letter or a digit"
    )]
    Unclean,
    /// Not in the normal form.
    #[error("it is not in Unicode's normal form C")]
    NotNormal,
    /// Too many marks on a letter, or marks alone.
    #[error("a letter has at most {MAX_MARKS} marks")]
    Marks,
}

/// The name, if it may be shown.
pub(super) fn check(name: String) -> Result<String, NoName> {
    if chosen(&name).as_ref() != Some(&name) {
        return Err(NoName::Unclean);
    }
    if !is_nfc(&name) {
        return Err(NoName::NotNormal);
    }
    // The first is on nothing.
    let mut marks = MAX_MARKS;
    let mut has_letter = false;
    for letter in name.chars() {
        let is_mark = is_combining_mark(letter);
        has_letter |= letter.is_alphanumeric() && !is_mark;
        marks = if is_mark { marks + 1 } else { 0 };
        if marks > MAX_MARKS {
            return Err(NoName::Marks);
        }
    }
    if has_letter { Ok(name) } else { Err(NoName::Unclean) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_alphabets_are_taken_as_they_are() {
        let names = [
            "Rosa",
            "Nguy\u{1ec5}n",
            "日本語",
            "مريم",
            "\u{5d3}\u{5b8}\u{5bc}\u{5d5}\u{5b4}\u{5d3}",
            "नमस्ते",
            "Zo\u{eb} 7",
            "ก็",
            "🦊 fox",
        ];
        for name in names {
            assert_eq!(check(name.to_owned()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn what_hides_turns_or_climbs_is_refused() {
        let unclean = [
            "",
            " ",
            " Rosa",
            "Rosa ",
            "Ro  sa",
            "Ro\nsa",
            "Rosa\u{0}",
            "\u{202e}asoR",
            "Ro\u{200b}sa",
            "\u{2066}Rosa",
            "\u{feff}Rosa",
            "\u{3164}",
            "Rosa\u{e0041}",
            "***",
            &"x".repeat(MAX_CHOSEN_LETTERS + 1),
            &"𝔸".repeat(25),
        ];
        for name in unclean {
            assert_eq!(check(name.to_owned()), Err(NoName::Unclean), "{name:?}");
        }
        for name in ["e\u{301}", "A\u{30a}", "\u{212b}"] {
            assert_eq!(check(name.to_owned()), Err(NoName::NotNormal), "{name:?}");
        }
        let climbing = format!("x{}", "\u{335}".repeat(MAX_MARKS + 1));
        for name in [climbing.as_str(), "\u{93e}a", "\u{345}a"] {
            assert_eq!(check(name.to_owned()), Err(NoName::Marks), "{name:?}");
        }
    }
}

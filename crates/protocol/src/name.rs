//! Names that strangers read: of sites, and those that people choose for themselves and their teams.
//!
//! What is here needs no tables of Unicode. The server, which has them, also wants a name in
//! Unicode's normal form C and without heaps of marks; the page has its browser write it so.

/// Letters of a name that a person chooses at most: a line of the tally on the narrowest phone.
pub const MAX_CHOSEN_LETTERS: usize = 32;
/// Bytes of it at most: 32 letters of any alphabet that is written today.
pub const MAX_CHOSEN_BYTES: usize = 96;

/// The text as a name: without control characters and marks that turn the direction of a text or
/// are not seen, in one line, at most so many letters and bytes. `None` if nothing is left.
#[must_use]
pub fn clean(text: &str, max_letters: usize, max_bytes: usize) -> Option<String> {
    let mut name = String::new();
    let mut letters = 0;
    let mut is_after_space = false;
    for letter in text.chars() {
        if letter.is_whitespace() {
            is_after_space = true;
            continue;
        }
        if letter.is_control() || is_unseen(letter) {
            continue;
        }
        let space = is_after_space && !name.is_empty();
        letters += 1 + usize::from(space);
        if letters > max_letters || name.len() + letter.len_utf8() + usize::from(space) > max_bytes
        {
            break;
        }
        if space {
            name.push(' ');
        }
        is_after_space = false;
        name.push(letter);
    }
    (!name.is_empty()).then_some(name)
}

/// The text as a name that a person may choose: [`clean`], and at least one letter or digit in it.
#[must_use]
pub fn chosen(text: &str) -> Option<String> {
    let name = clean(text, MAX_CHOSEN_LETTERS, MAX_CHOSEN_BYTES)?;
    name.chars().any(char::is_alphanumeric).then_some(name)
}

/// Characters without a picture of their own, or with an empty one, and those that change how their
/// neighbours are drawn.
fn is_unseen(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{ffff}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_is_one_line_of_letters_that_are_seen() {
        for (typed, name) in [
            ("  Rosa \n Luz\t", "Rosa Luz"),
            ("日本語", "日本語"),
            ("مرحبا", "مرحبا"),
            ("\u{202e}gpj.exe\u{2066}\u{200b}\u{7}", "gpj.exe"),
            ("a\u{fe0f}b\u{e0041}c\u{f8ff}", "abc"),
            ("<b>1&\"'", "<b>1&\"'"),
        ] {
            assert_eq!(chosen(typed).as_deref(), Some(name), "{typed:?}");
        }
        for nothing in
            ["", " \n", "\u{200f}\u{feff}", "\u{3164}\u{2800}", "\u{301}\u{302}", "***", "\u{0}"]
        {
            assert_eq!(chosen(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn it_is_clipped_by_letters_and_bytes_and_reads_back_as_it_is() {
        assert_eq!(chosen(&"x".repeat(100)).unwrap(), "x".repeat(MAX_CHOSEN_LETTERS));
        let wide = chosen(&"𝔸".repeat(100)).unwrap();
        assert_eq!(wide.len(), MAX_CHOSEN_BYTES);
        // A space that would be the last letter goes.
        let clipped = chosen(&format!("{} y", "x".repeat(MAX_CHOSEN_LETTERS - 1))).unwrap();
        assert_eq!(clipped, "x".repeat(MAX_CHOSEN_LETTERS - 1));
        for name in [wide, clipped, "Rosa Luz".to_owned()] {
            assert_eq!(chosen(&name), Some(name.clone()));
        }
    }
}

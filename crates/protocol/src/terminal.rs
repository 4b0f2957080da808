//! Texts of others on one's own terminal. Names, reasons and answers come from strangers, and a
//! terminal takes some letters for orders: to move, to overwrite, to paste.

/// What of a text may be printed: all but control characters, of which ends of lines and tabulators
/// stay, and marks that turn the direction of what follows (Unicode's annex 9).
#[must_use]
pub fn printable(text: &str) -> String {
    let turns = |letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let plain =
        |letter: &char| matches!(letter, '\n' | '\t') || !(letter.is_control() || turns(*letter));
    text.chars().filter(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(printable("a\u{1b}[2Jb\u{7}\r\u{8}c\u{9b}31m\u{7f}"), "a[2Jbc31m");
        assert_eq!(printable("\u{202e}gpj.exe\u{2066}"), "gpj.exe");
        let text = "Grüße,\n\tمرحبا 👩‍🍳 \u{200d}";
        assert_eq!(printable(text), text);
    }
}

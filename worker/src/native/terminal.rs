//! What is said on a terminal, some of which strangers wrote: servers, models, peers.

use std::io::Write as _;

use potluck_protocol::page::AnswerEnd;
use potluck_protocol::terminal::printable;

/// Where other programs read which proxy they should use.
const PROXY_VARIABLES: [&str; 5] =
    ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY", "http_proxy"];

/// Says a line to the person, on stderr.
pub(super) fn say(text: &str) {
    // Whoever closed it does not want to know; the machine goes on being lent.
    let _ = writeln!(std::io::stderr(), "{}", line(text));
}

/// What of the text may be printed, as one line.
fn line(text: &str) -> String {
    printable(&text.replace(['\n', '\t', '\r'], " "))
}

/// Says that this program uses no proxy, where others are told to.
pub(super) fn say_no_proxy() {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(name) = PROXY_VARIABLES.iter().find(|name| is_set(name)) {
        say(&format!("{name} is set, but potluck-node uses no proxy: it connects directly"));
    }
}

/// Why an answer ended, for programs.
pub(super) fn word(end: AnswerEnd) -> &'static str {
    match end {
        AnswerEnd::Stop => "stop",
        AnswerEnd::Length => "length",
        AnswerEnd::Cancelled => "cancelled",
        AnswerEnd::Text(_) => "text",
    }
}

/// How a line about an answer begins, so that nobody takes half a sentence for a fault.
pub(super) fn cut_off(end: AnswerEnd) -> &'static str {
    if end == AnswerEnd::Length { "cut off at the limit of tokens; " } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_steer_a_terminal() {
        let nasty = "a\u{1b}[2J\u{9b}31mb\u{7}\u{7f}\u{202e}c\r\n\td\u{e9}\u{2067}";
        assert_eq!(printable(nasty), "a[2J31mbc\n\tdé");
        assert_eq!(line(nasty), "a[2J31mbc   dé");
    }
}

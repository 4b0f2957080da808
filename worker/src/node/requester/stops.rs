//! Texts at which an answer ends. What could be the beginning of one is held back until it is clear
//! whether it is.

/// The texts, and what is held back.
#[derive(Debug, Default)]
pub(super) struct Stops {
    texts: Vec<String>,
    held: String,
}

impl Stops {
    pub(super) fn new(texts: &[String]) -> Self {
        Self { texts: texts.to_vec(), held: String::new() }
    }

    /// More text came. What may be given out, and which of the texts was found behind that.
    pub(super) fn push(&mut self, text: String) -> (String, Option<u32>) {
        if self.texts.is_empty() {
            return (text, None);
        }
        self.held.push_str(&text);
        let found = (0..)
            .zip(&self.texts)
            .filter_map(|(which, stop)| Some((self.held.find(stop.as_str())?, which)));
        if let Some((at, which)) = found.min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), Some(which));
        }
        let behind = self.held.split_off(self.held.len() - self.begun());
        (std::mem::replace(&mut self.held, behind), None)
    }

    /// Nothing more comes: what was held back.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of what is held that one of the texts begins with.
    fn begun(&self) -> usize {
        let starts = self.held.char_indices().map(|(at, _)| at);
        let is_begun =
            |at: &usize| self.texts.iter().any(|stop| stop.starts_with(&self.held[*at..]));
        starts.into_iter().find(is_begun).map_or(0, |at| self.held.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is given out for pieces, what ended it, and what comes at the end.
    fn through(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<u32>, String) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut stops = Stops::new(&stops);
        let mut given = Vec::new();
        for piece in pieces {
            let (text, which) = stops.push((*piece).to_owned());
            given.push(text);
            if which.is_some() {
                return (given, which, stops.finish());
            }
        }
        (given, None, stops.finish())
    }

    #[test]
    fn nothing_of_a_stop_is_given_out_wherever_it_is_cut() {
        let text = "The quick brown fox";
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let (given, which, rest) = through(&["own fox"], &pieces);
                assert_eq!(
                    (given.concat().as_str(), which, rest.as_str()),
                    ("The quick br", Some(0), "")
                );
            }
        }
    }

    #[test]
    fn what_was_none_comes_after_all() {
        let (given, which, rest) = through(&["abcd", "bce"], &["ab", "c", "f", "ab"]);
        assert_eq!(given, ["", "", "abcf", ""]);
        assert_eq!((which, rest.as_str()), (None, "ab"));
        let (given, which, _) = through(&["abcd", "bce"], &["xab", "ce!"]);
        assert_eq!((given.concat().as_str(), which), ("xa", Some(1)));
        let (given, ..) = through(&["ü!"], &["aü", "b"]);
        assert_eq!(given, ["a", "üb"]);
    }

    #[test]
    fn the_first_in_the_text_counts() {
        assert_eq!(through(&["two", "one"], &["one two"]).1, Some(1));
        assert_eq!(through(&[], &["one two"]).0, ["one two"]);
    }
}

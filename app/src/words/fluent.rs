//! Reads and formats the part of [Fluent](https://projectfluent.org/fluent/guide/) that the page's
//! words are written in: messages of one line, variables, and choices by a number or a word.
//!
//! Fluent's own crates would add 57 KB to a page of 177 (compressed), most of it for what no message
//! here uses. What they make of our files the tests compare with what is made of them here, message
//! by message; whatever this reader does not know is an error, which the tests find too.

use super::Language;
use crate::state::numbers;

/// A file of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// By their ids, in order.
    patterns: Vec<(String, Pattern)>,
}

/// Something in a file that is not of the part of Fluent that is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The line, counted from 1.
    pub line: usize,
}

/// What a message is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Words, set in as they are.
    Text(&'a str),
    /// A count, by which a message may choose its words.
    Count(u64),
}

type Pattern = Vec<Part>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
    Choice { on: String, variants: Vec<Variant> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    key: String,
    is_default: bool,
    pattern: Pattern,
}

impl Messages {
    /// Reads a file.
    ///
    /// # Errors
    /// At the first thing that is not understood.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let mut reader = Reader { text, rest: text };
        let mut patterns = Vec::new();
        while !reader.rest.is_empty() {
            if reader.rest.starts_with('#') || reader.rest.starts_with('\n') {
                reader.rest = reader.rest.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            if !reader.rest.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                return reader.fail();
            }
            let id = reader.name()?;
            reader.skip(&[' ']);
            reader.expect("=")?;
            patterns.push((id, reader.pattern()?));
        }
        patterns.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self { patterns })
    }

    /// Adds messages of another file.
    pub fn add(&mut self, others: Self) {
        self.patterns.extend(others.patterns);
        self.patterns.sort_by(|(one, _), (other, _)| one.cmp(other));
    }

    /// The ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|(id, _)| id.as_str())
    }

    /// The names of what a message is told about, in order; `None` if there is no such message.
    #[must_use]
    pub fn variables(&self, id: &str) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        gather(self.pattern(id)?, &mut names);
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    /// A message in words; its id, if there is no such message.
    #[must_use]
    pub fn say(&self, language: Language, id: &str, values: &[(&str, Value<'_>)]) -> String {
        let mut words = String::new();
        match self.pattern(id) {
            Some(pattern) => write(pattern, language, values, &mut words),
            None => words.push_str(id),
        }
        words
    }

    fn pattern(&self, id: &str) -> Option<&Pattern> {
        let place = self.patterns.binary_search_by(|(one, _)| one.as_str().cmp(id)).ok()?;
        Some(&self.patterns[place].1)
    }
}

fn gather<'a>(pattern: &'a Pattern, names: &mut Vec<&'a str>) {
    for part in pattern {
        match part {
            Part::Text(_) => {}
            Part::Variable(name) => names.push(name),
            Part::Choice { on, variants } => {
                names.push(on);
                variants.iter().for_each(|variant| gather(&variant.pattern, names));
            }
        }
    }
}

fn write(pattern: &Pattern, language: Language, values: &[(&str, Value<'_>)], words: &mut String) {
    let value = |name: &String| values.iter().find(|(one, _)| one == name).map(|(_, value)| value);
    for part in pattern {
        match part {
            Part::Text(text) => words.push_str(text),
            Part::Variable(name) => match value(name) {
                Some(Value::Text(text)) => words.push_str(text),
                Some(Value::Count(count)) => words.push_str(&numbers::count(*count)),
                None => words.push_str(name),
            },
            Part::Choice { on, variants } => {
                let value = value(on);
                let chosen = variants.iter().find(|variant| variant.is_for(language, value));
                let chosen = chosen.or_else(|| variants.iter().find(|variant| variant.is_default));
                if let Some(variant) = chosen {
                    write(&variant.pattern, language, values, words);
                }
            }
        }
    }
}

impl Variant {
    fn is_for(&self, language: Language, value: Option<&Value<'_>>) -> bool {
        match value {
            Some(Value::Text(text)) => self.key == *text,
            Some(Value::Count(count)) => {
                self.key == language.plural(*count) || self.key.parse() == Ok(*count)
            }
            None => false,
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn fail<T>(&self) -> Result<T, Unreadable> {
        let read = &self.text[..self.text.len() - self.rest.len()];
        Err(Unreadable { line: read.matches('\n').count() + 1 })
    }

    fn skip(&mut self, blanks: &[char]) {
        self.rest = self.rest.trim_start_matches(blanks);
    }

    fn takes(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), Unreadable> {
        if self.takes(word) { Ok(()) } else { self.fail() }
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        let is_of_a_name =
            |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
        let length = self.rest.bytes().take_while(|letter| is_of_a_name(*letter)).count();
        if length == 0 {
            return self.fail();
        }
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(name.to_owned())
    }

    /// To the end of the line, which may lie in a choice's last line.
    fn pattern(&mut self) -> Result<Pattern, Unreadable> {
        self.skip(&[' ']);
        let mut pattern = Pattern::new();
        loop {
            let end = self.rest.find(['{', '}', '\n']).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            let is_over = !rest.starts_with('{');
            let text = if is_over { text.trim_end_matches(' ') } else { text };
            if !text.is_empty() {
                pattern.push(Part::Text(text.to_owned()));
            }
            if is_over {
                return if pattern.is_empty() || rest.starts_with('}') {
                    self.fail()
                } else {
                    self.takes("\n");
                    Ok(pattern)
                };
            }
            pattern.push(self.placeable()?);
        }
    }

    fn placeable(&mut self) -> Result<Part, Unreadable> {
        self.expect("{")?;
        self.skip(&[' ', '\n']);
        if self.takes("\"") {
            let Some((text, rest)) =
                self.rest.split_once('"').filter(|(text, _)| !text.contains('\\'))
            else {
                return self.fail();
            };
            self.rest = rest;
            let part = Part::Text(text.to_owned());
            self.skip(&[' ', '\n']);
            return self.expect("}").map(|()| part);
        }
        self.expect("$")?;
        let on = self.name()?;
        self.skip(&[' ', '\n']);
        if self.takes("}") {
            return Ok(Part::Variable(on));
        }
        self.expect("->")?;
        let mut variants = Vec::new();
        loop {
            self.skip(&[' ', '\n']);
            if self.takes("}") {
                let defaults = variants.iter().filter(|variant: &&Variant| variant.is_default);
                return if defaults.count() == 1 {
                    Ok(Part::Choice { on, variants })
                } else {
                    self.fail()
                };
            }
            let is_default = self.takes("*");
            self.expect("[")?;
            let key = self.name()?;
            self.expect("]")?;
            variants.push(Variant { key, is_default, pattern: self.pattern()? });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str, values: &[(&str, Value<'_>)]) -> String {
        Messages::read(text).unwrap().say(Language::English, "a", values)
    }

    #[test]
    fn a_message_is_its_text_with_the_values_in_it() {
        let text = Value::Text("tiny");
        assert_eq!(
            say("# why\na = { $n } of {$n}, or {\"{\"} \n", &[("n", text)]),
            "tiny of tiny, or {"
        );
        assert_eq!(say("a = x { $n }", &[("n", Value::Count(1234))]), "x 1,234");
        assert_eq!(say("b = x", &[]), "a", "what is missing says its name");
        assert_eq!(say("a = { $n }", &[]), "n");
    }

    #[test]
    fn a_choice_is_by_the_number_itself_or_by_its_plural_or_else_the_default() {
        let text =
            "a = { $n ->\n    [0] none\n    [one] { $n } seat\n   *[other] { $n } seats\n } so\n";
        let with = |count| say(text, &[("n", Value::Count(count))]);
        assert_eq!([with(0), with(1), with(2)], ["none so", "1 seat so", "2 seats so"]);
        assert_eq!(say(text, &[]), "n seats so");
        let text = "a = { $kind ->\n    [native] □\n   *[browser] ○\n }\n";
        assert_eq!(say(text, &[("kind", Value::Text("native"))]), "□");
    }

    #[test]
    fn what_is_not_understood_is_told_by_its_line() {
        for (text, line) in [
            ("a = b\nc", 2),
            ("a =\n", 1),
            ("a = }", 1),
            ("a = { b }", 1),
            ("a = { $n", 1),
            ("a = x\n  and more\n", 2),
            ("-term = x", 1),
            ("a = { $n ->\n [one] x\n}", 3),
            ("a = {\"\\u0041\"}", 1),
        ] {
            assert_eq!(Messages::read(text), Err(Unreadable { line }), "{text}");
        }
    }

    #[test]
    fn variables_are_those_of_every_variant() {
        let read = Messages::read("a = { $n ->\n [one] { $b }\n *[other] { $a }\n }").unwrap();
        assert_eq!(read.variables("a").unwrap(), ["a", "b", "n"]);
        assert_eq!(read.variables("b"), None);
    }
}

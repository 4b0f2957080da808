//! The files against each other, against the code that names their messages, and against what
//! Fluent's own crates make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};

use super::*;
use crate::state::numbers;

const CHINESE: &str = include_str!("../../i18n/zh.ftl");

/// Both files of it.
fn whole_english() -> String {
    format!("{ENGLISH}\n{ENGLISH_LATER}")
}

fn files() -> [(Language, String); LANGUAGES.len()] {
    [(Language::English, whole_english()), (Language::Chinese, CHINESE.to_owned())]
}

#[test]
fn every_language_has_the_same_messages_about_the_same_things() {
    let english = Messages::read(&whole_english()).unwrap();
    let ids: Vec<&str> = english.ids().collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is there twice");
    for (language, file) in files() {
        let messages = Messages::read(&file).unwrap();
        assert_eq!(messages.ids().collect::<Vec<_>>(), ids, "{language:?}");
        for id in &ids {
            assert_eq!(messages.variables(id), english.variables(id), "{language:?}: {id}");
        }
    }
}

#[test]
fn the_code_names_every_message_and_no_other_with_the_values_it_takes() {
    let english = Messages::read(&whole_english()).unwrap();
    let mut used = BTreeMap::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut used);
    for (id, uses) in &used {
        let wanted = english.variables(id);
        for (place, given) in uses {
            let given: Vec<&str> = given.iter().map(String::as_str).collect();
            assert_eq!(Some(given), wanted, "{place}: {id}");
        }
    }
    let unused: Vec<&str> = english.ids().filter(|id| !used.contains_key(*id)).collect();
    assert!(unused.is_empty(), "nobody says {unused:?}");
}

type Uses = BTreeMap<String, Vec<(String, Vec<String>)>>;

fn gather(folder: &Path, used: &mut Uses) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, used);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            // Not split: a call may stand in another.
            for (start, name) in code.match_indices("say!(") {
                let Some((id, values)) = read_call(&code[start + name.len()..]) else { continue };
                used.entry(id).or_default().push((path.display().to_string(), values));
            }
        }
    }
}

/// The id and the names of the values, in order, of what stands behind `say!(`.
fn read_call(call: &str) -> Option<(String, Vec<String>)> {
    let (id, rest) = call.trim_start().strip_prefix('"')?.split_once('"')?;
    let (mut depth, mut is_text, mut before) = (0_i32, false, ' ');
    let mut values = Vec::new();
    let mut word = String::new();
    for letter in rest.chars() {
        match letter {
            '"' if before != '\\' => is_text = !is_text,
            _ if is_text => {}
            ')' if depth == 0 => break,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => word.clear(),
            '=' if depth == 0 => {
                values.extend(Some(word.trim().to_owned()).filter(|word| !word.contains(' ')))
            }
            _ if depth == 0 => word.push(letter),
            _ => {}
        }
        before = letter;
    }
    values.sort_unstable();
    Some((id.to_owned(), values))
}

#[test]
fn a_call_is_read_with_the_names_of_its_values() {
    let read = |call| read_call(call).unwrap();
    assert_eq!(read("\"a\")"), ("a".to_owned(), vec![]));
    let values = vec!["n".to_owned(), "other".to_owned()];
    assert_eq!(read("\n \"b\", other = f(x, \")\"), n = 1, ) = 3"), ("b".to_owned(), values));
    assert_eq!(read_call("$id:literal"), None);
}

#[test]
fn fluents_own_crates_say_the_same() {
    let texts = ["x", "length", "cancelled", "none"].map(Value::Text);
    let counts = [0_u64, 1, 2, 5, 1_234_567].map(Value::Count);
    let grouped: fn(&FluentValue<'_>, &_) -> Option<String> = |value, _| match value {
        #[expect(
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "counts of this test"
        )]
        FluentValue::Number(number) => Some(numbers::count(number.value as u64)),
        _ => None,
    };
    for (language, file) in files() {
        let resource = FluentResource::try_new(file.to_owned()).expect("Fluent reads the file");
        let tag = language.tag().split('-').next().unwrap();
        let mut bundle = FluentBundle::new(vec![tag.parse().unwrap()]);
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(grouped));
        bundle.add_resource(&resource).unwrap();
        let ours = Messages::read(&file).unwrap();
        for id in ours.ids() {
            for value in texts.iter().chain(&counts) {
                let names = ours.variables(id).unwrap();
                let values: Vec<(&str, Value)> = names.iter().map(|name| (*name, *value)).collect();
                let mut theirs = FluentArgs::new();
                for name in names {
                    match value {
                        Value::Text(text) => theirs.set(name, *text),
                        Value::Count(count) => theirs.set(name, *count),
                    }
                }
                let pattern = bundle.get_message(id).and_then(|message| message.value()).unwrap();
                let mut errors = Vec::new();
                let wanted = bundle.format_pattern(pattern, Some(&theirs), &mut errors);
                assert_eq!(errors, [], "{language:?}: {id}");
                assert_eq!(ours.say(language, id, &values), wanted, "{language:?}: {id}");
            }
        }
    }
}

#[test]
fn the_document_is_painted_with_the_same_words() {
    let html = include_str!("../../../index.html");
    let html = html.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [say!("page-title"), say!("lead"), say!("warning")] {
        assert!(html.contains(&words), "index.html does not say: {words}");
    }
}

#[test]
fn a_visitor_reads_the_first_language_that_is_spoken_here() {
    assert_eq!(Language::preferred(["zh-CN", "en"]), Language::Chinese);
    assert_eq!(Language::preferred(["fr", "en-GB", "zh"]), Language::English);
    assert_eq!(Language::preferred(["fr"]), Language::English);
    assert_eq!(Language::preferred([""; 0]), Language::English);
    for language in LANGUAGES {
        assert_eq!(Language::of(language.tag()), Some(language));
    }
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing() {
    assert_eq!(speak(Language::Chinese, "broken"), Err(Unreadable { line: 1 }));
    assert_eq!((spoken(), say!("close-button")), (Language::English, "Close".to_owned()));
    speak(Language::Chinese, CHINESE).unwrap();
    assert_eq!((spoken(), say!("close-button")), (Language::Chinese, "关闭".to_owned()));
    speak_english();
    assert_eq!(say!("close-button"), "Close");
}

#[test]
fn ranges_and_lists_read_as_in_a_sentence() {
    let range = |first, end| LayerRange { first, end };
    assert_eq!(layers(range(3, 4)), "layer 3");
    assert_eq!(layers(range(0, 6)), "layers 0 to 5");
    let things = |count: usize| list(&["a", "b", "c"].map(str::to_owned)[..count]);
    assert_eq!([things(0), things(1), things(2), things(3)], ["", "a", "a and b", "a, b and c"]);
}

#[test]
fn the_styles_have_sides_that_follow_the_writing() {
    for style in
        [include_str!("../../../static/style.css"), include_str!("../../../static/offline.css")]
    {
        for (property, value) in style.lines().filter_map(|line| line.trim().split_once(':')) {
            let is_side = |word: &str| word.split('-').any(|part| matches!(part, "left" | "right"));
            let value = value.trim().trim_end_matches(';');
            assert!(!is_side(property) && !is_side(value), "{property}: {value}");
        }
    }
}

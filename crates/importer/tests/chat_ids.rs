//! Conversations become the very tokens that Hugging Face `transformers` gives for them, with real
//! tokenizers and the templates that come with them: `chat-ids.json` holds what it gave (version 5,
//! `apply_chat_template`, a generation prompt added, thinking switched off).
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use potluck_importer::read_tokenizer;
use potluck_model::chat::{ChatFormat, Conversation, LocalTime, Message, Role};
use potluck_model::tokenizer::Tokenizer;
use serde_json::Value;

/// What `xtask` installs.
const VERSION: &str = "3.7.2";

fn cases() -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat-ids.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// A tokenizer with what is said of it.
struct Real {
    tokenizer: Tokenizer,
    chat: ChatFormat,
}

impl Real {
    fn open(folder: &Path, name: &str) -> Self {
        let models =
            folder.join(format!("{name}-{VERSION}")).join("node_modules").join(name).join("models");
        let (tokenizer, chat) = read_tokenizer(&models).unwrap();
        Self { tokenizer: Tokenizer::from_bytes(&tokenizer).unwrap(), chat }
    }
}

fn conversation(case: &Value) -> Conversation {
    let said = |message: &Value| {
        let role = serde_json::from_value::<Role>(message["role"].clone()).unwrap();
        Message::new(role, message["content"].as_str().unwrap())
    };
    Conversation::of(case["messages"].as_array().unwrap().iter().map(said).collect())
}

#[test]
fn conversations_become_the_references_tokens() {
    let Some(folder) = env::var_os("POTLUCK_TOKENIZERS").map(PathBuf::from) else {
        assert!(
            env::var_os("POTLUCK_REQUIRE_TOKENIZERS").is_none(),
            "the tokenizers are not named"
        );
        eprintln!("skipped: POTLUCK_TOKENIZERS names no folder of tokenizers");
        return;
    };
    let mut tokenizers: BTreeMap<String, Real> = BTreeMap::new();
    let (cases, mut wrong) = (cases(), Vec::new());
    for case in &cases {
        let name = case["tokenizer"].as_str().unwrap();
        let real = tokenizers.entry(name.to_owned()).or_insert_with(|| Real::open(&folder, name));
        let mut chat = real.chat.clone();
        if let Some(template) = case["template"].as_str() {
            chat.template = Some(template.to_owned());
        }
        let (asked, now) = (conversation(case), LocalTime::default());
        let text = chat.text(&asked, now).unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let got = real.tokenizer.encode_chat(&chat, &asked, now).unwrap();
        if text != case["rendered"].as_str().unwrap() || got != ids {
            wrong.push(format!("{name}, {}:\n{text:?}\n{got:?}\nfor\n{ids:?}", case["case"]));
        }
    }
    assert_eq!(cases.len(), 27, "all that were given");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

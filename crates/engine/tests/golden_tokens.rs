//! The built-in model says exactly this: the engine's own tokens for the eight prompts of
//! `golden.json`, greedy and sampled, are pinned in `golden_exact.json` beside this file, together
//! with the hash of the package that they come from.
//!
//! A change here is a change of the numerics or of the import, and needs a new numerics version.
//! `POTLUCK_BLESS=1` writes the file anew.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::path::PathBuf;

use potluck_engine::engine::BackendChoice;
use potluck_engine::sampler::sample;
use potluck_protocol::sampling::Sampling;
use serde_json::{Value, json};
use support::{Imported, count, logits, source_json, tokens};

/// Tokens pinned a prompt; as many as `golden.json` has.
const LENGTH: usize = 48;
/// The seed of the sampled answers.
const SEED: u64 = 2026;

#[test]
fn the_exact_engine_says_what_is_pinned() {
    let model = Imported::tiny();
    let defaults = model.manifest.defaults;
    let greedy = Sampling {
        temperature_milli: 0,
        top_k: 0,
        top_p_milli: 1000,
        repetition_penalty_milli: 1000,
        seed: 0,
    };
    let sampled = defaults.sampling(SEED);
    let golden = source_json("golden.json");
    let cases: Vec<Value> = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| {
            let question = case["prompt"].as_str().unwrap();
            let prompt = model.prompt(question);
            assert_eq!(prompt, tokens(&case["ids"]), "the chat template of {question:?}");
            json!({
                "prompt": question,
                "greedy": answer(&model, &prompt, &greedy),
                "drawn": answer(&model, &prompt, &sampled),
            })
        })
        .collect();
    let said = json!({ "model": model.id.to_string(), "seed": SEED, "cases": cases });
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden_exact.json");
    if std::env::var("POTLUCK_BLESS").is_ok_and(|value| value == "1") {
        fs::write(&path, pretty(&said)).unwrap();
    }
    let pinned: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(said, pinned);
}

/// Up to [`LENGTH`] tokens of an answer, its end token included.
fn answer(model: &Imported, prompt: &[u32], sampling: &Sampling) -> Vec<u32> {
    let mut engine = model.whole(BackendChoice::Cpu);
    let mut position = count(prompt.len());
    let mut scores = logits(&mut engine, 0, prompt);
    let mut answer = Vec::new();
    loop {
        let token = sample(&scores, sampling, position);
        answer.push(token);
        if answer.len() == LENGTH || model.manifest.end_tokens.contains(&token) {
            return answer;
        }
        scores = logits(&mut engine, position, &[token]);
        position += 1;
    }
}

/// One line an answer, so that a difference can be read.
fn pretty(said: &Value) -> String {
    let cases = said["cases"].as_array().unwrap().iter();
    let lines: Vec<String> = cases
        .map(|case| {
            format!(
                "    {{\"prompt\": {}, \"greedy\": {}, \"drawn\": {}}}",
                case["prompt"], case["greedy"], case["drawn"]
            )
        })
        .collect();
    format!(
        "{{\n  \"model\": {},\n  \"seed\": {},\n  \"cases\": [\n{}\n  ]\n}}\n",
        said["model"],
        said["seed"],
        lines.join(",\n")
    )
}

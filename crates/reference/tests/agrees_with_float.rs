//! The integers cost no quality: against the same model in `f64`, and against the float tokens and
//! logits that came with it, the exact engine picks the same token, is as surprised by a text, and
//! its logits are close. How close is printed (`--nocapture`).
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::fs;

use futures::executor::block_on;
use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_reference::decoder::FloatModel;
use potluck_reference::quality::{QualityError, measure};
use support::{Imported, count, logits, source_folder, source_json, tokens};

/// Of all positions.
const LEAST_AGREEMENT: f64 = 0.99;
/// Relative, either way.
const MOST_PERPLEXITY_CHANGE: f64 = 0.005;
/// Of the best token's logit; the second best is usually whole units away.
const MOST_TOP_LOGIT_ERROR: f64 = 0.25;
/// Between all logits of a position, the mean of which softmax ignores.
const LEAST_COSINE: f64 = 0.9995;

#[test]
fn the_reference_gives_the_logits_that_came_with_the_model() {
    let float = FloatModel::open(&source_folder()).unwrap();
    for case in source_json("golden.json")["cases"].as_array().unwrap() {
        let hidden = float.hidden(&tokens(&case["ids"])).unwrap();
        let scores = float.logits(&hidden[hidden.len() - 1..]).unwrap().remove(0);
        for best in case["top5"].as_array().unwrap() {
            let id = usize::try_from(best["id"].as_u64().unwrap()).unwrap();
            let expected = best["logit"].as_f64().unwrap();
            assert!(
                (scores[id] - expected).abs() < 1e-4,
                "token {id}: {} and {expected}",
                scores[id]
            );
        }
    }
}

#[test]
fn the_tokens_that_came_with_the_model_are_the_engine_s_own_choice() {
    let model = Imported::tiny();
    let (mut same, mut positions, mut worst) = (0, 0, 0.0_f64);
    for case in source_json("golden.json")["cases"].as_array().unwrap() {
        let mut engine = model.whole(BackendChoice::Cpu);
        let prompt = tokens(&case["ids"]);
        let mut scores = logits(&mut engine, 0, &prompt).to_f64();
        let best = &case["top5"][0];
        let id = usize::try_from(best["id"].as_u64().unwrap()).unwrap();
        worst = worst.max((scores[id] - best["logit"].as_f64().unwrap()).abs());
        for (position, token) in (count(prompt.len())..).zip(tokens(&case["greedy"])) {
            positions += 1;
            same += usize::from(largest(&scores) == token as usize);
            scores = logits(&mut engine, position, &[token]).to_f64();
        }
    }
    println!("{same} of {positions} greedy tokens agree; best logits differ by at most {worst:.4}");
    assert!(positions > 200, "{positions} positions");
    assert!(same as f64 >= LEAST_AGREEMENT * positions as f64, "{same} of {positions}");
    assert!(worst < MOST_TOP_LOGIT_ERROR, "{worst}");
}

#[test]
fn perplexity_choices_and_logits_are_those_of_f64() {
    let (model, float) = (Imported::tiny(), FloatModel::open(&source_folder()).unwrap());
    let mut engine = model.unopened(BackendChoice::Cpu);
    let texts = texts(&model);
    let mut told = 0;
    let quality =
        block_on(measure(&mut engine, model.manifest.config.layers, &float, &texts, &mut |done| {
            told = done
        }))
        .unwrap();
    println!("{quality}");
    assert!(quality.positions > 1000 && told == quality.positions, "{quality}");
    assert!(quality.perplexity_change().abs() < MOST_PERPLEXITY_CHANGE, "{quality}");
    assert!(quality.agreement >= LEAST_AGREEMENT, "{quality}");
    assert!(quality.worst_top_logit < MOST_TOP_LOGIT_ERROR, "{quality}");
    assert!(quality.least_cosine > LEAST_COSINE, "{quality}");
    assert!(quality.saturated == 0 && (10..30).contains(&quality.residual_bits), "{quality}");
    let nothing = block_on(measure(
        &mut engine,
        model.manifest.config.layers,
        &float,
        &[vec![1]],
        &mut |_| (),
    ));
    assert!(matches!(nothing, Err(QualityError::NoText)));
}

/// Conversations from the model's samples: the first stories, greedy and sampled, and the short
/// answers at the end.
fn texts(model: &Imported) -> Vec<Vec<u32>> {
    let tokenizer = model.tokenizer();
    let samples = fs::read_to_string(source_folder().join("samples.md")).unwrap();
    let mut question = String::new();
    let mut texts = Vec::new();
    for line in samples.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut question);
        } else if let Some((_, answer)) = line.split_once(":** ") {
            let asked = Conversation::question(question.as_str());
            let mut text =
                tokenizer.encode_chat(&model.manifest.chat, &asked, LocalTime::default()).unwrap();
            text.extend(tokenizer.encode(answer).unwrap());
            text.extend(tokenizer.control_token("<|im_end|>"));
            texts.push(text);
        }
    }
    assert!(texts.len() > 20, "{} samples", texts.len());
    let short = texts.split_off(texts.len() - 10);
    texts.truncate(6);
    texts.extend(short);
    texts
}

fn largest(scores: &[f64]) -> usize {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = index;
        }
    }
    best
}

//! The integers cost no quality: against the same model in `f64`, and against the float tokens and logits that came with it, the exact
//! engine picks the same token, is as surprised by a text, and its logits are close. How close is printed (`--nocapture`).
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "support/float_llama.rs"]
mod float_llama;
mod support;

use std::fs;

use float_llama::{FloatCache, FloatLlama, softmax};
use potluck_engine::engine::BackendChoice;
use potluck_engine::package::ChatFormat;
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
fn the_yardstick_gives_the_logits_that_came_with_the_model() {
    let float = FloatLlama::tiny();
    for case in source_json("golden.json")["cases"].as_array().unwrap() {
        let mut cache = FloatCache::default();
        let mut scores = Vec::new();
        for token in tokens(&case["ids"]) {
            scores = float.step(&mut cache, token);
        }
        for best in case["top5"].as_array().unwrap() {
            let id = usize::try_from(best["id"].as_u64().unwrap()).unwrap();
            let expected = best["logit"].as_f64().unwrap();
            assert!((scores[id] - expected).abs() < 1e-4, "token {id}: {} and {expected}", scores[id]);
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
        let mut scores = exact(&logits(&mut engine, 0, &prompt));
        let best = &case["top5"][0];
        let id = usize::try_from(best["id"].as_u64().unwrap()).unwrap();
        worst = worst.max((scores[id] - best["logit"].as_f64().unwrap()).abs());
        for (position, token) in (count(prompt.len())..).zip(tokens(&case["greedy"])) {
            positions += 1;
            same += usize::from(largest(&scores) == token as usize);
            scores = exact(&logits(&mut engine, position, &[token]));
        }
    }
    println!("{same} of {positions} greedy tokens agree; best logits differ by at most {worst:.4}");
    assert!(positions > 200, "{positions} positions");
    assert!(same as f64 >= LEAST_AGREEMENT * positions as f64, "{same} of {positions}");
    assert!(worst < MOST_TOP_LOGIT_ERROR, "{worst}");
}

#[test]
fn perplexity_choices_and_logits_are_those_of_f64() {
    let (model, float) = (Imported::tiny(), FloatLlama::tiny());
    let (mut positions, mut same) = (0_usize, 0_usize);
    let (mut exact_loss, mut float_loss) = (0.0, 0.0);
    let (mut worst_top, mut worst_cosine) = (0.0_f64, 1.0_f64);
    for text in texts(&model) {
        let (mut engine, mut cache) = (model.whole(BackendChoice::Cpu), FloatCache::default());
        for (position, pair) in (0..).zip(text.windows(2)) {
            let next = pair[1] as usize;
            let wanted = float.step(&mut cache, pair[0]);
            let got = exact(&logits(&mut engine, position, &pair[..1]));
            float_loss -= softmax(&wanted)[next].ln();
            exact_loss -= softmax(&got)[next].ln();
            let best = largest(&wanted);
            same += usize::from(largest(&got) == best);
            worst_top = worst_top.max((got[best] - wanted[best]).abs());
            worst_cosine = worst_cosine.min(cosine(&got, &wanted));
            positions += 1;
        }
    }
    let [exact, float] = [exact_loss, float_loss].map(|loss: f64| (loss / positions as f64).exp());
    let agreement = same as f64 / positions as f64;
    println!(
        "{positions} positions: perplexity {exact:.5} against {float:.5} ({:+.3} %), agreement {:.2} %, best logits differ by at most \
         {worst_top:.4}, cosine at least {worst_cosine:.6}",
        (exact / float - 1.0) * 100.0,
        agreement * 100.0
    );
    assert!(positions > 1000, "{positions} positions");
    assert!((exact / float - 1.0).abs() < MOST_PERPLEXITY_CHANGE, "perplexity {exact} against {float}");
    assert!(agreement >= LEAST_AGREEMENT, "{agreement}");
    assert!(worst_top < MOST_TOP_LOGIT_ERROR, "{worst_top}");
    assert!(worst_cosine > LEAST_COSINE, "{worst_cosine}");
}

/// Conversations from the model's samples: the first stories, greedy and drawn, and the short answers at the end.
fn texts(model: &Imported) -> Vec<Vec<u32>> {
    let tokenizer = model.tokenizer();
    let samples = fs::read_to_string(source_folder().join("samples.md")).unwrap();
    let mut question = String::new();
    let mut texts = Vec::new();
    for line in samples.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut question);
        } else if let Some((_, answer)) = line.split_once(":** ") {
            let chat = ChatFormat {
                prefix: format!("{}{question}{}", model.manifest.chat.prefix, model.manifest.chat.suffix),
                suffix: "<|im_end|>".to_owned(),
            };
            texts.push(tokenizer.encode_chat(&chat, answer).unwrap());
        }
    }
    assert!(texts.len() > 20, "{} samples", texts.len());
    let short = texts.split_off(texts.len() - 10);
    texts.truncate(6);
    texts.extend(short);
    texts
}

fn exact(logits: &potluck_engine::sampler::Logits) -> Vec<f64> {
    let scale = f64::from(logits.exponent).exp2();
    logits.values.iter().map(|value| f64::from(*value) * scale).collect()
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

/// Of the two after their means are taken off.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let centred = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x - mean).collect::<Vec<f64>>()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

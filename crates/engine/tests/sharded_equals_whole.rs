//! However the layers are cut into stages, the answer is the same, bit for bit: all 32 ways to cut
//! six layers, each stage an engine that holds its own blobs only, against one engine with
//! everything. And no matter which path computes a stage.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::ops::Range;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::sampler::Logits;
use support::{Imported, count, logits};

#[test]
fn every_cut_of_the_layers_gives_the_logits_of_the_whole() {
    let model = Imported::tiny();
    let prompt = model.prompt("Tell me a story about a fox and a lantern.");
    let steps: Vec<Vec<u32>> = [prompt, vec![572], vec![557], vec![261, 474]].to_vec();
    let mut whole = model.whole(BackendChoice::Scalar);
    let mut expected = Vec::new();
    let mut position = 0;
    for step in &steps {
        expected.push(logits(&mut whole, position, step));
        position += count(step.len());
    }
    let layers = model.manifest.config.layers;
    let mut seen = [false; 7];
    for cuts in 0..1_u32 << (layers - 1) {
        let stages = stages(layers, cuts);
        seen[stages.len()] = true;
        // Half of the cuts mix the paths: a stage may be anyone's machine.
        let mut engines: Vec<Engine> = stages
            .iter()
            .enumerate()
            .map(|(index, layers)| {
                let scalar = cuts % 2 == 1 && index % 2 == 1;
                model.engine(
                    if scalar { BackendChoice::Scalar } else { BackendChoice::Cpu },
                    layers.clone(),
                )
            })
            .collect();
        let mut position = 0;
        for (step, expected) in steps.iter().zip(&expected) {
            assert_eq!(
                &through(&mut engines, position, step),
                expected,
                "stages {stages:?} at position {position}"
            );
            position += count(step.len());
        }
    }
    assert_eq!(seen, [false, true, true, true, true, true, true], "1 to 6 stages");
}

/// The stages for a set of cuts, bit `i` standing for a cut after layer `i`.
fn stages(layers: u32, cuts: u32) -> Vec<Range<u32>> {
    let mut stages = Vec::new();
    let mut start = 0;
    for end in 1..=layers {
        if end == layers || cuts >> (end - 1) & 1 == 1 {
            stages.push(start..end);
            start = end;
        }
    }
    stages
}

fn through(engines: &mut [Engine], position: u32, tokens: &[u32]) -> Logits {
    let mut hidden = Vec::new();
    for (index, engine) in engines.iter_mut().enumerate() {
        let input = if index == 0 { Input::Tokens(tokens) } else { Input::Hidden(&hidden) };
        match block_on(engine.forward(1, position, input, OutputRequest::Logits)).unwrap() {
            Output::Hidden(rows) => hidden = rows,
            Output::Logits(logits) => return logits,
            Output::Token(_) | Output::None => panic!("logits were wanted"),
        }
    }
    panic!("no stage ended at the last layer")
}

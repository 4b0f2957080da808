//! The engine on a GPU: an adapter that passes the known-answer test is taken, and whole
//! answers (tokens in, logits out) are those of the specification. Without an adapter
//! they are skipped (`gpu_support/skip.rs`).
#![cfg(not(target_arch = "wasm32"))]

#[path = "gpu_support/batches.rs"]
mod batches;
#[path = "gpu_support/loss.rs"]
mod loss;
#[path = "gpu_support/skip.rs"]
mod skip;

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::gpu::{Gpu, GpuError};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Synthetic, config};

fn is_here() -> bool {
    let Err(error @ GpuError::NoAdapter { .. }) = block_on(Gpu::new(true, None)) else {
        return true;
    };
    skip::skip(&error);
    false
}

#[test]
fn conversations_outlive_their_gpu() {
    if is_here() {
        block_on(loss::answers_go_on(&[BackendChoice::Gpu, BackendChoice::Cpu]));
    }
}

#[test]
fn sessions_beside_each_other_get_what_they_get_alone() {
    if is_here() {
        for (seed, most) in [(1, 1), (2, 60), (3, 7)] {
            block_on(batches::equal_alone(BackendChoice::Gpu, seed, most));
        }
    }
}

#[test]
fn whole_answers_are_those_of_the_specification() {
    if !is_here() {
        return;
    }
    let answers =
        [BackendChoice::Gpu, BackendChoice::Scalar].map(|choice| block_on(answer(choice)));
    assert_eq!(answers[0], answers[1]);
}

/// A prompt, one token more, a step back and another token: the logits of each.
async fn answer(choice: BackendChoice) -> Vec<Output> {
    let model = Synthetic::new(config(2, 128, 160, (4, 2, 32), 99, 40), 21);
    // For a GPU this runs the known-answer test first, and fails if the adapter does not reproduce
    // it.
    let mut engine = Engine::new(choice).await.expect("this backend exists and computes rightly");
    engine
        .set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables))
        .expect("its own tables");
    for (role, bytes) in &model.blobs {
        engine.load(*role, bytes).expect("its own parts");
    }
    engine.open_session(1, 0..2).expect("every part is there");
    let prompt: Vec<u32> = (0..13).map(|i| i * 7 % 99).collect();
    let mut outputs = Vec::new();
    for (position, tokens) in [(0, &prompt[..]), (13, &[5][..]), (12, &[6, 7][..])] {
        engine.truncate(1, position);
        outputs.push(
            engine
                .forward(1, position, Input::Tokens(tokens), OutputRequest::Logits)
                .await
                .expect("a step that fits"),
        );
    }
    outputs
}

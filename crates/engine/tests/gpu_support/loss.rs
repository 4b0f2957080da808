//! A GPU that is taken away in the middle of conversations, and the engine that goes on with them.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, GpuLoss, Input, Output, OutputRequest,
};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Random, Synthetic, config};

const WIDTH: usize = 64;
/// Of a session over the whole model, and of one that starts in its middle.
const WHOLE: u128 = 1;
const MIDDLE: u128 = 2;

fn model() -> Synthetic {
    Synthetic::new(config(3, 64, 96, (4, 2, 16), 99, 300), 5)
}

async fn loaded(model: &Synthetic, choice: BackendChoice) -> Engine {
    let mut engine = Engine::new(choice).await.unwrap();
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    for (role, bytes) in &model.blobs {
        engine.load(*role, bytes).unwrap();
    }
    engine.open_session(WHOLE, 0..3).unwrap();
    engine.open_session(MIDDLE, 1..2).unwrap();
    engine
}

/// A step of both sessions at a position.
async fn step(
    engine: &mut Engine,
    position: u32,
    rows: usize,
) -> Result<[Output; 2], ForwardError> {
    let mut random = Random::new(u64::from(position));
    let tokens: Vec<u32> = (0..rows).map(|_| random.within(0, 98).unsigned_abs()).collect();
    let hidden: Vec<i32> = (0..rows * WIDTH).map(|_| random.within(-(1 << 20), 1 << 20)).collect();
    engine.truncate(WHOLE, position);
    engine.truncate(MIDDLE, position);
    let whole =
        engine.forward(WHOLE, position, Input::Tokens(&tokens), OutputRequest::Logits).await?;
    Ok([
        whole,
        engine.forward(MIDDLE, position, Input::Hidden(&hidden), OutputRequest::Nothing).await?,
    ])
}

/// Long enough to be given again in more than one step; and a step back.
const STEPS: [(u32, usize); 5] = [(0, 128), (128, 9), (137, 1), (130, 4), (134, 1)];

/// The outputs of [`STEPS`] are those of an engine that lost nothing, wherever the GPU is lost and
/// whatever goes on.
pub(crate) async fn answers_go_on(heirs: &[BackendChoice]) {
    let model = model();
    let mut expected = Vec::new();
    let mut scalar = loaded(&model, BackendChoice::Scalar).await;
    for (position, rows) in STEPS {
        expected.push(step(&mut scalar, position, rows).await.unwrap());
    }
    for heir in heirs {
        for lost_before in [0, 2, 4] {
            let mut engine = loaded(&model, BackendChoice::Gpu).await;
            for (at, (position, rows)) in STEPS.into_iter().enumerate() {
                if at == lost_before {
                    engine.lose_gpu();
                    let error = step(&mut engine, position, rows).await.unwrap_err();
                    assert_eq!(error.gpu_loss(), Some(GpuLoss::Device), "{error}");
                    let mut fresh = Engine::new(*heir).await.unwrap();
                    let missing = fresh.take_over(&mut engine).unwrap();
                    assert_eq!(missing.len(), 4, "three layers and the head");
                    assert!(
                        matches!(fresh.resume().await, Err(ForwardError::Missing(_))),
                        "nothing is loaded yet"
                    );
                    for role in missing {
                        fresh.load(role, model.blob(role)).unwrap();
                    }
                    fresh.resume().await.unwrap();
                    engine = fresh;
                }
                assert_eq!(
                    step(&mut engine, position, rows).await.unwrap(),
                    expected[at],
                    "{heir:?}, step {at}"
                );
            }
        }
    }
}

//! A layer with a window computes from its window alone, however long the session is and whatever of it
//! was forgotten; and a session with such a layer goes back no further than what is kept.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, MAX_BACK, Output, OutputRequest};
use potluck_model::package::{LayerKind, ModelConfig};
use potluck_model::synthetic::{Random, Synthetic, config};

const WIDTH: usize = 64;
const WINDOW: u32 = 5;

fn engine(model: &Synthetic) -> Engine {
    let mut engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
    engine.set_model(Arc::new(model.manifest.clone()), &model.blobs[0].1).unwrap();
    model.blobs[1..].iter().for_each(|(role, bytes)| engine.load(*role, bytes).unwrap());
    engine.open_session(1, 1..2).unwrap();
    engine
}

/// The logits after rows that come in chunks.
fn run(engine: &mut Engine, rows: &[i32], chunk: usize) -> Output {
    let mut last = Output::None;
    for rows in rows.chunks(chunk * WIDTH) {
        let position = engine.session_position(1).unwrap();
        last = block_on(engine.forward(1, position, Input::Hidden(rows), OutputRequest::Logits))
            .unwrap();
    }
    last
}

#[test]
fn what_is_behind_the_window_is_forgotten_and_missed_by_nobody() {
    let sliding = LayerKind { window: Some(WINDOW), rotation: None, experts: false };
    let layer_kinds = vec![sliding; 2];
    let shape = ModelConfig { layer_kinds, ..config(2, 64, 96, (4, 2, 16), 48, 3000) };
    let model = Synthetic::new(shape, 7);
    let mut random = Random::new(8);
    let rows: Vec<i32> = (0..2500 * WIDTH).map(|_| random.within(-40_000, 40_000)).collect();

    // Nothing turns, so that places do not matter: the window's rows alone give the same.
    let window = &rows[rows.len() - WINDOW as usize * WIDTH..];
    let expected = run(&mut engine(&model), window, 5);
    assert_ne!(run(&mut engine(&model), &window[WIDTH..], 4), expected, "the window is too small");
    let mut whole = engine(&model);
    for chunk in [512, 100] {
        let mut long = engine(&model);
        assert_eq!(run(&mut long, &rows, chunk), expected, "chunks of {chunk}");
        whole = long;
    }
    // The budget counts what is kept, not what came.
    assert!(whole.cache_bytes() < 2500 * 2 * (16 * 4 + 8) / 2, "{}", whole.cache_bytes());

    assert!(!whole.truncate(1, 2400 - MAX_BACK - 1), "that far back it is forgotten");
    assert_eq!(whole.session_position(1), Some(2500));
    // The last step began at 2,400, and nobody goes back further than that in two moves.
    assert!(whole.truncate(1, 2500 - MAX_BACK));
    assert!(!whole.truncate(1, 2400 - MAX_BACK - 1));
    assert!(whole.truncate(1, 2400 - MAX_BACK));
    assert_eq!(run(&mut whole, &rows[(2400 - MAX_BACK as usize) * WIDTH..], 64), expected);
    assert!(whole.truncate(1, 2500 - MAX_BACK));
    let again = run(&mut whole, &rows[(2500 - MAX_BACK as usize) * WIDTH..], 64);
    assert_eq!(again, expected);
}

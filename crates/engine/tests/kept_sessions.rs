//! Sessions that are kept between two turns: gone on with under another name, from any position that
//! they had, and the first to go where there is no room.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, Input, MAX_SESSIONS, Output, OutputRequest,
};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Synthetic, config};

fn engine() -> Engine {
    let model = Synthetic::new(config(3, 64, 96, (4, 2, 16), 40, 80), 5);
    let mut engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    for (role, bytes) in &model.blobs {
        engine.load(*role, bytes).unwrap();
    }
    engine
}

fn forward(
    engine: &mut Engine,
    id: u128,
    position: u32,
    tokens: &[u32],
) -> Result<Output, ForwardError> {
    block_on(engine.forward(id, position, Input::Tokens(tokens), OutputRequest::Logits))
}

#[test]
fn another_session_goes_on_from_any_position() {
    let mut engine = engine();
    engine.open_session(1, 0..3).unwrap();
    forward(&mut engine, 1, 0, &[3, 1, 4, 1, 5, 9]).unwrap();
    engine.keep_session(1);
    assert!(engine.continue_session(1, 2, &(0..3)));
    assert_eq!(engine.session_position(1), None, "it has another name");
    assert!(engine.truncate(2, 4));
    let goes_on = forward(&mut engine, 2, 4, &[7, 8]).unwrap();
    engine.open_session(3, 0..3).unwrap();
    assert_eq!(forward(&mut engine, 3, 0, &[3, 1, 4, 1, 7, 8]).unwrap(), goes_on);
}

#[test]
fn only_what_is_kept_over_the_same_layers_is_gone_on_with_and_once() {
    let mut engine = engine();
    engine.open_session(1, 0..3).unwrap();
    engine.open_session(2, 0..3).unwrap();
    assert!(!engine.continue_session(1, 5, &(0..3)), "it is in use");
    engine.keep_session(1);
    assert!(!engine.continue_session(1, 5, &(0..2)), "other layers");
    assert!(!engine.continue_session(1, 2, &(0..3)), "the name is taken");
    assert!(engine.continue_session(1, 5, &(0..3)));
    assert!(!engine.continue_session(1, 6, &(0..3)));
    engine.keep_session(5);
    engine.close_session(5);
    assert!(!engine.continue_session(5, 6, &(0..3)), "it is closed");
}

#[test]
fn the_first_that_was_kept_makes_room() {
    let mut engine = engine();
    let all = u128::try_from(MAX_SESSIONS).unwrap();
    for id in 1..=all {
        engine.open_session(id, 0..3).unwrap();
    }
    assert!(engine.open_session(99, 0..3).is_err());
    engine.keep_session(7);
    engine.keep_session(3);
    engine.open_session(99, 0..3).unwrap();
    assert!(!engine.continue_session(7, 100, &(0..3)), "it made room");
    assert!(engine.continue_session(3, 100, &(0..3)));
    assert!(engine.open_session(101, 0..3).is_err(), "nobody else is only kept");
}

#[test]
fn rows_of_others_take_the_room_of_what_is_kept() {
    let mut engine = engine();
    engine.open_session(1, 0..3).unwrap();
    forward(&mut engine, 1, 0, &[3; 32]).unwrap();
    let full = engine.cache_bytes();
    engine.limit_caches(full);
    engine.open_session(2, 0..3).unwrap();
    let error = forward(&mut engine, 2, 0, &[3; 32]).unwrap_err();
    assert!(matches!(error, ForwardError::CachesFull { .. }), "{error:?}");
    engine.keep_session(1);
    forward(&mut engine, 2, 0, &[3; 32]).unwrap();
    assert!(!engine.continue_session(1, 3, &(0..3)), "its room was needed");
}

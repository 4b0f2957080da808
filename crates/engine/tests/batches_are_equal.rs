//! Steps of several sessions at once: every session gets what it would have got alone, whatever was
//! beside it; and what the caches may hold.
#![cfg(not(target_arch = "wasm32"))]

#[path = "gpu_support/batches.rs"]
mod batches;

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, Input, Output, OutputRequest, Step,
};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Random, Synthetic, config};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sessions_beside_each_other_get_what_they_get_alone(seed in any::<u64>(), most in 1_i32..60) {
        block_on(batches::equal_alone(BackendChoice::Cpu, seed, most));
    }
}

#[test]
fn a_session_takes_one_step_at_a_time() {
    let model = batches::model(1);
    let mut engine = block_on(batches::loaded(&model, BackendChoice::Cpu));
    let step = Step {
        session: 0,
        position: 0,
        input: Input::Tokens(&[1, 2]),
        want: OutputRequest::Logits,
        seen: None,
    };
    let outputs = block_on(engine.forward_all(&[step, step]));
    assert!(
        matches!(outputs[..], [Ok(Output::Logits(_)), Err(ForwardError::Twice)]),
        "{outputs:?}"
    );
    assert_eq!(engine.session_position(0), Some(2));
    assert!(block_on(engine.forward_all(&[])).is_empty());
}

#[test]
fn caches_have_a_budget_that_all_sessions_share() {
    let model = batches::model(2);
    let mut engine = block_on(batches::loaded(&model, BackendChoice::Cpu));
    // Two key heads of sixteen, two bytes each, with their exponents; values likewise; three
    // layers.
    let position_bytes = 3 * 2 * (16 * 4 + 8);
    engine.limit_caches(10 * position_bytes);
    let forward = |engine: &mut Engine, session, position, rows: usize| {
        block_on(engine.forward(
            session,
            position,
            Input::Tokens(&vec![3; rows]),
            OutputRequest::Nothing,
        ))
    };
    forward(&mut engine, 0, 0, 6).unwrap();
    forward(&mut engine, 1, 0, 4).unwrap();
    assert_eq!(engine.cache_bytes(), 10 * position_bytes);
    let full = forward(&mut engine, 0, 6, 1).unwrap_err();
    assert!(matches!(full, ForwardError::CachesFull { .. }), "{full}");
    assert!(full.to_string().contains("hold 4320 of at most 4320 bytes"), "{full}");
    assert_eq!(engine.session_position(0), Some(6), "nothing is lost");
    // Of two that would fit alone, the first one gets the room.
    engine.truncate(1, 2);
    let steps = [0, 1].map(|session| {
        let position = engine.session_position(session).unwrap();
        let (input, want) = (Input::Tokens(&[5, 6]), OutputRequest::Nothing);
        Step { session, position, input, want, seen: None }
    });
    let outputs = block_on(engine.forward_all(&steps));
    assert!(matches!(outputs[..], [Ok(_), Err(ForwardError::CachesFull { .. })]), "{outputs:?}");
    engine.close_session(0);
    forward(&mut engine, 1, 2, 8).unwrap();
}

/// Past every size that a cache starts with; every position is seen by the last.
#[test]
fn contexts_of_eight_thousand_are_equal() {
    let model = Synthetic::new(config(1, 32, 32, (2, 1, 16), 40, 8200), 6);
    let run = |choice| {
        let mut engine = block_on(Engine::new(choice)).unwrap();
        engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
        for (role, bytes) in &model.blobs {
            engine.load(*role, bytes).unwrap();
        }
        engine.open_session(1, 0..1).unwrap();
        let mut random = Random::new(8);
        let mut position = 0;
        let mut last = Output::None;
        while position < 8200 {
            let rows = (8200 - position).min(128);
            let tokens: Vec<u32> = (0..rows).map(|_| random.within(0, 39).unsigned_abs()).collect();
            last = block_on(engine.forward(
                1,
                position,
                Input::Tokens(&tokens),
                OutputRequest::Logits,
            ))
            .unwrap();
            position += rows;
        }
        let full = block_on(engine.forward(1, 8200, Input::Tokens(&[1]), OutputRequest::Logits))
            .unwrap_err();
        assert!(matches!(full, ForwardError::Full { limit: 8200 }), "{full}");
        last
    };
    let expected = run(BackendChoice::Scalar);
    assert!(matches!(expected, Output::Logits(_)));
    assert_eq!(run(BackendChoice::Cpu), expected);
}

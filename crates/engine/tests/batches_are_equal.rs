//! Steps of several sessions at once: every session gets what it would have got alone, whatever was beside it; and what the caches may hold.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::ops::Range;
use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, ForwardError, Input, Output, Step};
use potluck_engine::package::BlobRole;
use potluck_engine::synthetic::{Random, Synthetic, config};
use proptest::prelude::*;

const WIDTH: usize = 96;
/// Of the sessions: three over the whole model, two from its middle, one at its end and one at its beginning.
const LAYERS: [Range<u32>; 7] = [0..3, 0..3, 0..3, 1..3, 1..3, 2..3, 0..1];

fn model(seed: u64) -> Synthetic {
    Synthetic::new(config(3, 96, 160, (6, 2, 16), 48, 300), seed)
}

fn loaded(model: &Synthetic, choice: BackendChoice) -> Engine {
    let mut engine = block_on(Engine::new(choice)).unwrap();
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    for (role, bytes) in &model.blobs {
        engine.load(*role, bytes).unwrap();
    }
    for (session, layers) in (0..).zip(LAYERS) {
        engine.open_session(session, layers).unwrap();
    }
    engine
}

/// What a session is given.
#[derive(Debug)]
struct Given {
    session: u128,
    position: u32,
    tokens: Vec<u32>,
    hidden: Vec<i32>,
    want_logits: bool,
}

impl Given {
    fn step(&self) -> Step<'_> {
        let input = if self.hidden.is_empty() { Input::Tokens(&self.tokens) } else { Input::Hidden(&self.hidden) };
        Step { session: self.session, position: self.position, input, want_logits: self.want_logits }
    }
}

/// A turn of some of the sessions, of 1 to `most` rows each; some are wrong.
fn turn(positions: &mut [u32; 7], most: i32, random: &mut Random) -> Vec<Given> {
    let mut given = Vec::new();
    for (at, layers) in LAYERS.iter().enumerate() {
        if random.within(0, 4) == 0 {
            continue;
        }
        let rows = random.within(1, most).unsigned_abs();
        let starts = layers.start == 0;
        let count = if starts { 0 } else { rows as usize * WIDTH };
        let wrong = random.within(0, 9) == 0;
        given.push(Given {
            session: at as u128,
            position: positions[at] + u32::from(wrong),
            tokens: if starts { (0..rows).map(|_| random.within(0, 47).unsigned_abs()).collect() } else { Vec::new() },
            hidden: (0..count).map(|_| random.within(-(1 << 20), 1 << 20)).collect(),
            want_logits: random.within(0, 1) == 0,
        });
        positions[at] += if wrong { 0 } else { rows };
    }
    given
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sessions_beside_each_other_get_what_they_get_alone(seed in any::<u64>(), most in 1_i32..60) {
        let model = model(seed);
        let mut alone = loaded(&model, BackendChoice::Scalar);
        let mut together = loaded(&model, BackendChoice::Cpu);
        let mut random = Random::new(seed);
        let mut positions = [0; 7];
        for _ in 0..4 {
            let given = turn(&mut positions, most, &mut random);
            let steps: Vec<Step<'_>> = given.iter().map(Given::step).collect();
            let outputs = block_on(together.forward_all(&steps));
            prop_assert_eq!(outputs.len(), steps.len());
            for (step, output) in steps.iter().zip(outputs) {
                let expected = block_on(alone.forward(step.session, step.position, step.input, step.want_logits));
                match (output, expected) {
                    (Ok(output), Ok(expected)) => prop_assert_eq!(output, expected),
                    (Err(output), Err(expected)) => prop_assert_eq!(output.to_string(), expected.to_string()),
                    (output, expected) => prop_assert!(false, "{output:?}, alone {expected:?}"),
                }
            }
            for (session, position) in (0..).zip(positions) {
                prop_assert_eq!(together.session_position(session), Some(position));
            }
        }
    }
}

#[test]
fn a_session_takes_one_step_at_a_time() {
    let model = model(1);
    let mut engine = loaded(&model, BackendChoice::Cpu);
    let step = Step { session: 0, position: 0, input: Input::Tokens(&[1, 2]), want_logits: true };
    let outputs = block_on(engine.forward_all(&[step, step]));
    assert!(matches!(outputs[..], [Ok(Output::Logits(_)), Err(ForwardError::Twice)]), "{outputs:?}");
    assert_eq!(engine.session_position(0), Some(2));
    assert!(block_on(engine.forward_all(&[])).is_empty());
}

#[test]
fn caches_have_a_budget_that_all_sessions_share() {
    let model = model(2);
    let mut engine = loaded(&model, BackendChoice::Cpu);
    // Two key heads of sixteen, two bytes each, with their exponents; values likewise; three layers.
    let position_bytes = 3 * 2 * (16 * 4 + 8);
    engine.limit_caches(10 * position_bytes);
    let forward = |engine: &mut Engine, session, position, rows: usize| {
        block_on(engine.forward(session, position, Input::Tokens(&vec![3; rows]), false))
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
        Step { session, position, input: Input::Tokens(&[5, 6]), want_logits: false }
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
            last = block_on(engine.forward(1, position, Input::Tokens(&tokens), true)).unwrap();
            position += rows;
        }
        let full = block_on(engine.forward(1, 8200, Input::Tokens(&[1]), true)).unwrap_err();
        assert!(matches!(full, ForwardError::Full { limit: 8200 }), "{full}");
        last
    };
    let expected = run(BackendChoice::Scalar);
    assert!(matches!(expected, Output::Logits(_)));
    assert_eq!(run(BackendChoice::Cpu), expected);
}

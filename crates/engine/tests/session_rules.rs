//! What a session takes and what it refuses, and that a refused step leaves it as it was.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, Input, LoadError, MAX_ROWS, MAX_SESSIONS, Output,
    OutputRequest, SessionError, Step,
};
use potluck_engine::sampler::{penalise, sample};
use potluck_model::package::{BlobError, BlobRole, Experts, LayerKind};
use potluck_model::synthetic::{Synthetic, config};
use potluck_protocol::sampling::Sampling;

const POSITIONS: u32 = 80;
const VOCAB: u32 = 40;

fn model() -> Synthetic {
    Synthetic::new(config(3, 64, 96, (4, 2, 16), VOCAB, POSITIONS), 5)
}

fn engine(model: &Synthetic) -> Engine {
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
    input: Input<'_>,
) -> Result<Output, ForwardError> {
    block_on(engine.forward(id, position, input, OutputRequest::Logits))
}

#[test]
fn every_refused_step_leaves_the_session_as_it_was() {
    let model = model();
    let (mut engine, mut untouched) = (engine(&model), engine(&model));
    for engine in [&mut engine, &mut untouched] {
        engine.open_session(1, 0..3).unwrap();
        engine.open_session(2, 1..2).unwrap();
    }
    let rows = vec![1000; 64];
    let step = |engine: &mut Engine, position| {
        let tokens = forward(engine, 1, position, Input::Tokens(&[3, 1])).unwrap();
        (tokens, forward(engine, 2, position / 2, Input::Hidden(&rows)).unwrap())
    };
    assert_eq!(step(&mut engine, 0), step(&mut untouched, 0));

    let too_many = vec![0; MAX_ROWS + 1];
    let wide = vec![0; (MAX_ROWS + 1) * 64];
    use Input::{Hidden, Tokens};
    let mut refused = |id, position, input| forward(&mut engine, id, position, input).unwrap_err();
    assert!(matches!(refused(7, 0, Tokens(&[1])), ForwardError::NoSession));
    for position in [0, 1, 3, u32::MAX] {
        let error = refused(1, position, Tokens(&[1]));
        assert!(
            matches!(error, ForwardError::Position { expected: 2, got } if got == position),
            "{error:?}"
        );
    }
    assert!(matches!(refused(1, 2, Tokens(&[])), ForwardError::Shape { got: 0, .. }));
    assert!(matches!(refused(1, 2, Tokens(&too_many)), ForwardError::Shape { got: 513, .. }));
    assert!(matches!(
        refused(1, 2, Tokens(&[1, VOCAB])),
        ForwardError::Token { vocab: VOCAB, got: VOCAB }
    ));
    assert!(matches!(refused(1, 2, Hidden(&rows)), ForwardError::Kind { first: 0 }));
    assert!(matches!(refused(2, 1, Tokens(&[1])), ForwardError::Kind { first: 1 }));
    assert!(matches!(refused(2, 1, Hidden(&rows[1..])), ForwardError::Shape { got: 63, .. }));
    assert!(matches!(refused(2, 1, Hidden(&[])), ForwardError::Shape { got: 0, .. }));
    assert!(matches!(refused(2, 1, Hidden(&wide)), ForwardError::Shape { got: 513, .. }));

    // A part that is gone refuses the step before any other part has taken it.
    engine.unload(BlobRole::Layer(2));
    let error = forward(&mut engine, 1, 2, Tokens(&[3, 1])).unwrap_err();
    assert!(matches!(error, ForwardError::Missing(BlobRole::Layer(2))), "{error:?}");
    engine.load(BlobRole::Layer(2), model.blob(BlobRole::Layer(2))).unwrap();
    for role in [BlobRole::Embedding, BlobRole::Head] {
        engine.unload(role);
        let error = forward(&mut engine, 1, 2, Tokens(&[3, 1])).unwrap_err();
        assert!(matches!(error, ForwardError::Missing(missing) if missing == role), "{error:?}");
        engine.load(role, model.blob(role)).unwrap();
    }
    assert_eq!(engine.session_position(1), Some(2));
    assert_eq!(step(&mut engine, 2), step(&mut untouched, 2));
}

#[test]
fn a_layer_is_here_when_all_of_its_experts_are() {
    let mut shape = config(2, 64, 96, (4, 2, 16), VOCAB, 32);
    shape.experts = Some(Experts {
        count: 2,
        used: 1,
        d_ff: 32,
        renormalised: true,
        router_bias: false,
        shared: 1,
    });
    shape.layer_kinds = vec![LayerKind::PLAIN, LayerKind { experts: true, ..LayerKind::PLAIN }];
    let model = Synthetic::new(shape, 5);
    let mut engine = engine(&model);
    let last = BlobRole::Expert(1, 2);
    engine.unload(last);
    assert_eq!(engine.open_session(1, 0..2), Err(SessionError::Missing(last)));
    engine.open_session(2, 0..1).unwrap();
    engine.load(last, model.blob(last)).unwrap();
    engine.open_session(1, 0..2).unwrap();
    let step = |engine: &mut Engine| forward(engine, 1, 0, Input::Tokens(&[3])).unwrap();
    let first = step(&mut engine);
    engine.unload(last);
    let error = forward(&mut engine, 1, 1, Input::Tokens(&[1])).unwrap_err();
    assert!(matches!(error, ForwardError::Missing(missing) if missing == last), "{error:?}");
    // The layer may come after its experts.
    engine.unload(BlobRole::Layer(1));
    engine.load(last, model.blob(last)).unwrap();
    engine.load(BlobRole::Layer(1), model.blob(BlobRole::Layer(1))).unwrap();
    assert!(engine.truncate(1, 0));
    assert_eq!(step(&mut engine), first);
    assert!(engine.held().contains(&last));
    for role in [BlobRole::Expert(0, 0), BlobRole::Expert(1, 3)] {
        let unknown = engine.load(role, model.blob(last));
        assert!(matches!(unknown, Err(LoadError::NoSuchPart(_))), "{role}: {unknown:?}");
    }
}

#[test]
fn a_penalty_is_for_tokens_that_are_known() {
    let sampling = Sampling {
        temperature_milli: 0,
        top_k: 0,
        top_p_milli: 1000,
        repetition_penalty_milli: 1300,
        seed: 0,
    };
    let mut engine = engine(&model());
    engine.open_session(1, 0..3).unwrap();
    let (input, want) = (Input::Tokens(&[1, 2]), OutputRequest::Token(sampling));
    let refused = block_on(engine.forward(1, 0, input, want)).unwrap_err();
    assert!(matches!(refused, ForwardError::Unseen), "{refused:?}");
    assert_eq!(engine.session_position(1), Some(0));
    let Output::Logits(logits) = forward(&mut engine, 1, 0, input).unwrap() else { panic!() };
    engine.truncate(1, 0);
    // The token that would be taken is one of them.
    let seen = BTreeSet::from([1, 2, sample(&logits, &sampling, 2)]);
    let step = Step { session: 1, position: 0, input, want, seen: Some(&seen) };
    let mut penalised = logits;
    penalise(&mut penalised, &seen, 1300);
    let expected = sample(&penalised, &sampling, 2);
    let outputs = block_on(engine.forward_all(&[step]));
    assert!(matches!(outputs[..], [Ok(Output::Token(token))] if token == expected), "{outputs:?}");
}

#[test]
fn a_context_is_filled_to_its_last_position_and_no_further() {
    let mut engine = engine(&model());
    engine.open_session(1, 0..3).unwrap();
    forward(&mut engine, 1, 0, Input::Tokens(&[1; 64])).unwrap();
    let error = forward(&mut engine, 1, 64, Input::Tokens(&[1; 17])).unwrap_err();
    assert!(matches!(error, ForwardError::Full { limit: POSITIONS }), "{error:?}");
    forward(&mut engine, 1, 64, Input::Tokens(&[1; 16])).unwrap();
    let error = forward(&mut engine, 1, POSITIONS, Input::Tokens(&[1])).unwrap_err();
    assert!(matches!(error, ForwardError::Full { .. }), "{error:?}");
    engine.truncate(1, 79);
    forward(&mut engine, 1, 79, Input::Tokens(&[1])).unwrap();
}

#[test]
fn sessions_are_counted_named_and_forgotten() {
    let mut engine = engine(&model());
    for id in 0..MAX_SESSIONS as u128 {
        engine.open_session(id, 0..3).unwrap();
    }
    assert_eq!(engine.open_session(5, 0..3), Err(SessionError::Exists));
    assert_eq!(engine.open_session(1000, 0..3), Err(SessionError::TooMany));
    engine.close_session(5);
    engine.close_session(5);
    assert_eq!(engine.session_position(5), None);
    engine.truncate(5, 0);
    engine.open_session(1000, 0..3).unwrap();
    assert_eq!(engine.session_position(1000), Some(0));
}

#[test]
fn sessions_do_not_meet() {
    let model = model();
    let mut engine = engine(&model);
    engine.open_session(1, 0..3).unwrap();
    engine.open_session(2, 0..3).unwrap();
    let first = forward(&mut engine, 1, 0, Input::Tokens(&[7, 8, 9])).unwrap();
    forward(&mut engine, 2, 0, Input::Tokens(&[30, 31])).unwrap();
    let first_then = forward(&mut engine, 1, 3, Input::Tokens(&[10])).unwrap();
    // Alone in a fresh engine, the first session says the same.
    let mut alone = self::engine(&model);
    alone.open_session(1, 0..3).unwrap();
    assert_eq!(forward(&mut alone, 1, 0, Input::Tokens(&[7, 8, 9])).unwrap(), first);
    assert_eq!(forward(&mut alone, 1, 3, Input::Tokens(&[10])).unwrap(), first_then);
}

#[test]
fn ranges_that_the_model_or_the_engine_lacks_are_refused() {
    let model = model();
    let mut engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
    assert_eq!(engine.open_session(1, 0..1), Err(SessionError::Missing(BlobRole::Tables)));
    let early = engine.load(BlobRole::Head, model.blob(BlobRole::Head));
    assert!(matches!(early, Err(LoadError::NoModel(BlobRole::Head))), "{early:?}");
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    engine.load(BlobRole::Layer(1), model.blob(BlobRole::Layer(1))).unwrap();
    assert_eq!(engine.held(), [BlobRole::Tables, BlobRole::Layer(1)]);
    engine.open_session(1, 1..2).unwrap();
    assert_eq!(engine.open_session(2, 0..2), Err(SessionError::Missing(BlobRole::Embedding)));
    assert_eq!(engine.open_session(2, 1..3), Err(SessionError::Missing(BlobRole::Layer(2))));
    for empty in [1..1, Range { start: 2, end: 1 }] {
        assert!(matches!(engine.open_session(2, empty), Err(SessionError::Missing(_))));
    }
    for beyond in [1..4, 3..4, 1..u32::MAX] {
        assert!(matches!(
            engine.open_session(2, beyond),
            Err(SessionError::Missing(BlobRole::Layer(_)))
        ));
    }
    let unknown = engine.load(BlobRole::Layer(3), model.blob(BlobRole::Layer(1)));
    assert!(matches!(unknown, Err(LoadError::NoSuchPart(BlobRole::Layer(3)))), "{unknown:?}");
    let short = engine.load(BlobRole::Head, &[0; 100]);
    assert!(matches!(short, Err(LoadError::Blob(BlobError::Length { got: 100, .. }))), "{short:?}");
}

#[test]
fn another_model_forgets_the_sessions_of_the_one_before() {
    let model = model();
    let mut engine = engine(&model);
    engine.open_session(1, 0..3).unwrap();
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    assert_eq!(engine.session_position(1), None);
    assert_eq!(engine.held(), [BlobRole::Tables]);
    // Tables that are none leave everything as it was.
    engine.load(BlobRole::Layer(1), model.blob(BlobRole::Layer(1))).unwrap();
    engine.open_session(1, 1..2).unwrap();
    assert!(engine.set_model(Arc::new(model.manifest), &[1, 2, 3]).is_err());
    assert_eq!(engine.session_position(1), Some(0));
}

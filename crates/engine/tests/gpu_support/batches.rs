//! Steps of several sessions at once, on any backend: every session gets what it would have got
//! alone on the plain loops, whatever was beside it.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use potluck_engine::engine::{
    BackendChoice, Engine, ForwardError, Input, Output, OutputRequest, Step,
};
use potluck_engine::sampler::{penalise, sample};
use potluck_model::package::BlobRole;
use potluck_model::synthetic::{Random, Synthetic, config};
use potluck_protocol::sampling::Sampling;

const WIDTH: usize = 96;
/// Of the sessions: three over the whole model, two from its middle, one at its end and one at its
/// beginning.
const LAYERS: [Range<u32>; 7] = [0..3, 0..3, 0..3, 1..3, 1..3, 2..3, 0..1];

pub(crate) fn model(seed: u64) -> Synthetic {
    Synthetic::new(config(3, 96, 160, (6, 2, 16), 48, 300), seed)
}

pub(crate) async fn loaded(model: &Synthetic, choice: BackendChoice) -> Engine {
    let mut engine = Engine::new(choice).await.unwrap();
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
    want: OutputRequest,
    /// Tokens of the text, some of which a penalty is for.
    seen: BTreeSet<u32>,
}

impl Given {
    fn step(&self) -> Step<'_> {
        let input = if self.hidden.is_empty() {
            Input::Tokens(&self.tokens)
        } else {
            Input::Hidden(&self.hidden)
        };
        let seen = Some(&self.seen);
        Step { session: self.session, position: self.position, input, want: self.want, seen }
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
            tokens: if starts {
                (0..rows).map(|_| random.within(0, 47).unsigned_abs()).collect()
            } else {
                Vec::new()
            },
            hidden: (0..count).map(|_| random.within(-(1 << 20), 1 << 20)).collect(),
            want: want(random),
            seen: (0..random.within(1, 12)).map(|_| random.within(0, 47).unsigned_abs()).collect(),
        });
        positions[at] += if wrong { 0 } else { rows };
    }
    given
}

fn want(random: &mut Random) -> OutputRequest {
    let sampling = Sampling {
        temperature_milli: 900,
        top_k: 0,
        top_p_milli: 950,
        repetition_penalty_milli: [1000, 500, 1100, 2000]
            [random.within(0, 3).unsigned_abs() as usize],
        seed: 5,
    };
    match random.within(0, 3) {
        0 => OutputRequest::Nothing,
        1 => OutputRequest::Logits,
        2 => OutputRequest::Token(Sampling { temperature_milli: 0, ..sampling }),
        _ => OutputRequest::Token(sampling),
    }
}

/// A step alone; a token with a penalty is sampled from its logits, in so many words.
async fn alone_with_logits(engine: &mut Engine, step: &Step<'_>) -> Result<Output, ForwardError> {
    let Step { session, position, input, .. } = *step;
    let want = match step.want {
        OutputRequest::Token(sampling) if sampling.minds_repetition() => OutputRequest::Logits,
        want => want,
    };
    let output = engine.forward(session, position, input, want).await?;
    Ok(match (output, step.want, step.seen) {
        (Output::Logits(mut logits), OutputRequest::Token(sampling), Some(seen)) => {
            penalise(&mut logits, seen, sampling.repetition_penalty_milli);
            let end = engine.session_position(session).unwrap();
            Output::Token(sample(&logits, &sampling, end))
        }
        (output, ..) => output,
    })
}

/// Turns of up to `most` rows a session.
pub(crate) async fn equal_alone(choice: BackendChoice, seed: u64, most: i32) {
    let model = model(seed);
    let mut alone = loaded(&model, BackendChoice::Scalar).await;
    let mut together = loaded(&model, choice).await;
    let mut random = Random::new(seed);
    let mut positions = [0; 7];
    for _ in 0..4 {
        let given = turn(&mut positions, most, &mut random);
        let steps: Vec<Step<'_>> = given.iter().map(Given::step).collect();
        let outputs = together.forward_all(&steps).await;
        assert_eq!(outputs.len(), steps.len());
        for (step, output) in steps.iter().zip(outputs) {
            let expected = alone_with_logits(&mut alone, step).await;
            match (output, expected) {
                (Ok(output), Ok(expected)) => {
                    assert_eq!(output, expected, "{:?} at {}", step.want, step.position)
                }
                (Err(output), Err(expected)) => {
                    assert_eq!(output.to_string(), expected.to_string())
                }
                (output, expected) => panic!("{output:?}, alone {expected:?}"),
            }
        }
        for (session, position) in (0..).zip(positions) {
            assert_eq!(together.session_position(session), Some(position));
        }
    }
}

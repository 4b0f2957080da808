//! A text taken in at once, in chunks or token by token gives the same rows and logits, bit for
//! bit; so does a text that was taken back and said again.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::sampler::Logits;
use support::{Imported, count};

/// More than one full step, and not a multiple of any chunk.
const LENGTH: usize = 131;

#[test]
fn chunks_of_any_size_give_the_same_rows_and_logits() {
    let model = Imported::tiny();
    let text = text(&model);
    let mut stages =
        [model.engine(BackendChoice::Cpu, 0..3), model.engine(BackendChoice::Cpu, 3..6)];
    let expected = run(&mut stages, 0, &text, 1);
    for chunk in [2, 7, 64] {
        let mut stages =
            [model.engine(BackendChoice::Cpu, 0..3), model.engine(BackendChoice::Cpu, 3..6)];
        let got = run(&mut stages, 0, &text, chunk);
        assert_eq!(got.0, expected.0, "rows between the stages in chunks of {chunk}");
        assert_eq!(got.1, expected.1, "logits in chunks of {chunk}");
    }
    let mut scalar =
        [model.engine(BackendChoice::Scalar, 0..3), model.engine(BackendChoice::Scalar, 3..6)];
    assert_eq!(run(&mut scalar, 0, &text, 64), expected, "the specification's own loops");
}

#[test]
fn a_text_taken_back_and_said_again_is_as_if_it_had_been_said_once() {
    let model = Imported::tiny();
    let text = text(&model);
    let mut stages =
        [model.engine(BackendChoice::Cpu, 0..3), model.engine(BackendChoice::Cpu, 3..6)];
    let (rows, logits) = run(&mut stages, 0, &text, 64);
    let wrong: Vec<u32> = text.iter().rev().copied().collect();
    for keep in [0, 1, 63, 100] {
        for engine in &mut stages {
            engine.truncate(1, count(keep));
            assert_eq!(engine.session_position(1), Some(count(keep)));
        }
        run(&mut stages, keep, &wrong[keep..], 16);
        for engine in &mut stages {
            engine.truncate(1, count(keep));
            // There is nothing beyond the end to take back.
            engine.truncate(1, count(keep + 1));
            assert_eq!(engine.session_position(1), Some(count(keep)));
        }
        let again = run(&mut stages, keep, &text[keep..], 7);
        let width = rows.len() / LENGTH;
        assert_eq!(again.0, rows[keep * width..], "rows after {keep} kept positions");
        assert_eq!(again.1, logits, "logits after {keep} kept positions");
    }
}

/// A prompt, made long by saying it again.
fn text(model: &Imported) -> Vec<u32> {
    let prompt = model.prompt("Tell me a tale about a giraffe and a teapot on the moon.");
    prompt.iter().cycle().take(LENGTH).copied().collect()
}

/// The rows between two stages, and the last logits.
fn run(
    stages: &mut [Engine; 2],
    from: usize,
    text: &[u32],
    chunk: usize,
) -> (Vec<i32>, Option<Logits>) {
    let (mut rows, mut last) = (Vec::new(), None);
    let mut position = count(from);
    for tokens in text.chunks(chunk) {
        let Output::Hidden(hidden) =
            block_on(stages[0].forward(1, position, Input::Tokens(tokens), OutputRequest::Logits))
                .unwrap()
        else {
            panic!("the first stage ends with rows");
        };
        let wanted = position as usize - from + tokens.len() == text.len();
        match block_on(stages[1].forward(
            1,
            position,
            Input::Hidden(&hidden),
            if wanted { OutputRequest::Logits } else { OutputRequest::Nothing },
        ))
        .unwrap()
        {
            Output::Logits(logits) if wanted => last = Some(logits),
            Output::None if !wanted => {}
            other => panic!("logits wanted: {wanted}, got {other:?}"),
        }
        rows.extend(hidden);
        position += count(tokens.len());
    }
    (rows, last)
}

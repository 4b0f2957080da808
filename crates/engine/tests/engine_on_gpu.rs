//! The engine on whatever adapter this machine has: it passes the known-answer test at start, says
//! what the CPU says, takes a text back, and refuses what the CPU refuses. Without an adapter
//! they are skipped (`gpu_support/skip.rs`).
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "gpu_support/skip.rs"]
mod skip;
mod support;

use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{
    BackendChoice, Engine, EngineError, ForwardError, Input, Output, OutputRequest,
};
use potluck_engine::gpu::Tuning;
use potluck_model::package::{BlobRole, Experts, LayerKind, ModelConfig};
use potluck_model::synthetic::{Synthetic, config};
use support::{Imported, count, logits};

/// Whether there is an adapter that computes rightly; one that computes wrongly fails the test.
fn is_here() -> bool {
    match block_on(Engine::new(BackendChoice::Gpu)) {
        Ok(engine) => {
            eprintln!("{:?}", engine.backend());
            assert!(!["scalar", "avx2"].contains(&engine.backend().kind));
            assert!(engine.held().is_empty(), "nothing of the known-answer test is left");
            true
        }
        Err(EngineError::NoGpu(reason)) => {
            assert!(!reason.contains("computes wrongly"), "{reason}");
            skip::skip(&reason);
            false
        }
    }
}

#[test]
fn stages_on_gpu_and_cpu_say_the_same() {
    if !is_here() {
        return;
    }
    let model = Imported::tiny();
    let prompt = model.prompt("Tell me a story about a fox and a lantern.");
    let mut whole = model.whole(BackendChoice::Cpu);
    let mut gpu = model.whole(BackendChoice::Gpu);
    let mut stages =
        [model.engine(BackendChoice::Gpu, 0..2), model.engine(BackendChoice::Cpu, 2..6)];
    let mut position = 0;
    for tokens in [&prompt[..7], &prompt[7..], &[572], &[557, 261]] {
        let expected = logits(&mut whole, position, tokens);
        assert_eq!(
            logits(&mut gpu, position, tokens),
            expected,
            "the whole model at position {position}"
        );
        let Output::Hidden(rows) =
            block_on(stages[0].forward(1, position, Input::Tokens(tokens), OutputRequest::Logits))
                .unwrap()
        else {
            panic!("the first stage ends with rows");
        };
        let last =
            block_on(stages[1].forward(1, position, Input::Hidden(&rows), OutputRequest::Logits))
                .unwrap();
        assert_eq!(last, Output::Logits(expected), "two stages at position {position}");
        position += count(tokens.len());
    }
}

/// Norms and biases, a window, experts: whatever a GPU has kernels of its own for.
fn with_parts() -> ModelConfig {
    let window = LayerKind { window: Some(9), rotation: None, experts: false };
    let shape = config(2, 64, 96, (4, 2, 16), 48, 3000);
    ModelConfig {
        layer_kinds: vec![window, LayerKind { experts: true, ..window }],
        experts: Some(Experts {
            count: 6,
            used: 2,
            d_ff: 32,
            renormalised: true,
            router_bias: true,
            shared: 1,
        }),
        mlp_limit: Some(7 << 26),
        qk_norm: Some(shape.eps()),
        ..shape
    }
}

#[test]
fn a_gpu_proves_what_a_model_has_besides() {
    if !is_here() {
        return;
    }
    let mut gpu = block_on(Engine::new(BackendChoice::Gpu)).unwrap();
    block_on(gpu.prove(&with_parts())).unwrap();
    assert!(gpu.is_on_gpu() && gpu.held().is_empty());
    // And once.
    let model = Synthetic::new(with_parts(), 1);
    gpu.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables)).unwrap();
    block_on(gpu.prove(&with_parts())).unwrap();
    assert_eq!(gpu.held(), [BlobRole::Tables]);
}

#[test]
fn a_window_is_a_ring_on_the_gpu() {
    if !is_here() {
        return;
    }
    let model = Synthetic::new(with_parts(), 2);
    let [mut cpu, mut gpu] = [BackendChoice::Cpu, BackendChoice::Gpu].map(|choice| {
        let mut engine = block_on(Engine::new(choice)).unwrap();
        engine.set_model(Arc::new(model.manifest.clone()), &model.blobs[0].1).unwrap();
        model.blobs[1..].iter().for_each(|(role, bytes)| engine.load(*role, bytes).unwrap());
        engine.open_session(1, 0..2).unwrap();
        engine
    });
    let mut most = 0;
    let tokens: Vec<u32> = (0..2700).map(|at| at * 7 % 48).collect();
    for steps in [&[512, 512, 512, 511, 1, 1, 300][..], &[200, 1], &[100]] {
        for count in steps {
            let at = cpu.session_position(1).unwrap();
            let rows = &tokens[at as usize..at as usize + count];
            assert_eq!(logits(&mut gpu, at, rows), logits(&mut cpu, at, rows), "at {at}");
        }
        most = most.max(gpu.cache_bytes());
        // Back over the ring's seam at 2,048 and forth.
        let back = cpu.session_position(1).unwrap() - 305;
        assert!(cpu.truncate(1, back) && gpu.truncate(1, back), "{back}");
    }
    // Two layers, two key heads of 16.
    assert_eq!(most, 2 * 2048 * 2 * (16 * 4 + 8), "2,349 positions in rings of 2,048");
}

#[test]
fn a_session_on_the_gpu_keeps_the_rules() {
    if !is_here() {
        return;
    }
    let model = Imported::tiny();
    let prompt = model.prompt("What is Potluck?");
    let mut gpu = model.whole(BackendChoice::Gpu);
    let first = logits(&mut gpu, 0, &prompt);
    let end = count(prompt.len());
    let next = logits(&mut gpu, end, &[50]);
    gpu.truncate(1, 3);
    assert_eq!(logits(&mut gpu, 3, &prompt[3..]), first, "taken back and said again");
    assert!(matches!(
        block_on(gpu.forward(1, end + 1, Input::Tokens(&[50]), OutputRequest::Logits)),
        Err(ForwardError::Position { .. })
    ));
    for role in [BlobRole::Layer(4), BlobRole::Head] {
        gpu.unload(role);
        let missing = block_on(gpu.forward(1, end, Input::Tokens(&[50]), OutputRequest::Logits));
        assert!(matches!(missing, Err(ForwardError::Missing(gone)) if gone == role), "{missing:?}");
        let blob =
            model.manifest.blobs_for(0..6).into_iter().find(|(of, _)| *of == role).unwrap().1;
        gpu.load(role, &model.blob(blob.hash)).unwrap();
    }
    assert_eq!(logits(&mut gpu, end, &[50]), next, "after its parts came back");
    assert_eq!(
        block_on(gpu.forward(1, end + 1, Input::Tokens(&[7]), OutputRequest::Nothing)).unwrap(),
        Output::None
    );
    gpu.close_session(1);
    assert!(matches!(
        block_on(gpu.forward(1, 0, Input::Tokens(&[1]), OutputRequest::Logits)),
        Err(ForwardError::NoSession)
    ));
}

#[test]
fn what_was_measured_is_not_measured_again() {
    if !is_here() {
        return;
    }
    let measured = block_on(Engine::new(BackendChoice::Gpu)).unwrap().tuning().unwrap();
    let again = |tuning: &str| {
        block_on(Engine::with_tuning(BackendChoice::Gpu, Some(tuning))).unwrap().tuning().unwrap()
    };
    // Kernels that no measurement chose: they are only there if none was made.
    let mut chosen: Tuning = serde_json::from_str(&measured).unwrap();
    chosen.kernels.busy_invocations = 12_345;
    let chosen = serde_json::to_string(&chosen).unwrap();
    assert_eq!(again(&chosen), chosen);
    // Another machine's, and no tuning at all: measured anew.
    for other in
        [chosen.replace("adapter\":\"", "adapter\":\"another "), "{".to_owned(), String::new()]
    {
        assert!(!again(&other).contains("12345"), "{other}");
    }
}

#[test]
fn automatic_choice_never_takes_software() {
    let engine = block_on(Engine::new(BackendChoice::Auto)).unwrap();
    let backend = engine.backend();
    if backend.adapter == "CPU" {
        assert!(
            backend.note.as_ref().is_some_and(|note| note.contains("computing on the CPU")),
            "{backend:?}"
        );
    } else {
        assert_eq!(backend.note, None, "{backend:?}");
    }
}

//! On whatever adapter this machine has (Mesa's lavapipe in CI): layers and head equal the plain
//! loops of the CPU, bit for bit, for odd shapes, every batch size, growing caches and going back.
//! Without an adapter they are skipped (`gpu_support/skip.rs`).
#![cfg(not(target_arch = "wasm32"))]

#[path = "gpu_support/encoders.rs"]
mod encoders;
mod gpu_support;
#[path = "gpu_support/sampling.rs"]
mod sampling;
#[path = "gpu_support/skip.rs"]
mod skip;

use futures::executor::block_on;
use gpu_support::{Reference, batches_equal, going_back_equals, hidden, odd_shapes, same};
use potluck_engine::engine::MAX_ROWS;
use potluck_engine::gpu::{Gpu, GpuEncoderError, GpuError, Shaders, Variants};
use potluck_model::synthetic::{Random, config};

/// An adapter; none, and the test is skipped.
fn any_gpu() -> Option<Gpu> {
    match block_on(Gpu::new(true, None)) {
        Ok(gpu) => {
            eprintln!("adapter: {:?}", gpu.info());
            Some(gpu)
        }
        Err(error @ GpuError::NoAdapter { .. }) => {
            skip::skip(&error);
            None
        }
        Err(error) => panic!("an adapter exists but cannot be used: {error}"),
    }
}

#[test]
fn layers_and_head_equal_the_reference_on_odd_shapes() {
    let Some(mut gpu) = any_gpu() else { return };
    for (seed, shape) in (1..).zip(odd_shapes()) {
        let mut reference = Reference::new(shape, seed);
        block_on(batches_equal(&mut gpu, &mut reference, seed + 100));
    }
}

#[test]
fn every_kernel_of_linear_equals_the_reference() {
    if any_gpu().is_none() {
        return;
    }
    for kernels in Variants::all() {
        let mut gpu = block_on(Gpu::with_kernels(kernels)).unwrap();
        for (seed, shape) in (1..).zip(odd_shapes()) {
            let mut reference = Reference::new(shape, seed);
            block_on(batches_equal(&mut gpu, &mut reference, seed + 100));
        }
        eprintln!("equal: {kernels:?}");
    }
}

#[test]
fn sampled_tokens_are_the_samplers() {
    if any_gpu().is_none() {
        return;
    }
    for kernels in Variants::all() {
        block_on(sampling::tokens_are_the_samplers(
            &mut block_on(Gpu::with_kernels(kernels)).unwrap(),
        ));
    }
}

#[test]
fn encoders_equal_the_reference() {
    if any_gpu().is_none() {
        return;
    }
    let cases = encoders::odd_encoders();
    let shaders = |most_invocations, subgroups, checked| {
        Some(Shaders { most_invocations, subgroups, checked })
    };
    for shaders in
        [shaders(256, false, true), shaders(64, true, false), shaders(16, false, false), None]
    {
        for case in &cases {
            block_on(case.vectors_equal(shaders));
        }
    }
}

#[test]
fn an_encoder_refuses_texts_that_cannot_be() {
    if any_gpu().is_none() {
        return;
    }
    let mut gpu = block_on(encoders::odd_encoders()[0].on_gpu(None)).unwrap();
    let refused = |result| matches!(result, Err(GpuEncoderError::Text(_)));
    assert!(refused(block_on(gpu.encode(&[&[1], &[]]))));
    assert!(refused(block_on(gpu.encode(&[&[1; 41]]))));
    assert!(refused(block_on(gpu.encode(&[&[48]]))));
    assert!(block_on(gpu.encode(&[])).unwrap().is_empty());
    assert_eq!(block_on(gpu.encode(&[&[1; 40]])).unwrap().len(), 1);
}

#[test]
fn going_back_overwrites_and_sessions_do_not_meet() {
    let Some(mut gpu) = any_gpu() else { return };
    block_on(going_back_equals(&mut gpu));
}

#[test]
fn a_session_goes_on_after_its_layer_was_replaced() {
    let Some(mut gpu) = any_gpu() else { return };
    let shape = config(1, 32, 64, (2, 1, 16), 33, 9);
    let mut reference = Reference::new(shape, 4);
    reference.load(&mut gpu);
    gpu.open_session(1, 0..1).unwrap();
    let rows = hidden(&mut Random::new(2), 6, 32);
    let expected = reference.forward(0..1, 0, &rows);
    block_on(async {
        same(&gpu.forward_layers(1, 0, &rows[..32]).await.unwrap(), &expected[..32], 32, "before");
        gpu.unload_layer(0);
        assert!(matches!(
            gpu.forward_layers(1, 1, &rows[32..]).await,
            Err(GpuError::LayerMissing { index: 0 })
        ));
        gpu.load_layer(0, &reference.layers[0]).unwrap();
        same(&gpu.forward_layers(1, 1, &rows[32..]).await.unwrap(), &expected[32..], 32, "after");
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(mut gpu) = any_gpu() else { return };
    assert!(matches!(gpu.open_session(1, 0..1), Err(GpuError::NoModel)));
    let shape = config(2, 32, 64, (2, 1, 16), 33, 9);
    let reference = Reference::new(shape, 5);
    gpu.set_model(&reference.synthetic.manifest, &reference.tables).unwrap();
    gpu.load_layer(0, &reference.layers[0]).unwrap();
    assert!(matches!(
        gpu.load_layer(2, &reference.layers[0]),
        Err(GpuError::NoSuchLayer { index: 2, layers: 2 })
    ));
    assert!(matches!(gpu.open_session(1, 0..2), Err(GpuError::LayerMissing { index: 1 })));
    assert!(matches!(
        gpu.open_session(1, 0..3),
        Err(GpuError::NoSuchLayer { index: 2, layers: 2 })
    ));
    gpu.open_session(1, 0..1).unwrap();
    assert!(matches!(gpu.open_session(1, 0..1), Err(GpuError::SessionExists { id: 1 })));
    block_on(async {
        assert!(matches!(gpu.head(&[0; 32]).await, Err(GpuError::HeadMissing)));
        assert!(matches!(
            gpu.forward_layers(2, 0, &[0; 32]).await,
            Err(GpuError::UnknownSession { id: 2 })
        ));
        assert!(matches!(
            gpu.forward_layers(1, 1, &[0; 32]).await,
            Err(GpuError::Position { held: 0, .. })
        ));
        assert!(matches!(
            gpu.forward_layers(1, 0, &[0; 10 * 32]).await,
            Err(GpuError::Position { rows: 10, .. })
        ));
        for wrong in [0, 31, 33, (MAX_ROWS + 1) * 32] {
            let got = gpu.forward_layers(1, 0, &vec![0; wrong]).await;
            assert!(matches!(got, Err(GpuError::Shape { .. })), "{wrong} values: {got:?}");
        }
        gpu.load_head(&reference.tables.last_norm, &reference.head).unwrap();
        assert!(matches!(
            gpu.head(&[0; 31]).await,
            Err(GpuError::Shape { expected: 32, got: 31, .. })
        ));
    });
}

/// A native node computes on one thread and is awaited on others; this is checked when it is
/// compiled.
#[test]
fn a_gpu_and_its_calls_may_move_between_threads() {
    fn may_move<T: Send>(_: &T) {}
    fn calls(gpu: &mut Gpu) {
        may_move(gpu);
        may_move(&gpu.forward_layers(0, 0, &[]));
        may_move(&gpu.head(&[]));
        may_move(&Gpu::new(true, None));
    }
    let _ = calls;
}

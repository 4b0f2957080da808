//! In a browser's dedicated worker, as a visitor's node runs: the kernels through WebGPU equal the
//! plain loops of the CPU in the same wasm, bit for bit. Run it with `wasm-bindgen-test-runner` and
//! a chromedriver; `webdriver.json` beside the manifest switches on WebGPU in software. A browser
//! without WebGPU fails it: whoever starts a browser for this wants to know.
#![cfg(target_arch = "wasm32")]
#![expect(clippy::unwrap_used, reason = "this is a test; clippy does not see that of a browser's")]

#[path = "gpu_support/batches.rs"]
mod batches;
#[path = "gpu_support/encoders.rs"]
mod encoders;
mod gpu_support;
#[path = "gpu_support/loss.rs"]
mod loss;
#[path = "gpu_support/sampling.rs"]
mod sampling;

use std::pin::pin;
use std::task::{Context, Waker};

use gpu_support::{Reference, batches_equal, going_back_equals, hidden, odd_shapes, same};
use potluck_engine::engine::BackendChoice;
use potluck_engine::gpu::Gpu;
use potluck_model::synthetic::{Random, config};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

async fn any_gpu() -> Gpu {
    let gpu = Gpu::new(true, None).await.expect("this browser offers WebGPU");
    console_log!("adapter: {:?}", gpu.info());
    assert_eq!(gpu.info().kind, "webgpu");
    gpu
}

#[wasm_bindgen_test]
async fn layers_and_head_equal_the_reference_on_odd_shapes() {
    let mut gpu = any_gpu().await;
    for (seed, shape) in (1..).zip(odd_shapes()) {
        let mut reference = Reference::new(shape.clone(), seed);
        batches_equal(&mut gpu, &mut reference, seed + 100).await;
        console_log!("equal: {shape:?}");
    }
}

#[wasm_bindgen_test]
async fn encoders_equal_the_reference() {
    for case in encoders::odd_encoders() {
        case.vectors_equal(None).await;
        console_log!("equal: {:?}", case.model.manifest.config);
    }
}

#[wasm_bindgen_test]
async fn sessions_beside_each_other_get_what_they_get_alone() {
    batches::equal_alone(BackendChoice::Gpu, 2, 20).await;
}

#[wasm_bindgen_test]
async fn sampled_tokens_are_the_samplers() {
    sampling::tokens_are_the_samplers(&mut any_gpu().await).await;
}

#[wasm_bindgen_test]
async fn conversations_outlive_their_gpu() {
    loss::answers_go_on(&[BackendChoice::Gpu, BackendChoice::Cpu]).await;
}

#[wasm_bindgen_test]
async fn going_back_overwrites_and_sessions_do_not_meet() {
    going_back_equals(&mut any_gpu().await).await;
}

#[wasm_bindgen_test]
async fn a_call_that_was_dropped_half_way_harms_no_later_one() {
    let mut gpu = any_gpu().await;
    let shape = config(1, 32, 64, (2, 1, 16), 33, 9);
    let mut reference = Reference::new(shape, 6);
    reference.load(&mut gpu);
    gpu.open_session(1, 0..1).unwrap();
    // Everything that was allocated has been answered for, so that the next call gets as far as its
    // map in one poll.
    let rows = hidden(&mut Random::new(3), 2, 32);
    let expected = reference.forward(0..1, 0, &rows);
    same(&gpu.forward_layers(1, 0, &rows).await.unwrap(), &expected, 32, "before");
    {
        let mut call = pin!(gpu.forward_layers(1, 0, &rows));
        assert!(
            call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
            "a map takes a while"
        );
    }
    same(&gpu.forward_layers(1, 0, &rows).await.unwrap(), &expected, 32, "after a dropped call");
}

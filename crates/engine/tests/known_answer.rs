//! The pinned known-answer test, on every path of the CPU.
#![cfg(not(target_arch = "wasm32"))]

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine};
use potluck_engine::known_answer::{EXPECTED, run};

#[test]
fn the_specification_and_simd_reproduce_the_pinned_vector() {
    for choice in [BackendChoice::Scalar, BackendChoice::Cpu] {
        let mut engine = block_on(Engine::new(choice)).unwrap();
        let hash = block_on(run(&mut engine)).unwrap();
        assert_eq!(hash, EXPECTED, "{}", engine.backend().kind);
    }
}

//! Quick look.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "spike")]
#[cfg(target_arch = "wasm32")]
fn main() {}
#[cfg(not(target_arch = "wasm32"))]
fn main() {
    use futures::executor::block_on;
    use potluck_bench::{rate::Subject, shapes::SHAPES};
    use potluck_engine::engine::BackendChoice;
    let name = std::env::args().nth(1).unwrap_or_default();
    let n: u32 = std::env::args().nth(2).map_or(32, |n| n.parse().unwrap());
    for shape in SHAPES.iter().filter(|s| s.name.contains(&name)) {
        let mut subject = block_on(Subject::random(BackendChoice::Cpu, shape.config())).unwrap();
        for _ in 0..std::env::args().nth(3).map_or(3, |n| n.parse().unwrap()) {
            let p = block_on(subject.prefill(128)).unwrap();
            let d = block_on(subject.decode(n)).unwrap();
            println!(
                "{} {} prefill {:.1} tok/s decode {:.1} tok/s",
                shape.name,
                subject.backend(),
                128.0 / p,
                f64::from(n) / d
            );
        }
    }
}

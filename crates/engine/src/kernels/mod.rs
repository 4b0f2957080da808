//! The kernels: for each its maths, and the plain-loop Rust that *is* the specification. The
//! `.wgsl` beside it must equal it bit for bit.
//!
//! A `.wgsl` file begins with a line that imports parts of `prelude/`:
//! `// #import model, rescale, fit`. The parts come before the file, joined by `gpu/source.rs`; a
//! part names no other, so a file lists everything that it needs. The joined text is what runs and
//! what `cargo test -p potluck-engine --test wgsl_valid` validates. That test leaves it, comments
//! and all, in `target/tmp/wgsl/`: open it there in an editor that knows WGSL, or give it to the
//! `naga` program. What a second kernel comes to need moves into a part (`PRELUDE` in
//! `gpu/source.rs` lists them); the test refuses functions that two files repeat.

pub mod attention;
pub mod bias;
pub mod block;
pub mod embedding;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod mlp;
pub mod rms_norm;
pub mod rope;
pub mod route;

#[cfg(test)]
pub(crate) mod testing;

//! The kernels: for each its maths, and the plain-loop Rust that *is* the specification. The
//! `.wgsl` beside it must equal it bit for bit.

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

#[cfg(test)]
pub(crate) mod testing;

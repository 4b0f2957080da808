//! Runs a contiguous range of a model's layers in exact arithmetic.
//!
//! Weights and rows go in, rows or logits come out, the same bit for bit on every backend and in
//! every split; `docs/numerics.md` defines the arithmetic. This crate knows no network and no file,
//! and no result depends on a clock: the one that is read chooses among kernels that give the same
//! bits, and limits how long is waited for a GPU. What a model's bytes mean is `model`'s to say.
//!
//! | module | what |
//! |---|---|
//! | [`kernels`] | each kernel's maths, its plain-loop specification, its SIMD and WGSL |
//! | [`cpu`], [`gpu`] | layers on the CPU; on a GPU through wgpu |
//! | [`encoder`] | texts to vectors, on the CPU (on a GPU: [`gpu::GpuEncoder`]) |
//! | [`engine`] | parts and sessions on one backend |
//! | [`sampler`] | logits to tokens |
//! | [`known_answer`] | what a backend must reproduce before it is used |

mod backend;
mod choice;
pub mod cpu;
pub mod encoder;
pub mod engine;
mod error;
pub mod gpu;
pub mod kernels;
pub mod known_answer;
pub mod kv_cache;
pub mod sampler;
mod step;
mod threads;

pub use threads::{threads, use_threads};

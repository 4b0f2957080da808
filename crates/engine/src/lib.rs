//! Runs a contiguous range of a model's layers in exact arithmetic.
//!
//! Weights and rows go in, rows or logits come out, the same bit for bit on every backend and in
//! every split; `docs/numerics.md` defines the arithmetic. This crate knows no network, no clock
//! and no file but those that `import` reads.
//!
//! | module | what |
//! |---|---|
//! | [`package`] | the manifest and blobs of a model |
//! | `import` | a Hugging Face folder or a GGUF file into a package (feature `import`) |
//! | `quality` | the integers beside the floats they were made from (feature `import`) |
//! | [`kernels`] | each kernel's maths, its plain-loop specification, its SIMD and WGSL |
//! | [`cpu`], `gpu` | layers on the CPU; on a GPU through wgpu (feature `gpu`) |
//! | [`encoder`] | texts to vectors, on the CPU (on a GPU: `gpu::GpuEncoder`) |
//! | [`engine`] | parts and sessions on one backend |
//! | [`sampler`], `tokenizer` | logits to tokens; text to tokens and back (feature `tokenizer`) |
//! | [`conformance`] | what a backend must reproduce before it is used |

pub mod conformance;
pub mod cpu;
pub mod encoder;
pub mod engine;
#[cfg(feature = "gpu")]
pub mod gpu;
#[cfg(feature = "import")]
pub mod import;
pub mod kernels;
pub mod kv_cache;
pub mod package;
#[cfg(feature = "import")]
pub mod quality;
pub mod sampler;
pub mod synthetic;
mod threads;
#[cfg(feature = "tokenizer")]
pub mod tokenizer;

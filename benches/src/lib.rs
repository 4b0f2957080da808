//! Measures the engine, alone and beside its peers, and the server's scheduler.
//!
//! | module | what |
//! |---|---|
//! | [`shapes`] | the shapes of models that people use, for weights of random numbers |
//! | [`rate`] | how many tokens a second an engine decodes and takes in |
//! | `web` | the same for a page (in wasm) |
//! | `native`, `page` | our engine in this process, and in a browser |
//! | `peers`, `gguf` | the others, and the shapes in the form that they read |
//! | `encoders` | an encoder with its real weights, ours and as ONNX |
//! | `architectures` | what the parts of an architecture cost |
//! | `scheduler` | what an event costs the server |
//! | `tables` | what is measured beside what |

#[cfg(not(target_arch = "wasm32"))]
pub mod architectures;
#[cfg(not(target_arch = "wasm32"))]
pub mod encoders;
#[cfg(not(target_arch = "wasm32"))]
pub mod gguf;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
#[cfg(not(target_arch = "wasm32"))]
pub mod page;
#[cfg(not(target_arch = "wasm32"))]
pub mod peers;
pub mod rate;
#[cfg(not(target_arch = "wasm32"))]
pub mod scheduler;
pub mod shapes;
#[cfg(not(target_arch = "wasm32"))]
pub mod tables;
#[cfg(target_arch = "wasm32")]
pub mod web;

//! Measures the engine, alone and beside its peers.
//!
//! | module | what |
//! |---|---|
//! | [`shapes`] | the shapes of models that people use, for weights of random numbers |
//! | `web` | the same for a page (in wasm) |
//! | [`rate`] | how many tokens a second an engine decodes and takes in |

pub mod rate;
pub mod shapes;
#[cfg(target_arch = "wasm32")]
pub mod web;

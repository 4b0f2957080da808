//! The Potluck node: joins transport and engine.
//!
//! | module | what |
//! |---|---|
//! | [`node`] | what happens and when: a state machine without I/O |
//! | [`run`] | the one loop that drives it: transport, engine, weights, clock |
//! | [`failure`] | why the machine could not do what the node wanted |
//! | [`local`] | a whole model in one process, no network: the reference for everything else |
//!
//! The same crate is a native program (`potluck-node`) and the page's Web Worker; `main.rs` has a
//! main for each.

pub mod failure;
pub mod local;
mod machine;
pub mod node;
pub mod run;

// What nodes send each other must be what the engine computes and takes. The two crates do not know
// each other, so it is checked here.
const _: () =
    assert!(potluck_protocol::NUMERICS_VERSION as u32 == potluck_engine::package::NUMERICS);
const _: () = assert!(potluck_protocol::codec::MAX_ROWS <= potluck_engine::engine::MAX_ROWS);

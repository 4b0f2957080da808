//! The Potluck node: joins transport and engine.
//!
//! | module | what |
//! |---|---|
//! | [`node`] | what happens and when: a state machine without I/O |
//! | [`run`] | the one loop that drives it: transport, engine, weights, clock |
//! | [`failure`] | why the machine could not do what the node wanted |
//! | [`keys`] | what a person does with their key, and what is signed by it |
//! | [`local`] | a whole model in one process, no network: the reference for everything else |
//!
//! The same crate is a native program (`potluck-node`) and the page's Web Worker; `main.rs` has a
//! main for each.

pub mod failure;
pub mod keys;
pub mod local;
mod machine;
pub mod node;
pub mod run;

//! What `cargo xtask` and the whole-system tests both need to know: where programs of other
//! projects lie on this machine.
//!
//! The commands themselves are in the binary. Nothing here installs or starts anything.

pub mod programs;

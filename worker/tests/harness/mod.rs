//! Several real nodes with real engines in one thread, over the seeded network of `net::memory` and
//! under the real scheduler.
//!
//! | file | what |
//! |---|---|
//! | `package` | the built-in model |
//! | `swarm` | nodes, network and server, and what goes on between them in virtual time |
//! | `machine` | engine and weights of a node |
//! | `server` | the server without its sockets |
//! | `expectations` | what a person got to read |
//!
//! A test may look at each delivery to a node before it happens and drop, change or add to it. The
//! same seed gives the same run.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "test code shared by several test binaries; each uses its own part of it"
)]

mod expectations;
mod machine;
mod package;
mod server;
mod swarm;

#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use self::package::{Package, package};
#[allow(unused_imports, reason = "each test binary uses its own part")]
pub use self::swarm::{Delivery, Swarm};

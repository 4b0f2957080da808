//! A whole Potluck swarm on one machine: real server, native nodes and headless browsers, started
//! and ended by one process.
//!
//! ```text
//!  demo, bench, tests/*.rs
//!        │
//!      Swarm ── Server   potluck-server serve, port 0, a folder of its own
//!        │  └── Node     potluck-node join
//!        │  └── Browser  chromedriver + Chromium with a fresh profile; clicks like a person
//!        └── Question    potluck-node ask, potluck-node local
//! ```
//! Everything is driven from outside, as its users do: command lines, HTTP, clicks. Nothing of the
//! server, node or page is linked here, so a test that passes says something about what is shipped.
//! Processes end with the value that started them, on panic and on Ctrl-C too.

pub mod api;
mod authenticator;
pub mod browser;
pub mod compress;
mod devtools;
pub mod door;
pub mod embed;
pub mod gateway;
pub mod host;
pub mod measured;
pub mod median;
pub mod member;
pub mod node;
pub mod process;
pub mod programs;
pub mod proxy;
pub mod question;
pub mod server;
pub mod sizes;
pub mod swarm;
pub mod table;
pub mod usage;
pub mod wait;

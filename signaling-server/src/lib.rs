//! Potluck's signaling server: introduces peers, assigns layers to nodes, keeps the tally, serves
//! the page and the weights.
//!
//! ```text
//! socket (one task a connection) ─message─▶ hub ──▶ scheduler (pure) ──Action──▶ hub ──▶ sockets
//!      │                                     ▲
//!      │                                     └── credited ──┐
//!      └── receipt ─▶ ledger checks (pure) ─▶ store (one transaction for many) ─▶ verdict
//! listener (every connection) ─▶ http ─▶ board (what all are told, made once a second)
//! ```
//! It never sees a prompt, an activation or a token: those pass between nodes.

pub mod authority;
pub mod config;
pub mod ice;
pub mod models;
pub mod origin;
pub mod scheduler;
pub mod server;
pub mod sites;

mod app;
mod board;
mod calendar;
mod client_address;
mod connection_limiter;
mod ending;
mod http;
mod hub;
mod listener;
mod page_index;
mod people;
mod rendered;
mod rooms;
mod socket;
mod store;

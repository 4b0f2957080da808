//! The page: what a visitor sees, what they can do, and what the page then does outside itself.
//!
//! ```text
//!  click, notice, news ──▶ Action ──▶ State::reduce ──▶ Effect ──▶ store ──▶ worker (link),
//!                                         │                                 browser
//!                                         ▼
//!                                       view
//! ```
//! [`state`] decides everything and touches nothing, so that it is tested natively. [`view`] only
//! draws. The worker is started by the binary's `link.rs`, behind [`store::Platform`]; nothing is
//! started, fetched for lending or computed before a click.

pub mod api;
pub mod browser;
pub mod later;
pub mod sensors;
pub mod state;
pub mod store;
pub mod view;
pub mod widget;
pub mod words;

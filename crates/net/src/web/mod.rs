//! The browser's platform, in two halves joined by a message port.
//!
//! ```text
//!   page                                                       worker
//!   WorkerLink ── PageTransport ── WebSocket                   PortTransport ── node
//!       │              └────────── RTCPeerConnection …              │
//!       └══════════════════ envelopes by postMessage ═══════════════┘
//!                                                              fetch, OPFS
//! ```
//! `RTCPeerConnection` exists on the page only, and heavy computing belongs into a worker; so the
//! page owns the connections, the worker the node. [`page`] also works alone, for a node on the
//! page.

mod connection;
mod envelope;
mod files;
mod http;
mod link;
mod lock;
mod opfs;
pub mod page;
pub mod port;
mod secret;
mod socket;

use core::time::Duration;

pub use files::BlobCache;
use futures::channel::oneshot;
use gloo::timers::callback::Timeout;
pub(crate) use http::get;
pub use lock::{Claim, Lock, claim};
pub use secret::{load_or_create_secret, replace_secret};
use wasm_bindgen::{JsCast as _, JsValue};

/// Waits. Dropping the future cancels the timer.
pub async fn sleep(duration: Duration) {
    // The longest a browser's timer can be, 24 days; beyond that it would fire at once.
    let milliseconds =
        u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
    let (done, waiting) = oneshot::channel();
    let _timer = Timeout::new(milliseconds, move || {
        // Nobody waits any more: as good.
        let _ = done.send(());
    });
    let _ = waiting.await;
}

/// What JavaScript threw, for people.
fn describe(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => thrown.as_string().unwrap_or_else(|| format!("{thrown:?}")),
    }
}

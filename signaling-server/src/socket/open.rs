//! The sockets that are open, counted, so that a server that stops can wait until they are closed.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::app::App;

/// All sockets of the server.
#[derive(Debug)]
pub(crate) struct Sockets {
    open: watch::Sender<usize>,
    turned_away: Arc<Semaphore>,
    /// Receipts of all connections that are on their way.
    receipts: Arc<Semaphore>,
    /// Signatures are verified on so many threads at a time.
    verifying: Arc<Semaphore>,
}

/// One open socket, from its upgrade until this is dropped.
pub(super) struct Open(Arc<App>);

/// Sockets that are open only to say why they are closed, at a time. Each takes a second or two;
/// beyond it the answer is HTTP's, which a page cannot read.
const TURNED_AWAY: usize = 256;
/// Receipts on their way at a time: about half a second's work, and three megabytes.
const RECEIPTS: usize = 4096;

impl Default for Sockets {
    fn default() -> Self {
        let room = |places| Arc::new(Semaphore::new(places));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            open: watch::Sender::new(0),
            turned_away: room(TURNED_AWAY),
            receipts: room(RECEIPTS),
            verifying: room(processors),
        }
    }
}

impl Sockets {
    /// Waits until no socket is open.
    pub(crate) async fn all_closed(&self) {
        // An error would mean that the sender, which is this, is gone.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Room for one that is opened only to say why it is closed.
    pub(super) fn turn_away(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turned_away).try_acquire_owned().ok()
    }

    /// Room for one more receipt.
    pub(super) fn receipt(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.receipts).try_acquire_owned().ok()
    }

    /// Does what takes a processor for a while, in turn, on a thread of its own: those that serve
    /// connections and the hub go on meanwhile. `None` if it panics.
    pub(super) async fn verify<T: Send + 'static>(
        &self,
        verify: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        // It is never closed.
        let turn = Arc::clone(&self.verifying).acquire_owned().await.ok()?;
        let verified = tokio::task::spawn_blocking(move || {
            let verified = verify();
            drop(turn);
            verified
        });
        verified.await.ok()
    }
}

impl Open {
    pub(super) fn new(app: Arc<App>) -> Self {
        app.sockets.open.send_modify(|open| *open += 1);
        Self(app)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.sockets.open.send_modify(|open| *open -= 1);
    }
}

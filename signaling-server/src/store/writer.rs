//! The one task that writes: all receipts that wait are credited in one transaction, and answered
//! when it is on disk.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::credit::credit_all;
use super::{Credit, Work};

/// One thing to do.
#[derive(Debug)]
pub(super) enum Write {
    /// Credit this.
    Credit { work: Box<Work>, verdict: oneshot::Sender<Credit> },
    /// Close the database and end.
    Close { closed: oneshot::Sender<()> },
}

/// The writer's own connection and what waits for it.
#[derive(Debug)]
pub(super) struct Writer {
    connection: SqliteConnection,
    queue: mpsc::Receiver<Write>,
}

/// Receipts of one transaction at most: enough for the wait for the disk to be a small part of it,
/// and short enough (a tenth of a second) for nobody to wait for long.
const BATCH: usize = 512;

impl Writer {
    pub(super) fn new(connection: SqliteConnection, queue: mpsc::Receiver<Write>) -> Self {
        Self { connection, queue }
    }

    /// Writes until it is closed, or the last handle to the store is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut closing = None;
            let (mut works, mut verdicts) = (Vec::new(), Vec::new());
            for write in batch.drain(..) {
                match write {
                    Write::Credit { work, verdict } => {
                        works.push(*work);
                        verdicts.push(verdict);
                    }
                    Write::Close { closed } => closing = Some(closed),
                }
            }
            self.credit(&works, verdicts).await;
            if let Some(closed) = closing {
                if let Err(error) = self.connection.close().await {
                    tracing::warn!(%error, "the database did not close well; nothing is lost");
                }
                // Whoever closed may have gone.
                let _ = closed.send(());
                return;
            }
        }
    }

    async fn credit(&mut self, works: &[Work], verdicts: Vec<oneshot::Sender<Credit>>) {
        if works.is_empty() {
            return;
        }
        let credits = credit_all(&mut self.connection, works).await.unwrap_or_else(|error| {
            let receipts = works.len();
            tracing::error!(%error, receipts, "receipts could not be credited now");
            vec![Credit::TryAgain; receipts]
        });
        for (verdict, credit) in verdicts.into_iter().zip(credits) {
            // Whoever handed it in may have gone; it will be recognised when it comes again.
            let _ = verdict.send(credit);
        }
    }
}

//! What a node earned on each day, for its own plot.
//!
//! Days are UTC's, counted from 1970, by the clock of the transaction that credits. They are kept for
//! [`KEPT_DAYS`]; the books themselves are receipts and accounts.

use potluck_protocol::id::NodeId;
use sqlx::sqlite::SqliteConnection;

use super::{Store, StoreError};

/// Days that are kept: a year, and a month to look back on it.
pub(super) const KEPT_DAYS: u32 = 400;

/// What was earned on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    /// Days since 1970.
    pub(crate) day: u32,
    /// Multiply-accumulates credited.
    pub(crate) macs: u64,
    /// Receipts credited.
    pub(crate) receipts: u64,
}

/// Adds to today's sum of a node.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    node: NodeId,
    macs: i64,
    receipts: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO days (node, day, earned_macs, receipts) VALUES (?, unixepoch() / 86400, ?, ?)
         ON CONFLICT (node, day) DO UPDATE SET earned_macs = earned_macs + excluded.earned_macs,
             receipts = receipts + excluded.receipts",
    )
    .bind(&node.0[..])
    .bind(macs)
    .bind(receipts)
    .execute(connection)
    .await
    .map(drop)
}

/// Forgets what is older than is kept.
pub(super) async fn forget_old(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM days WHERE day < unixepoch() / 86400 - ?")
        .bind(KEPT_DAYS)
        .execute(connection)
        .await
        .map(drop)
}

impl Store {
    /// What a node earned on each of the last `days` days, those without anything left out, and which
    /// day it is now.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn days(
        &self,
        node: NodeId,
        days: u32,
    ) -> Result<(u32, Vec<Day>), StoreError> {
        let today: u32 =
            sqlx::query_scalar("SELECT unixepoch() / 86400").fetch_one(&self.readers).await?;
        let rows: Vec<(u32, i64, i64)> = sqlx::query_as(
            "SELECT day, earned_macs, receipts FROM days WHERE node = ? AND day > ? ORDER BY day",
        )
        .bind(&node.0[..])
        .bind(today.saturating_sub(days.min(KEPT_DAYS)))
        .fetch_all(&self.readers)
        .await?;
        let day = |(day, macs, receipts): (u32, i64, i64)| Day {
            day,
            macs: macs.unsigned_abs(),
            receipts: receipts.unsigned_abs(),
        };
        Ok((today, rows.into_iter().map(day).collect()))
    }
}

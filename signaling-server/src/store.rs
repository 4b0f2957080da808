//! What survives a restart: receipts and the accounts they are credited to, in SQLite.
//!
//! ```text
//! receipts, checked ──bounded queue──▶ writer: one transaction for all that wait ──▶ verdicts
//! tally, standing   ──pool of readers──▶ the state after the last transaction
//! ```
//! A receipt is acknowledged only after its transaction is on disk (WAL, `synchronous=FULL`): a
//! `kill -9` at any moment loses no acknowledged credit, and a receipt handed in again is recognised.
//! The disk is waited for once for all receipts that came in while it was waited for before, and by
//! nobody else: readers never wait for the writer, nor it for them.
//!
//! Receipts and accounts are kept for ever, as they are the books; sites and their counts until their
//! owners remove them; and what each node earned on each day for a year;
//! and what volunteers say of themselves as long as they have earned something. Nothing else is kept: what a
//! receipt is held against is its ticket, which its stage has.

mod credit;
mod days;
mod owners;
mod people;
mod places;
mod schema;
mod sites;
mod writer;

use std::path::Path;
use std::time::Duration;

use potluck_protocol::api::HardwareClass;
use potluck_protocol::id::NodeId;
use potluck_protocol::receipt::SignedReceipt;
use potluck_protocol::room::RoomId;
use potluck_protocol::server::NodeKind;
use sqlx::ConnectOptions as _;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use writer::{Write, Writer};

pub(crate) use people::{MAX_MEMBERS, MAX_TEAMS_OF_MAKER, Noted, Said};
pub(crate) use places::{Filed, Placed};

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: SqlitePool,
    /// One connection, for what owners of sites change and for counts.
    site_writes: SqlitePool,
    writes: mpsc::Sender<Write>,
}

/// The database could not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite reports an error.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The schema is not one that this version can bring up to date, or that failed.
    #[error("the database's schema could not be brought up to date")]
    Schema(#[from] MigrateError),
    /// It holds something that this version cannot read.
    #[error("the database holds an unreadable {0}")]
    Unreadable(&'static str),
}

/// A receipt that passed every check but the one of its place, which only the writer can make.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The receipt, with both signatures, which were found to hold.
    pub(crate) signed: SignedReceipt,
    /// What it is worth in multiply-accumulates.
    pub(crate) macs: u64,
    /// Its session goes on with an earlier one, and need not begin at the first position.
    pub(crate) continues: bool,
    /// What kind of node its stage is, if it said so.
    pub(crate) kind: Option<NodeKind>,
    /// What computes there, if it said so.
    pub(crate) class: Option<HardwareClass>,
    /// The room that it was done in.
    pub(crate) room: Option<RoomId>,
}

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// It is credited and on disk.
    Credited {
        /// The stage's balance in multiply-accumulates.
        balance_macs: u64,
        /// False if it was credited before.
        newly: bool,
    },
    /// It never will be, for this reason.
    Refused(String),
    /// Not now: one before it is missing, too many wait, or the disk failed.
    TryAgain,
}

/// One contributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contributor {
    /// The node's public key.
    pub(crate) node: NodeId,
    /// The name that its volunteer chose.
    pub(crate) called: Option<String>,
    /// A page or a program, as the node said when it last registered.
    pub(crate) kind: Option<NodeKind>,
    /// Multiply-accumulates credited.
    pub(crate) macs: u64,
    /// How many receipts were credited.
    pub(crate) receipts: u64,
}

/// Connections that read: the tally, and what those who join have earned.
const READERS: u32 = 4;
/// Receipts that wait for the disk: two megabytes, and under a second's work. Beyond it, those who
/// hand one in are told to try again.
const WRITE_QUEUE: usize = 4096;
/// Pages that the writer keeps, KiB: the index of a million receipts is several times as large, but
/// those of sessions that run are next to each other in time, not in the index.
const WRITER_CACHE_KIB: &str = "-32768";

impl Store {
    /// Opens, or makes, `potluck.sqlite` in the data folder.
    ///
    /// # Errors
    /// If the file cannot be opened or is not a database of ours.
    pub(crate) async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("potluck.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let mut connection =
            options.clone().pragma("cache_size", WRITER_CACHE_KIB).connect().await?;
        schema::migrate(&mut connection).await?;
        days::forget_old(&mut connection).await?;
        people::forget_strangers(&mut connection).await?;
        let site_writes =
            SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        tokio::spawn(Writer::new(connection, queue).run());
        Ok(Self { readers, site_writes, writes })
    }

    /// Closes the database when what waits is written; what was acknowledged is on disk already.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        // Errors mean that the writer has ended already.
        if self.writes.send(Write::Close { closed }).await.is_ok() {
            let _ = done.await;
        }
        self.site_writes.close().await;
        self.readers.close().await;
    }

    /// Waits until the writer ends, which it does only when it is closed or has panicked: nothing can
    /// be credited any more.
    pub(crate) async fn writer_ended(&self) {
        self.writes.closed().await;
    }

    /// Credits work, once, if it is the next of its stage in its session.
    pub(crate) async fn credit(&self, work: Work) -> Credit {
        let (verdict, answer) = oneshot::channel();
        match self.writes.try_send(Write::Credit { work: Box::new(work), verdict }) {
            Ok(()) => answer.await.unwrap_or(Credit::TryAgain),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Credit::TryAgain,
        }
    }

    /// What a node has earned so far, multiply-accumulates.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn earned_macs(&self, node: NodeId) -> Result<u64, StoreError> {
        let earned: Option<i64> =
            sqlx::query_scalar("SELECT earned_macs FROM accounts WHERE node = ?")
                .bind(&node.0[..])
                .fetch_optional(&self.readers)
                .await?;
        Ok(earned.unwrap_or(0).unsigned_abs())
    }

    /// The contributors of a room, or of the public swarm, with the most credit.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn contributors(
        &self,
        room: Option<RoomId>,
        limit: u32,
    ) -> Result<Vec<Contributor>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT a.node, p.name, a.kind, a.earned_macs, a.receipts
             FROM accounts a LEFT JOIN people p ON p.node = a.node
             WHERE a.room = ? AND a.earned_macs > 0 ORDER BY a.earned_macs DESC, a.node LIMIT ?",
        )
        .bind(room_name(room))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let contributor = |(node, called, kind, macs, receipts): Row| {
            Ok(Contributor {
                node: NodeId(node.try_into().map_err(|_| StoreError::Unreadable("node"))?),
                called,
                kind: kind.as_deref().and_then(kind_of),
                macs: macs.unsigned_abs(),
                receipts: receipts.unsigned_abs(),
            })
        };
        rows.into_iter().map(contributor).collect()
    }
}

/// A contributor as it is read: node, chosen name, kind, multiply-accumulates and receipts.
type Row = (Vec<u8>, Option<String>, Option<String>, i64, i64);

/// As it stands in the accounts.
fn room_name(room: Option<RoomId>) -> Vec<u8> {
    room.map_or_else(Vec::new, |room| room.0.to_vec())
}

const fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Browser => "browser",
        NodeKind::Native => "native",
    }
}

fn kind_of(name: &str) -> Option<NodeKind> {
    [NodeKind::Browser, NodeKind::Native].into_iter().find(|kind| kind_name(*kind) == name)
}

#[cfg(test)]
mod tests;

//! What survives a restart: sessions, receipts and the transfers that credit them, in SQLite.
//!
//! A receipt is credited in one transaction, and acknowledged only after it is on disk (WAL,
//! `synchronous=FULL`): a `kill -9` at any moment loses no acknowledged credit, and a receipt
//! handed in again is recognised.
//!
//! Receipts and their postings are kept for ever, as they are the books. A session is kept as long
//! as receipts refer to it, and for a month if none does.

mod credit;
mod schema;

use std::path::Path;
use std::time::Duration;

use potluck_protocol::codec;
use potluck_protocol::id::NodeId;
use potluck_protocol::server::{NodeKind, Session};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub(crate) use credit::Credit;

/// The database.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
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

/// One contributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contributor {
    /// The node's public key.
    pub(crate) node: NodeId,
    /// A page or a program, as the node said when it last registered.
    pub(crate) kind: Option<NodeKind>,
    /// Multiply-accumulates credited.
    pub(crate) macs: u64,
    /// How many receipts were credited.
    pub(crate) receipts: u64,
}

/// Connections to the database file: SQLite has one writer, and readers are few.
const POOL: u32 = 4;
/// How long a session without receipts is kept. A node hands its receipts in at once, or as soon as
/// it reaches the server again; one that did not for a month has no receipts any more.
const UNUSED_SESSION: Duration = Duration::from_secs(30 * 24 * 3600);

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
        let pool = SqlitePoolOptions::new().max_connections(POOL).connect_with(options).await?;
        schema::migrate(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the database; what was acknowledged is on disk already.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    /// Keeps a session, so that its receipts can be judged even after a restart.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT OR IGNORE INTO sessions (id, body, opened_s) VALUES (?, ?, unixepoch())",
        )
        .bind(&session.id.0[..])
        .bind(codec::encode(session))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets sessions of more than a month ago that no receipt was credited for; how many.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn forget_unused_sessions(&self) -> Result<u64, StoreError> {
        let forgotten = sqlx::query(
            "DELETE FROM sessions WHERE opened_s < unixepoch() - ?
             AND NOT EXISTS (SELECT 1 FROM receipts WHERE receipts.session = sessions.id)",
        )
        .bind(UNUSED_SESSION.as_secs().cast_signed())
        .execute(&self.pool)
        .await?;
        Ok(forgotten.rows_affected())
    }

    /// Keeps what kind of node a contributor is.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn save_kind(&self, node: NodeId, kind: NodeKind) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO nodes (node, kind) VALUES (?, ?)
             ON CONFLICT (node) DO UPDATE SET kind = excluded.kind",
        )
        .bind(&node.0[..])
        .bind(kind_name(kind))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The contributors with the most credit.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn contributors(&self, limit: u32) -> Result<Vec<Contributor>, StoreError> {
        let rows: Vec<(Vec<u8>, Option<String>, i64, i64)> = sqlx::query_as(
            "SELECT p.node, n.kind, SUM(p.macs) AS macs, COUNT(*)
             FROM postings p LEFT JOIN nodes n ON n.node = p.node
             WHERE p.account = 'earned' GROUP BY p.node ORDER BY macs DESC, p.node LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let contributor = |(node, kind, macs, receipts): (Vec<u8>, Option<String>, i64, i64)| {
            Ok(Contributor {
                node: NodeId(node.try_into().map_err(|_| StoreError::Unreadable("node"))?),
                kind: kind.as_deref().and_then(kind_of),
                macs: macs.unsigned_abs(),
                receipts: receipts.unsigned_abs(),
            })
        };
        rows.into_iter().map(contributor).collect()
    }
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

//! What survives a restart: sessions, receipts and the transfers that credit them, in SQLite.
//!
//! A receipt is credited in one transaction, and acknowledged only after it is on disk (WAL,
//! `synchronous=FULL`): a `kill -9` at any moment loses no acknowledged credit, and a receipt
//! handed in again is recognised.

use std::path::Path;

use potluck_ledger::check::{Progress, Refusal, check};
use potluck_ledger::entry::{Account, Transfer};
use potluck_protocol::codec;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::server::{NodeKind, Session};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, Transaction};

use crate::models::Models;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

/// The database could not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It said so.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// It holds something that this version cannot read.
    #[error("the database holds an unreadable {0}")]
    Unreadable(&'static str),
}

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credit {
    /// It is credited, now or before; the stage's balance, multiply-accumulates.
    Credited(u64),
    /// It never will be.
    Refused(String),
}

/// One contributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributor {
    /// Who.
    pub node: NodeId,
    /// A page or a program, as it last said.
    pub kind: Option<NodeKind>,
    /// Multiply-accumulates credited.
    pub macs: u64,
    /// Receipts credited.
    pub receipts: u64,
}

/// Connections to the database file: SQLite has one writer, and readers are few.
const POOL: u32 = 4;

/// The schema; every statement can be run again.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    id BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS receipts (
    id BLOB PRIMARY KEY,
    session BLOB NOT NULL REFERENCES sessions (id),
    worker BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    to_position INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (session, worker, sequence)
) STRICT;
CREATE TABLE IF NOT EXISTS postings (
    receipt BLOB NOT NULL REFERENCES receipts (id),
    account TEXT NOT NULL,
    node BLOB NOT NULL,
    macs INTEGER NOT NULL,
    PRIMARY KEY (receipt, account, node)
) STRICT;
CREATE INDEX IF NOT EXISTS postings_by_account ON postings (account, node);
CREATE TABLE IF NOT EXISTS nodes (
    node BLOB PRIMARY KEY,
    kind TEXT NOT NULL
) STRICT;
";

impl Store {
    /// Opens, or makes, `potluck.sqlite` in the data folder.
    ///
    /// # Errors
    /// If the file cannot be opened or is not a database of ours.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join("potluck.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(std::time::Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(POOL).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// Closes the database; what was acknowledged is on disk already.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Keeps a session, so that its receipts can be judged even after a restart.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn save_session(&self, session: &Session) -> Result<(), StoreError> {
        sqlx::query("INSERT OR IGNORE INTO sessions (id, body) VALUES (?, ?)")
            .bind(&session.id.0[..])
            .bind(codec::encode(session))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps what kind of node a contributor is.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn save_kind(&self, node: NodeId, kind: NodeKind) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO nodes (node, kind) VALUES (?, ?) ON CONFLICT (node) DO UPDATE SET kind = excluded.kind",
        )
        .bind(&node.0[..])
        .bind(kind_name(kind))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Checks a receipt handed in by `from` and credits it, in one transaction.
    ///
    /// # Errors
    /// If the database fails; the receipt may be handed in again.
    pub async fn credit(
        &self,
        signed: &SignedReceipt,
        from: NodeId,
        models: &Models,
    ) -> Result<Credit, StoreError> {
        let receipt = &signed.receipt;
        let id = receipt.id();
        // IMMEDIATE: two receipts of one stage must not both see the same progress.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let known = sqlx::query("SELECT 1 FROM receipts WHERE id = ?")
            .bind(&id.0[..])
            .fetch_optional(&mut *transaction);
        if known.await?.is_some() {
            return Ok(Credit::Credited(balance(&mut transaction, receipt.stage).await?));
        }
        let Some(session) = session(&mut transaction, receipt.session).await? else {
            return Ok(Credit::Refused("this server opened no such session".to_owned()));
        };
        let Some(model) = models.get(session.model) else {
            return Ok(Credit::Refused(
                "this server does not serve that model any more".to_owned(),
            ));
        };
        let progress = progress(&mut transaction, receipt).await?;
        if let Err(refusal) =
            check(signed, from, &session, model.layers, model.max_positions, progress)
        {
            return Ok(Credit::Refused(explain(refusal)));
        }
        let macs = model.work.macs(receipt);
        sqlx::query("INSERT INTO receipts (id, session, stage, sequence, to_position, macs, body) VALUES (?, ?, ?, ?, ?, ?, ?)")
            .bind(&id.0[..])
            .bind(&receipt.session.0[..])
            .bind(&receipt.stage.0[..])
            .bind(receipt.sequence)
            .bind(receipt.to_position)
            .bind(signed_macs(macs))
            .bind(codec::encode(signed))
            .execute(&mut *transaction)
            .await?;
        let transfer = Transfer::for_work(receipt.stage, receipt.requester, macs);
        for (account, sign) in [(transfer.from, -1), (transfer.to, 1)] {
            let (name, node) = account_name(account);
            sqlx::query("INSERT INTO postings (receipt, account, node, macs) VALUES (?, ?, ?, ?)")
                .bind(&id.0[..])
                .bind(name)
                .bind(&node.0[..])
                .bind(sign * signed_macs(transfer.macs))
                .execute(&mut *transaction)
                .await?;
        }
        let balance = balance(&mut transaction, receipt.stage).await?;
        transaction.commit().await?;
        Ok(Credit::Credited(balance))
    }

    /// The contributors with the most credit.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn contributors(&self, limit: u32) -> Result<Vec<Contributor>, StoreError> {
        let rows = sqlx::query(
            "SELECT p.node AS node, SUM(p.macs) AS macs, COUNT(*) AS receipts, n.kind AS kind
             FROM postings p LEFT JOIN nodes n ON n.node = p.node
             WHERE p.account = 'earned' GROUP BY p.node ORDER BY macs DESC, p.node LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let node: Vec<u8> = row.try_get("node")?;
                let kind: Option<String> = row.try_get("kind")?;
                Ok(Contributor {
                    node: NodeId(node.try_into().map_err(|_| StoreError::Unreadable("node"))?),
                    kind: kind.as_deref().and_then(kind_of),
                    macs: row.try_get::<i64, _>("macs")?.unsigned_abs(),
                    receipts: row.try_get::<i64, _>("receipts")?.unsigned_abs(),
                })
            })
            .collect()
    }

    /// The sum of all postings: zero, or the books are broken.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sum_of_postings(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT COALESCE(SUM(macs), 0) AS total FROM postings")
            .fetch_one(&self.pool)
            .await?;
        Ok(row.try_get("total")?)
    }
}

async fn session(
    transaction: &mut Transaction<'_, Sqlite>,
    id: SessionId,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query("SELECT body FROM sessions WHERE id = ?")
        .bind(&id.0[..])
        .fetch_optional(&mut **transaction)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let body: Vec<u8> = row.try_get("body")?;
    codec::decode_session(&body).map(Some).map_err(|_| StoreError::Unreadable("session"))
}

async fn progress(
    transaction: &mut Transaction<'_, Sqlite>,
    receipt: &Receipt,
) -> Result<Progress, StoreError> {
    let row = sqlx::query(
        "SELECT sequence, to_position FROM receipts WHERE session = ? AND stage = ? ORDER BY sequence DESC LIMIT 1",
    )
    .bind(&receipt.session.0[..])
    .bind(&receipt.stage.0[..])
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else { return Ok(Progress::default()) };
    Ok(Progress {
        next_sequence: row.try_get::<u32, _>("sequence")? + 1,
        next_position: row.try_get("to_position")?,
    })
}

async fn balance(
    transaction: &mut Transaction<'_, Sqlite>,
    node: NodeId,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT COALESCE(SUM(macs), 0) AS macs FROM postings WHERE account = 'earned' AND node = ?",
    )
    .bind(&node.0[..])
    .fetch_one(&mut **transaction)
    .await?;
    Ok(row.try_get::<i64, _>("macs")?.unsigned_abs())
}

fn account_name(account: Account) -> (&'static str, NodeId) {
    match account {
        Account::Earned(node) => ("earned", node),
        Account::Used(node) => ("used", node),
    }
}

/// SQLite's integers have 63 bits: nine thousand million GMAC.
fn signed_macs(macs: u64) -> i64 {
    i64::try_from(macs).unwrap_or(i64::MAX)
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

fn explain(refusal: Refusal) -> String {
    format!("not credited: {refusal}")
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, LayerRange};
    use potluck_protocol::identity::Identity;
    use potluck_protocol::server::Stage;

    use super::*;
    use crate::models::tests::model;

    struct Case {
        stage: Identity,
        requester: Identity,
        session: Session,
        models: Models,
    }

    fn case() -> Case {
        let (stage, requester) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let model = model(6);
        let stages = vec![Stage { node: stage.node(), layers: LayerRange { first: 0, end: 6 } }];
        let session = Session {
            id: SessionId([7; 16]),
            model: model.id,
            requester: requester.node(),
            stages,
            epochs: vec![Epoch(1), Epoch(2)],
        };
        let mut models = Models::default();
        models.add(model);
        Case { stage, requester, session, models }
    }

    fn signed(case: &Case, sequence: u32, from_position: u32, to_position: u32) -> SignedReceipt {
        let receipt = Receipt {
            session: case.session.id,
            model: case.session.model,
            stage: case.stage.node(),
            requester: case.requester.node(),
            layers: LayerRange { first: 0, end: 6 },
            sequence,
            from_position,
            to_position,
            sampled: 0,
            output_hash: [0; 32],
        };
        SignedReceipt {
            stage_signature: receipt.sign(&case.stage),
            requester_signature: receipt.sign(&case.requester),
            receipt,
        }
    }

    #[tokio::test]
    async fn credit_survives_reopening_and_a_repeat_adds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let case = case();
        let stage = case.stage.node();
        let store = Store::open(folder.path()).await.unwrap();
        store.save_session(&case.session).await.unwrap();
        let first = signed(&case, 0, 0, 64);
        let Credit::Credited(balance) = store.credit(&first, stage, &case.models).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(balance, 6 * (64 + 64 * 65 / 2));
        store.close().await;

        let store = Store::open(folder.path()).await.unwrap();
        assert_eq!(
            store.credit(&first, stage, &case.models).await.unwrap(),
            Credit::Credited(balance)
        );
        assert_eq!(store.contributors(10).await.unwrap()[0].macs, balance);
        assert_eq!(store.sum_of_postings().await.unwrap(), 0);
        let second = signed(&case, 1, 64, 70);
        let Credit::Credited(more) = store.credit(&second, stage, &case.models).await.unwrap()
        else {
            panic!()
        };
        assert!(more > balance);
        assert_eq!(store.sum_of_postings().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn inflated_forged_and_stolen_receipts_are_refused_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let case = case();
        let store = Store::open(folder.path()).await.unwrap();
        store.save_session(&case.session).await.unwrap();
        let stage = case.stage.node();
        let inflated = signed(&case, 0, 0, 65);
        let skipped = signed(&case, 1, 64, 70);
        let mut forged = signed(&case, 0, 0, 10);
        forged.receipt.to_position = 64;
        let mut unknown = signed(&case, 0, 0, 10);
        unknown.receipt.session = SessionId([8; 16]);
        for bad in [inflated, skipped, forged, unknown] {
            assert!(
                matches!(
                    store.credit(&bad, stage, &case.models).await.unwrap(),
                    Credit::Refused(_)
                ),
                "{bad:?}"
            );
        }
        let stolen = signed(&case, 0, 0, 10);
        let thief = case.requester.node();
        assert!(matches!(
            store.credit(&stolen, thief, &case.models).await.unwrap(),
            Credit::Refused(_)
        ));
        assert_eq!(store.contributors(10).await.unwrap(), vec![]);
    }
}

//! Crediting a receipt: the checks of the ledger and the postings, in one transaction.

use potluck_ledger::check::{Progress, check};
use potluck_ledger::entry::{Account, Transfer};
use potluck_protocol::codec;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::server::Session;
use sqlx::{Sqlite, Transaction};

use super::{Store, StoreError};
use crate::models::Models;

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    /// It is credited, now or before; the stage's balance in multiply-accumulates.
    Credited(u64),
    /// It never will be, for this reason.
    Refused(String),
}

impl Store {
    /// Checks a receipt handed in by `from` and credits it, in one transaction.
    ///
    /// # Errors
    /// If the database fails; the receipt may be handed in again.
    pub(crate) async fn credit(
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
            return Ok(Credit::Refused(format!("not credited: {refusal}")));
        }
        let macs = model.work.macs(receipt);
        sqlx::query(
            "INSERT INTO receipts (id, session, stage, sequence, to_position, macs, body)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
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
}

async fn session(
    transaction: &mut Transaction<'_, Sqlite>,
    id: SessionId,
) -> Result<Option<Session>, StoreError> {
    let body: Option<Vec<u8>> = sqlx::query_scalar("SELECT body FROM sessions WHERE id = ?")
        .bind(&id.0[..])
        .fetch_optional(&mut **transaction)
        .await?;
    body.map(|body| codec::decode_session(&body))
        .transpose()
        .map_err(|_| StoreError::Unreadable("session"))
}

async fn progress(
    transaction: &mut Transaction<'_, Sqlite>,
    receipt: &Receipt,
) -> Result<Progress, StoreError> {
    let last: Option<(u32, u32)> = sqlx::query_as(
        "SELECT sequence, to_position FROM receipts WHERE session = ? AND stage = ?
         ORDER BY sequence DESC LIMIT 1",
    )
    .bind(&receipt.session.0[..])
    .bind(&receipt.stage.0[..])
    .fetch_optional(&mut **transaction)
    .await?;
    Ok(last.map_or_else(Progress::default, |(sequence, to_position)| Progress {
        next_sequence: sequence + 1,
        next_position: to_position,
    }))
}

/// What a node has earned, multiply-accumulates.
async fn balance(
    transaction: &mut Transaction<'_, Sqlite>,
    node: NodeId,
) -> Result<u64, StoreError> {
    let macs: i64 = sqlx::query_scalar(
        "SELECT COALESCE(SUM(macs), 0) FROM postings WHERE account = 'earned' AND node = ?",
    )
    .bind(&node.0[..])
    .fetch_one(&mut **transaction)
    .await?;
    Ok(macs.unsigned_abs())
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

//! Crediting receipts: each in its place, and the accounts, in one transaction.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use potluck_ledger::check::{Place, Progress, place};
use potluck_ledger::entry::{Account, Transfer};
use potluck_protocol::api::HardwareClass;
use potluck_protocol::codec;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::receipt::Receipt;
use potluck_protocol::room::RoomId;
use potluck_protocol::server::NodeKind;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Sqlite, Transaction};

use super::{Credit, Work, days, kind_name, people, room_name};

/// Credits `works` in their order, all or none. The verdicts, in the same order, are true once this
/// returns.
///
/// # Errors
/// If the database fails; nothing is credited then.
pub(super) async fn credit_all(
    connection: &mut SqliteConnection,
    works: &[Work],
) -> Result<Vec<Credit>, sqlx::Error> {
    let mut batch = Batch {
        // IMMEDIATE: what is read here must not change before it is written.
        transaction: connection.begin_with("BEGIN IMMEDIATE").await?,
        progress: BTreeMap::new(),
        accounts: BTreeMap::new(),
        earned: BTreeMap::new(),
    };
    let mut credits = Vec::with_capacity(works.len());
    for work in works {
        credits.push(batch.credit(work).await?);
    }
    batch.commit().await?;
    Ok(credits)
}

/// A transaction, and what it has read so far with what it is about to change.
struct Batch<'c> {
    transaction: Transaction<'c, Sqlite>,
    progress: BTreeMap<(SessionId, NodeId), Progress>,
    accounts: BTreeMap<NodeId, Balances>,
    /// What each node earns in this transaction, and with how many receipts.
    earned: BTreeMap<NodeId, (i64, i64)>,
}

/// A row of the accounts. SQLite's integers have 63 bits: nine thousand million GMAC.
#[derive(Clone, Copy, Debug, Default)]
struct Balances {
    /// What its node says it is; `None` leaves what is written.
    kind: Option<NodeKind>,
    /// The same of what computes there.
    class: Option<HardwareClass>,
    /// Where it was opened, if it is new.
    room: Option<RoomId>,
    earned_macs: i64,
    used_macs: i64,
    receipts: i64,
}

impl Batch<'_> {
    async fn credit(&mut self, work: &Work) -> Result<Credit, sqlx::Error> {
        let receipt = &work.signed.receipt;
        let progress = self.progress(receipt, work.continues).await?;
        match place(receipt, progress) {
            Ok(Place::Next) => {}
            Ok(Place::Gap) => return Ok(Credit::TryAgain),
            Ok(Place::Earlier) if self.is_known(receipt).await? => {
                let balance_macs = self.account(receipt.stage).await?.earned_macs.unsigned_abs();
                return Ok(Credit::Credited { balance_macs, newly: false });
            }
            Ok(Place::Earlier) => {
                let expected = progress.next_sequence;
                return Ok(Credit::Refused(format!(
                    "not credited: another receipt of this number is; the next is {expected}"
                )));
            }
            Err(refusal) => return Ok(Credit::Refused(format!("not credited: {refusal}"))),
        }
        self.file(work).await?;
        let after = Progress {
            next_sequence: receipt.sequence.saturating_add(1),
            next_position: receipt.to_position,
        };
        self.progress.insert((receipt.session, receipt.stage), after);
        let balance_macs =
            self.transfer(Transfer::for_work(receipt.stage, receipt.requester, work.macs)).await?;
        for node in [receipt.stage, receipt.requester] {
            self.account(node).await?.room = work.room;
        }
        let stage = self.account(receipt.stage).await?;
        stage.kind = work.kind.or(stage.kind);
        stage.class = work.class.or(stage.class);
        Ok(Credit::Credited { balance_macs, newly: true })
    }

    /// How far the credit of a receipt's stage has come in its session. One that `continues` an earlier
    /// session begins with the first receipt, wherever that does.
    async fn progress(
        &mut self,
        receipt: &Receipt,
        continues: bool,
    ) -> Result<Progress, sqlx::Error> {
        let place = match self.progress.entry((receipt.session, receipt.stage)) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(place) => place,
        };
        let last: Option<(u32, u32)> = sqlx::query_as(
            "SELECT sequence, to_position FROM receipts WHERE session = ? AND stage = ?
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(&receipt.session.0[..])
        .bind(&receipt.stage.0[..])
        .fetch_optional(&mut *self.transaction)
        .await?;
        // Not kept: another of its receipts may come before the first one.
        if last.is_none() && continues {
            return Ok(Progress::before(receipt, continues));
        }
        let progress = last.map_or_else(Progress::default, |(sequence, to_position)| Progress {
            next_sequence: sequence.saturating_add(1),
            next_position: to_position,
        });
        Ok(*place.insert(progress))
    }

    /// True if this very receipt is the one that was credited under its number.
    async fn is_known(&mut self, receipt: &Receipt) -> Result<bool, sqlx::Error> {
        let known = sqlx::query(
            "SELECT 1 FROM receipts WHERE session = ? AND stage = ? AND sequence = ? AND id = ?",
        )
        .bind(&receipt.session.0[..])
        .bind(&receipt.stage.0[..])
        .bind(receipt.sequence)
        .bind(&receipt.id().0[..])
        .fetch_optional(&mut *self.transaction);
        Ok(known.await?.is_some())
    }

    async fn file(&mut self, work: &Work) -> Result<(), sqlx::Error> {
        let receipt = &work.signed.receipt;
        sqlx::query(
            "INSERT INTO receipts
             (id, session, stage, requester, sequence, to_position, macs, body, credited_s)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, unixepoch())",
        )
        .bind(&receipt.id().0[..])
        .bind(&receipt.session.0[..])
        .bind(&receipt.stage.0[..])
        .bind(&receipt.requester.0[..])
        .bind(receipt.sequence)
        .bind(receipt.to_position)
        .bind(signed_macs(work.macs))
        .bind(codec::encode(&work.signed))
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Moves credit; the balance that went up.
    async fn transfer(&mut self, transfer: Transfer) -> Result<u64, sqlx::Error> {
        let macs = signed_macs(transfer.macs);
        let mut balance_macs = 0;
        for account in [transfer.from, transfer.to] {
            match account {
                Account::Used(node) => {
                    let used = self.account(node).await?;
                    used.used_macs = used.used_macs.saturating_add(macs);
                }
                Account::Earned(node) => {
                    let earned = self.account(node).await?;
                    earned.earned_macs = earned.earned_macs.saturating_add(macs);
                    earned.receipts += 1;
                    balance_macs = earned.earned_macs.unsigned_abs();
                    let (sum, receipts) = self.earned.entry(node).or_default();
                    (*sum, *receipts) = (sum.saturating_add(macs), *receipts + 1);
                }
            }
        }
        Ok(balance_macs)
    }

    async fn account(&mut self, node: NodeId) -> Result<&mut Balances, sqlx::Error> {
        let place = match self.accounts.entry(node) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(place) => place,
        };
        let row: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT earned_macs, used_macs, receipts FROM accounts WHERE node = ?")
                .bind(&node.0[..])
                .fetch_optional(&mut *self.transaction)
                .await?;
        let (earned_macs, used_macs, receipts) = row.unwrap_or_default();
        Ok(place.insert(Balances { earned_macs, used_macs, receipts, ..Balances::default() }))
    }

    async fn commit(mut self) -> Result<(), sqlx::Error> {
        for (node, balances) in &self.accounts {
            sqlx::query(
                "INSERT INTO accounts (node, kind, class, earned_macs, used_macs, receipts, room)
                 VALUES (?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (node) DO UPDATE SET kind = COALESCE(excluded.kind, kind),
                     class = COALESCE(excluded.class, class),
                     earned_macs = excluded.earned_macs, used_macs = excluded.used_macs,
                     receipts = excluded.receipts",
            )
            .bind(&node.0[..])
            .bind(balances.kind.map(kind_name))
            .bind(balances.class.map(HardwareClass::word))
            .bind(balances.earned_macs)
            .bind(balances.used_macs)
            .bind(balances.receipts)
            .bind(room_name(balances.room))
            .execute(&mut *self.transaction)
            .await?;
        }
        let has_teams = people::has_members(&mut self.transaction).await?;
        for (node, (macs, receipts)) in &self.earned {
            days::add(&mut self.transaction, *node, *macs, *receipts).await?;
            // In a room friends sign for friends: teams are compared with strangers'.
            let is_public = |account: &Balances| account.room.is_none();
            if has_teams && self.accounts.get(node).is_none_or(is_public) {
                people::credit_team(&mut self.transaction, *node, *macs).await?;
            }
        }
        self.transaction.commit().await
    }
}

fn signed_macs(macs: u64) -> i64 {
    i64::try_from(macs).unwrap_or(i64::MAX)
}

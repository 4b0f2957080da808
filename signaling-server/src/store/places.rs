//! Who earned most, class by class, for the boards; and the receipts of one node.

use potluck_protocol::api::{BOARD_PLACES, BoardOf, HardwareClass, Period};
use potluck_protocol::codec;
use potluck_protocol::id::NodeId;
use potluck_protocol::receipt::SignedReceipt;
use potluck_protocol::room::RoomId;

use super::{Store, StoreError, room_name};

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// What computed.
    pub(crate) class: HardwareClass,
    /// A node's key, or a team's id.
    pub(crate) key: Vec<u8>,
    /// The name that was chosen.
    pub(crate) called: Option<String>,
    /// Multiply-accumulates.
    pub(crate) macs: u64,
}

/// A place as it is read: class, key, chosen name, multiply-accumulates.
type Row = (Option<String>, Vec<u8>, Option<String>, i64);

/// A receipt as it was credited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filed {
    /// Rises with every receipt.
    pub(crate) number: u32,
    /// Seconds since 1970, if that was noted.
    pub(crate) credited_s: Option<u64>,
    /// Multiply-accumulates.
    pub(crate) macs: u64,
    /// The receipt.
    pub(crate) signed: SignedReceipt,
}

/// The first places of each class of what `$inner` selects, and their names.
macro_rules! places {
    ($inner:literal, $names:literal) => {
        concat!(
            "SELECT r.class, r.key, n.name, r.macs FROM (
                 SELECT key, class, macs, ROW_NUMBER() OVER
                     (PARTITION BY class ORDER BY macs DESC, key) AS place FROM (",
            $inner,
            ")) r LEFT JOIN ",
            $names,
            " = r.key WHERE r.place <= ?4 ORDER BY r.class, r.place"
        )
    };
}

const PEOPLE_EVER: &str = places!(
    "SELECT node AS key, COALESCE(class, kind) AS class, earned_macs AS macs FROM accounts
     WHERE room = ?1 AND earned_macs > 0",
    "people n ON n.node"
);
const PEOPLE: &str = places!(
    "SELECT d.node AS key, COALESCE(a.class, a.kind) AS class, SUM(d.earned_macs) AS macs
     FROM days d JOIN accounts a ON a.node = d.node
     WHERE a.room = ?1 AND d.day BETWEEN ?2 AND ?3 GROUP BY d.node HAVING macs > 0",
    "people n ON n.node"
);
const TEAMS: &str = places!(
    "SELECT team AS key, class, SUM(earned_macs) AS macs FROM team_days
     WHERE ?1 = x'' AND day BETWEEN ?2 AND ?3 GROUP BY team, class HAVING macs > 0",
    "teams n ON n.id"
);

impl Store {
    /// Which day it is now, days since 1970.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn today(&self) -> Result<u32, StoreError> {
        Ok(sqlx::query_scalar("SELECT unixepoch() / 86400").fetch_one(&self.readers).await?)
    }

    /// The first [`BOARD_PLACES`] of each class, most first. Teams are of the public swarm only.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn places(
        &self,
        room: Option<RoomId>,
        of: BoardOf,
        period: Period,
        today: u32,
    ) -> Result<Vec<Placed>, StoreError> {
        let days = period.days(today);
        let query = match (of, days) {
            (BoardOf::People, None) => PEOPLE_EVER,
            (BoardOf::People, Some(_)) => PEOPLE,
            (BoardOf::Teams, _) => TEAMS,
        };
        let [first, last] = days.unwrap_or([0, 0]);
        let rows: Vec<Row> = sqlx::query_as(query)
            .bind(room_name(room))
            .bind(first)
            .bind(last)
            .bind(BOARD_PLACES)
            .fetch_all(&self.readers)
            .await?;
        let placed = |(class, key, called, macs): Row| {
            let class =
                HardwareClass::ALL.into_iter().find(|it| class.as_deref() == Some(it.word()))?;
            Some(Placed { class, key, called, macs: macs.unsigned_abs() })
        };
        Ok(rows.into_iter().filter_map(placed).collect())
    }

    /// Receipts credited to a node in this room, the newest first, those before a number.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn receipts(
        &self,
        node: NodeId,
        room: Option<RoomId>,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<Filed>, StoreError> {
        let rows: Vec<(i64, Option<i64>, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT rowid, credited_s, macs, body FROM receipts
             WHERE substr(stage, 1, 8) = substr(?1, 1, 8) AND stage = ?1 AND rowid < ?2
             AND EXISTS (SELECT 1 FROM accounts WHERE node = ?1 AND room = ?3)
             ORDER BY rowid DESC LIMIT ?4",
        )
        .bind(&node.0[..])
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(room_name(room))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let filed = |(number, credited_s, macs, body): (i64, Option<i64>, i64, Vec<u8>)| {
            Ok(Filed {
                number: u32::try_from(number).map_err(|_| StoreError::Unreadable("number"))?,
                credited_s: credited_s.map(i64::unsigned_abs),
                macs: macs.unsigned_abs(),
                signed: codec::decode_receipt(&body)
                    .map_err(|_| StoreError::Unreadable("receipt"))?,
            })
        };
        rows.into_iter().map(filed).collect()
    }
}

//! Receipts of one node, and boards: who earned most, among those with like hardware.

use serde::{Deserialize, Serialize};

use super::{InclusiveLayers, digits};
use crate::id::{ModelId, NodeId};
use crate::server::NodeKind;

/// Receipts credited to one node, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptsPage {
    /// At most [`MAX_LISTED_RECEIPTS`].
    pub receipts: Vec<ReceiptView>,
    /// What the next page comes before; `None` if this is the last one.
    pub next: Option<u32>,
}

/// A receipt, with all that is needed to check it: `stage_signature` and `requester_signature` are
/// Ed25519 by the two keys over the bytes of `potluck receipt v1`, a zero, and `signed_bytes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptView {
    /// BLAKE3 of `signed_bytes`, 64 hexadecimal digits.
    pub id: String,
    /// When it was credited, Unix time, seconds; `None` of those from before that was noted.
    pub credited_at_s: Option<u64>,
    /// The model's manifest.
    pub model: ModelId,
    /// Its name, if the server has it still.
    pub model_name: Option<String>,
    /// The layers that were computed.
    pub layers: Option<InclusiveLayers>,
    /// The first position, from 0.
    pub from_position: u32,
    /// One past the last.
    pub to_position: u32,
    /// What it was worth, multiply-accumulates.
    #[serde(with = "digits")]
    pub credit_macs: u64,
    /// Who computed, and signed it.
    pub stage: NodeId,
    /// Who asked, and signed it.
    pub requester: NodeId,
    /// What both signed, hexadecimal.
    pub signed_bytes: String,
    /// 128 hexadecimal digits.
    pub stage_signature: String,
    /// 128 hexadecimal digits.
    pub requester_signature: String,
}

/// Receipts in an answer at most: about 80 KB.
pub const MAX_LISTED_RECEIPTS: u32 = 100;
/// Rows of a board at most.
pub const BOARD_ROWS: usize = 50;
/// Places that are counted on a board; behind them, a place is not told.
pub const BOARD_PLACES: u32 = 10_000;

/// What computes, so that like is beside like: as the node said when it registered last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum HardwareClass {
    /// A browser whose volunteer agreed to lend a phone.
    Phone,
    /// A browser that computes on its processor.
    #[default]
    Browser,
    /// A browser that computes on its graphics processor.
    Graphics,
    /// `potluck-node`, on a computer or a server.
    Native,
}

/// Whom a board is of.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum BoardOf {
    /// Nodes.
    #[default]
    People,
    /// Teams.
    Teams,
}

/// When what a board shows was earned. Weeks are ISO's, from Monday, UTC.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// In this week.
    #[default]
    Week,
    /// In the week before.
    Before,
    /// Ever.
    All,
}

/// Who earned most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardView {
    /// First and last day of the week, days since 1970; `None` of all time.
    pub days: Option<[u32; 2]>,
    /// Most first, at most [`BOARD_ROWS`].
    pub rows: Vec<PlaceView>,
    /// Who was asked for, if they are among the first [`BOARD_PLACES`].
    pub own: Option<PlaceView>,
}

/// A place on a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    /// From 1.
    pub place: u32,
    /// A node's key, or a team's [tag](crate::id::TeamId::tag).
    pub key: String,
    /// The name that was chosen, if one was.
    pub called: Option<String>,
    /// Multiply-accumulates.
    #[serde(with = "digits")]
    pub credit_macs: u64,
}

impl HardwareClass {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Phone, Self::Browser, Self::Graphics, Self::Native];

    /// Of what a node registers with, and what its volunteer agreed to.
    #[must_use]
    pub fn of(kind: NodeKind, backend: &str, on_phone: bool) -> Self {
        match kind {
            NodeKind::Native => Self::Native,
            NodeKind::Browser if on_phone => Self::Phone,
            NodeKind::Browser if backend.contains("gpu") => Self::Graphics,
            NodeKind::Browser => Self::Browser,
        }
    }

    /// As it is written in JSON, in addresses, and in the database.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Browser => "browser",
            Self::Graphics => "graphics",
            Self::Native => "native",
        }
    }
}

impl BoardOf {
    /// As it is written in JSON and in addresses.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Teams => "teams",
        }
    }
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Week, Self::Before, Self::All];

    /// As it is written in JSON and in addresses.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Week => "week",
            Self::Before => "before",
            Self::All => "all",
        }
    }

    /// The first and the last day of the week that is meant on the day `today`, days since 1970;
    /// `None` of all time.
    #[must_use]
    pub const fn days(self, today: u32) -> Option<[u32; 2]> {
        // 1 January 1970 was a Thursday.
        let monday = today.saturating_sub((today + 3) % 7);
        match self {
            Self::Week => Some([monday, monday + 6]),
            Self::Before => Some([monday.saturating_sub(7), monday.saturating_sub(1)]),
            Self::All => None,
        }
    }
}

//! The JSON of the server's HTTP interface: counters and names only, never a prompt or an answer.
//!
//! | resource | answer |
//! |---|---|
//! | `GET /api/v1/swarm` | [`SwarmView`] |
//! | `GET /api/v1/swarm/nodes?after=KEY&limit=N` | [`NodesPage`], at most [`MAX_LISTED_NODES`] nodes |
//! | `GET /api/v1/tally?limit=N` | a list of [`TallyRow`], most credit first |
//! | `GET /api/v1/contribution/KEY` | [`ContributionView`], at most [`CONTRIBUTION_DAYS`] days |
//! | `GET /api/v1/receipts/KEY?before=NEXT&limit=N` | [`ReceiptsPage`], newest first |
//! | `GET /api/v1/boards?of=OF&class=CLASS&period=PERIOD&own=KEY` | [`BoardView`], at most [`BOARD_ROWS`] rows |
//! | `POST /api/v1/people`, `GET /api/v1/team` | as [`people`](crate::people) has it |
//! | `GET /api/v1/models` | a list of [`ModelView`], in the server's order |
//! | `GET /api/v1/events` | server-sent events, below |
//! | any error | [`ErrorBody`] |
//!
//! Every answer but an error has an `ETag`. The events:
//!
//! | event | data | when |
//! |---|---|---|
//! | [`BUILD_EVENT`] | the id of the page that the server has, plain text | first, and when the page is another |
//! | [`SWARM_EVENT`] | [`SwarmView`] in one line | first, and when it changed, at most once a second |
//! | [`TALLY_EVENT`] | the tally's first rows in one line | the same |
//!
//! The server writes these types; the page and the tests read them. They are the only ones of this
//! crate that hold fractions, which are for people: nothing is computed from them.

mod boards;

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{LayerRange, ModelId, NodeId};
use crate::server::NodeKind;

pub use boards::{
    BOARD_PLACES, BOARD_ROWS, BoardOf, BoardView, HardwareClass, MAX_LISTED_RECEIPTS, Period,
    PlaceView, ReceiptView, ReceiptsPage,
};

/// Request header with a [`RoomPass`](crate::room::RoomPass): what is asked is then about that room
/// instead of the public swarm. In a header and not in the address, as addresses are logged.
pub const ROOM_HEADER: &str = "x-potluck-room";
/// Event whose data is the page's build, as its `<meta name="build" content="…">` says it.
pub const BUILD_EVENT: &str = "build";
/// Event whose data is a [`SwarmView`].
pub const SWARM_EVENT: &str = "swarm";
/// Event whose data is a list of [`TallyRow`].
pub const TALLY_EVENT: &str = "tally";
/// Nodes told one by one in an answer: about 30 KB. Of more than these a [`SwarmView`] tells sums.
pub const MAX_LISTED_NODES: usize = 100;

/// Days of a [`ContributionView`] at most: what a plot shows on a telephone, a point wide each.
pub const CONTRIBUTION_DAYS: u32 = 90;

/// Everyone who lends, and what the swarm does, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmView {
    /// The volunteers' nodes, in the order of their keys, if they are at most
    /// [`MAX_LISTED_NODES`]; else none, and [`NodesPage`]s have them.
    pub nodes: Vec<NodeView>,
    /// The server's models and how often each of their layers can be computed.
    pub models: Vec<ModelCopies>,
    /// Nodes with a connection to the server, volunteers or not.
    pub connected: u32,
    /// Answers being computed.
    pub sessions: u32,
    /// Questions that wait for a route.
    pub waiting: u32,
    /// Of all volunteers' nodes, listed or not.
    pub totals: SwarmTotals,
}

/// Sums over the volunteers' nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmTotals {
    /// How many they are.
    pub nodes: u32,
    /// Those in browsers.
    pub browsers: u32,
    /// Those that are programs of their own.
    pub natives: u32,
    /// Those that are [`NodeState::Serving`].
    pub serving: u32,
    /// Those that are [`NodeState::Fetching`].
    pub fetching: u32,
    /// Those that are [`NodeState::Waiting`] or [`NodeState::Paused`].
    pub waiting: u32,
    /// Memory that they offer, bytes.
    pub memory_bytes: u64,
    /// Rows that they computed since they joined.
    pub rows: u64,
    /// Rows that they computed lately, all together, a second; rounded to a tenth.
    pub rows_per_s: f64,
}

/// Some of the volunteers' nodes, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodesPage {
    /// Those behind the key that was asked for.
    pub nodes: Vec<NodeView>,
    /// What the next page comes after; `None` if this is the last one.
    pub next: Option<NodeId>,
}

/// One volunteer's node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its key, 64 hexadecimal digits.
    pub id: NodeId,
    /// [`NodeId::name`], for those who have only the JSON.
    pub name: String,
    /// The name that its volunteer chose, if they chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// `"browser"` or `"native"`.
    pub kind: NodeKind,
    /// What computes there, as the node says: `avx2`, `simd128`, `webgpu`, …
    pub backend: String,
    /// Name of the model it was given layers of.
    pub model: Option<String>,
    /// The layers it serves or fetches.
    pub layers: Option<InclusiveLayers>,
    /// How far it is with them.
    pub state: NodeState,
    /// Rows computed since it joined.
    pub tokens: u64,
    /// Median time for one row through its layers, milliseconds; `None` before its first row.
    pub ms_per_token_p50: Option<f64>,
    /// Memory that its volunteer offers, bytes.
    pub memory_bytes: u64,
    /// Sessions that it is a stage of.
    pub sessions: u32,
    /// When it connected, Unix time, seconds: a moment, not a duration, so that nothing changes
    /// where nothing happens.
    pub connected_at_s: u64,
}

/// How far a volunteer's node is with its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Its layers are loaded, and routes may lead through it.
    Serving,
    /// It was given layers and fetches their weights.
    Fetching,
    /// It was given no layers yet.
    Waiting,
    /// Its volunteer needs the machine: no route leads through it, and it keeps its layers for a
    /// while.
    Paused,
}

/// A range of layers as people count: `[first, last]`, both of them in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u32; 2]", into = "[u32; 2]")]
pub struct InclusiveLayers(pub LayerRange);

/// A pair of layers that is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layers {first} to {last} are no range")]
pub struct NoRange {
    /// The first of the pair.
    pub first: u32,
    /// The second, which is below the first or has no successor.
    pub last: u32,
}

/// How often each layer of a model can be computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelCopies {
    /// The model's name.
    pub name: String,
    /// How many layers it has.
    pub layers: u32,
    /// For each layer, the nodes that serve it.
    pub copies: Vec<u32>,
}

/// One line of the tally: a node that was ever credited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TallyRow {
    /// Its key, 64 hexadecimal digits.
    pub node: NodeId,
    /// [`NodeId::name`], for those who have only the JSON.
    pub name: String,
    /// The name that its volunteer chose, if they chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// What it registered as last; `None` if it never registered since the server keeps it.
    pub kind: Option<NodeKind>,
    /// Credit in thousand million multiply-accumulates, rounded.
    pub credit_gmac: f64,
    /// The same exactly, in multiply-accumulates: decimal digits in a string, because JavaScript
    /// rounds numbers beyond 2^53.
    #[serde(with = "digits")]
    pub credit_macs: u64,
    /// Receipts credited.
    pub receipts: u64,
}

/// What one node was credited with, day by day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContributionView {
    /// Its key, 64 hexadecimal digits.
    pub node: NodeId,
    /// Which day it is for the server: days since 1970, UTC.
    pub today: u32,
    /// The last [`CONTRIBUTION_DAYS`] days in order, those without credit left out.
    pub days: Vec<DayView>,
}

/// What a node was credited with on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayView {
    /// Days since 1970, UTC.
    pub day: u32,
    /// Multiply-accumulates: decimal digits in a string, because JavaScript rounds numbers beyond 2^53.
    #[serde(with = "digits")]
    pub credit_macs: u64,
    /// Receipts credited.
    pub receipts: u64,
}

/// A model that this swarm can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    /// BLAKE3 of its manifest, 64 hexadecimal digits.
    pub id: ModelId,
    /// Its name.
    pub name: String,
    /// How many layers it has.
    pub layers: u32,
    /// Size of all its blobs, bytes.
    pub bytes: u64,
    /// Of these, what an asker takes that computes one layer at each end itself, with the embedding and
    /// the head.
    pub ends_bytes: u64,
    /// Positions that a session may have.
    pub max_positions: u32,
    /// Its licence, in SPDX words.
    pub license: String,
}

/// Why a request got no answer; the status says what kind of failure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A sentence for people.
    pub error: String,
}

impl SwarmView {
    /// The nodes that routes may lead through.
    pub fn serving(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.state == NodeState::Serving && node.layers.is_some())
    }

    /// True if the serving nodes together hold layers `0..layers`.
    #[must_use]
    pub fn covers(&self, layers: u32) -> bool {
        (0..layers).all(|layer| {
            self.serving().filter_map(NodeView::range).any(|range| range.indices().contains(&layer))
        })
    }
}

impl NodeView {
    /// The layers it serves or fetches.
    #[must_use]
    pub fn range(&self) -> Option<LayerRange> {
        self.layers.map(|layers| layers.0)
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Fetching => "fetching",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
        })
    }
}

impl TryFrom<[u32; 2]> for InclusiveLayers {
    type Error = NoRange;

    fn try_from([first, last]: [u32; 2]) -> Result<Self, NoRange> {
        last.checked_add(1)
            .and_then(|end| LayerRange::new(first, end))
            .map(Self)
            .ok_or(NoRange { first, last })
    }
}

impl From<InclusiveLayers> for [u32; 2] {
    fn from(InclusiveLayers(range): InclusiveLayers) -> Self {
        [range.first, range.end.saturating_sub(1)]
    }
}

/// Whole numbers as decimal digits in a string.
pub(crate) mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference; not `expect`, as 64 bits are not small in wasm"
    )]
    pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

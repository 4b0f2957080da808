//! The JSON of the server's HTTP interface: counters and names only, never a prompt or an answer.
//!
//! | resource | answer |
//! |---|---|
//! | `GET /api/v1/swarm` | [`SwarmView`] |
//! | `GET /api/v1/tally` | a list of [`TallyRow`], most credit first |
//! | `GET /api/v1/models` | a list of [`ModelView`], in the server's order |
//! | any error | [`ErrorBody`] |
//!
//! The server writes these types; the page and the tests read them. They are the only ones of this
//! crate that hold fractions, which are for people: nothing is computed from them.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{LayerRange, ModelId, NodeId};
use crate::server::NodeKind;

/// Everyone who lends, and what the swarm does, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SwarmView {
    /// The volunteers' nodes, in the order of their keys.
    pub nodes: Vec<NodeView>,
    /// The server's models and how often each of their layers can be computed.
    pub models: Vec<ModelCopies>,
    /// Nodes with a connection to the server, volunteers or not.
    pub connected: u32,
    /// Answers being computed.
    pub sessions: u32,
    /// Questions that wait for a route.
    pub waiting: u32,
}

/// One volunteer's node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its key, 64 hexadecimal digits.
    pub id: NodeId,
    /// [`NodeId::name`], for those who have only the JSON.
    pub name: String,
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
    /// Time since it connected, seconds.
    pub connected_s: u64,
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
mod digits {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference; not `expect`, as 64 bits are not small in wasm"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    fn node() -> NodeView {
        NodeView {
            id: NodeId([7; 32]),
            name: NodeId([7; 32]).name(),
            kind: NodeKind::Native,
            backend: "avx2".to_owned(),
            model: Some("tiny".to_owned()),
            layers: InclusiveLayers::try_from([0, 2]).ok(),
            state: NodeState::Serving,
            tokens: 7,
            ms_per_token_p50: Some(1.5),
            memory_bytes: 1 << 30,
            sessions: 1,
            connected_s: 3,
        }
    }

    fn fetching(first: u32, last: u32) -> NodeView {
        let layers = InclusiveLayers::try_from([first, last]).ok();
        NodeView { state: NodeState::Fetching, layers, ..node() }
    }

    /// Written as `json`, and read back from it.
    fn assert_is<T>(value: &T, json: Value)
    where
        T: PartialEq + fmt::Debug + Serialize + serde::de::DeserializeOwned,
    {
        assert_eq!(to_value(value).unwrap(), json);
        assert_eq!(&from_value::<T>(json).unwrap(), value);
    }

    #[test]
    fn the_swarm_is_this_json() {
        let idle = NodeView {
            id: NodeId([0xab; 32]),
            name: "Quick Fig".to_owned(),
            kind: NodeKind::Browser,
            backend: "webgpu".to_owned(),
            model: None,
            layers: None,
            state: NodeState::Waiting,
            tokens: 0,
            ms_per_token_p50: None,
            memory_bytes: 0,
            sessions: 0,
            connected_s: 0,
        };
        let copies = ModelCopies { name: "tiny".to_owned(), layers: 4, copies: vec![1, 1, 1, 0] };
        let view = SwarmView {
            nodes: vec![node(), idle],
            models: vec![copies],
            connected: 3,
            sessions: 1,
            waiting: 2,
        };
        assert_is(
            &view,
            json!({
                "nodes": [
                    {
                        "id": "0707070707070707070707070707070707070707070707070707070707070707",
                        "name": "Copper Carrot",
                        "kind": "native",
                        "backend": "avx2",
                        "model": "tiny",
                        "layers": [0, 2],
                        "state": "serving",
                        "tokens": 7,
                        "ms_per_token_p50": 1.5,
                        "memory_bytes": 1_073_741_824,
                        "sessions": 1,
                        "connected_s": 3
                    },
                    {
                        "id": "abababababababababababababababababababababababababababababababab",
                        "name": "Quick Fig",
                        "kind": "browser",
                        "backend": "webgpu",
                        "model": null,
                        "layers": null,
                        "state": "waiting",
                        "tokens": 0,
                        "ms_per_token_p50": null,
                        "memory_bytes": 0,
                        "sessions": 0,
                        "connected_s": 0
                    }
                ],
                "models": [{ "name": "tiny", "layers": 4, "copies": [1, 1, 1, 0] }],
                "connected": 3,
                "sessions": 1,
                "waiting": 2
            }),
        );
    }

    #[test]
    fn the_tally_is_this_json() {
        let row = TallyRow {
            node: NodeId([7; 32]),
            name: "Copper Carrot".to_owned(),
            kind: None,
            credit_gmac: 0.042,
            credit_macs: u64::MAX,
            receipts: 3,
        };
        assert_is(
            &row,
            json!({
                "node": "0707070707070707070707070707070707070707070707070707070707070707",
                "name": "Copper Carrot",
                "kind": null,
                "credit_gmac": 0.042,
                "credit_macs": "18446744073709551615",
                "receipts": 3
            }),
        );
    }

    #[test]
    fn models_and_errors_are_this_json() {
        let model = ModelView {
            id: ModelId([0x11; 32]),
            name: "tiny".to_owned(),
            layers: 6,
            bytes: 1_234,
            max_positions: 512,
            license: "MIT".to_owned(),
        };
        assert_is(
            &model,
            json!({
                "id": "1111111111111111111111111111111111111111111111111111111111111111",
                "name": "tiny",
                "layers": 6,
                "bytes": 1_234,
                "max_positions": 512,
                "license": "MIT"
            }),
        );
        assert_is(
            &ErrorBody { error: "no such blob".to_owned() },
            json!({ "error": "no such blob" }),
        );
    }

    #[test]
    fn every_state_is_the_word_that_is_shown() {
        for state in [NodeState::Serving, NodeState::Fetching, NodeState::Waiting] {
            assert_is(&state, json!(state.to_string()));
        }
    }

    #[test]
    fn impossible_layers_and_credit_are_refused() {
        assert!(from_value::<InclusiveLayers>(json!([3, 2])).is_err());
        assert!(from_value::<InclusiveLayers>(json!([3, u32::MAX])).is_err());
        assert!(from_value::<InclusiveLayers>(json!([3])).is_err());
        let mut row = json!({
            "node": "07".repeat(32), "name": "", "kind": "browser", "credit_gmac": 0.0,
            "credit_macs": "42", "receipts": 0
        });
        assert_eq!(from_value::<TallyRow>(row.clone()).unwrap().credit_macs, 42);
        row["credit_macs"] = json!("4.2");
        assert!(from_value::<TallyRow>(row).is_err());
    }

    #[test]
    fn only_serving_nodes_cover_layers() {
        let mut view = SwarmView { nodes: vec![node(), fetching(3, 5)], ..SwarmView::default() };
        assert!(view.covers(3));
        assert!(!view.covers(6));
        view.nodes[1].state = NodeState::Serving;
        assert!(view.covers(6));
    }
}

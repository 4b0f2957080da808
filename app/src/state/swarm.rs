//! What the server tells about the swarm, as far as the page shows it. Counters and names only: no
//! prompt and no text is ever in it.

use std::collections::BTreeSet;

use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::NodeKind;
use serde::Deserialize;

/// The last answer to a question that is asked again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled<T> {
    /// The last good answer; kept while the server does not answer.
    pub value: Option<T>,
    /// Why the latest try failed; `None` if it did not.
    pub failure: Option<String>,
}

impl<T> Default for Polled<T> {
    fn default() -> Self {
        Self { value: None, failure: None }
    }
}

impl<T> Polled<T> {
    /// Takes in an answer; a failure keeps what was known.
    pub fn take(&mut self, answer: Result<T, String>) {
        match answer {
            Ok(value) => *self = Self { value: Some(value), failure: None },
            Err(failure) => self.failure = Some(failure),
        }
    }
}

/// Everyone who is connected.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct SwarmView {
    /// The nodes, in the server's order.
    pub nodes: Vec<NodeView>,
    /// Nodes that computed something since the answer before this one.
    #[serde(skip)]
    pub working: BTreeSet<NodeId>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NodeView {
    /// Its key. Its name is made from this ([`NodeId::name`]), so that neither it nor the server
    /// can choose one.
    pub id: NodeId,
    /// A page or a program.
    pub kind: NodeKind,
    /// What computes there; empty while unknown.
    #[serde(default)]
    pub backend: Option<String>,
    /// First and last layer it holds or fetches, both included.
    #[serde(default)]
    pub layers: Option<(u32, u32)>,
    /// Where it stands, in one word.
    #[serde(default)]
    pub state: String,
    /// Rows computed since it joined.
    #[serde(default)]
    pub tokens: u64,
    /// Median time for one row, milliseconds.
    #[serde(default)]
    pub ms_per_token_p50: Option<f64>,
}

/// One line of the tally.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TallyRow {
    /// Who was credited.
    pub node: NodeId,
    /// A page or a program.
    #[serde(default)]
    pub kind: Option<NodeKind>,
    /// Multiply-accumulates credited, in decimal digits: JavaScript numbers would round it.
    pub credit_macs: String,
    /// Receipts credited.
    pub receipts: u64,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// How many layers it has.
    pub layers: u32,
    /// Bytes of weights in all.
    #[serde(default)]
    pub bytes: u64,
    /// Its licence, in SPDX words.
    #[serde(default)]
    pub license: Option<String>,
}

impl NodeView {
    /// Its layers as a range; `None` if it has none or the server sent them the wrong way round.
    #[must_use]
    pub fn range(&self) -> Option<LayerRange> {
        let (first, last) = self.layers?;
        LayerRange::new(first, last.checked_add(1)?)
    }
}

impl TallyRow {
    /// Multiply-accumulates credited; 0 if the digits cannot be read.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.credit_macs.parse().unwrap_or(0)
    }
}

impl SwarmView {
    /// The same with [`SwarmView::working`] filled in from the answer `before` it.
    #[must_use]
    pub fn after(mut self, before: Option<&Self>) -> Self {
        let earlier =
            |id: NodeId| before?.nodes.iter().find(|node| node.id == id).map(|node| node.tokens);
        self.working = self
            .nodes
            .iter()
            .filter(|node| earlier(node.id).is_some_and(|tokens| node.tokens > tokens))
            .map(|node| node.id)
            .collect();
        self
    }

    /// Layers of a model with `layers` layers that nobody holds, in order, as long ranges as
    /// possible.
    #[must_use]
    pub fn gaps(&self, layers: u32) -> Vec<LayerRange> {
        let mut held: Vec<LayerRange> = self.nodes.iter().filter_map(NodeView::range).collect();
        held.sort_unstable();
        let mut gaps = Vec::new();
        let mut next = 0;
        for range in held {
            gaps.extend(LayerRange::new(next, range.first.min(layers)));
            next = next.max(range.end);
        }
        gaps.extend(LayerRange::new(next, layers));
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8, layers: Option<(u32, u32)>, tokens: u64) -> NodeView {
        let kind = NodeKind::Browser;
        let state = "serving".to_owned();
        NodeView {
            id: NodeId([byte; 32]),
            kind,
            backend: None,
            layers,
            state,
            tokens,
            ms_per_token_p50: None,
        }
    }

    fn swarm(nodes: Vec<NodeView>) -> SwarmView {
        SwarmView { nodes, working: BTreeSet::new() }
    }

    #[test]
    fn gaps_are_what_nobody_holds() {
        let range = |first, end| LayerRange { first, end };
        assert_eq!(swarm(vec![]).gaps(6), [range(0, 6)]);
        assert_eq!(swarm(vec![node(1, Some((0, 5)), 0)]).gaps(6), []);
        let some = swarm(vec![
            node(1, Some((4, 4)), 0),
            node(2, Some((1, 2)), 0),
            node(3, Some((1, 1)), 0),
        ]);
        assert_eq!(some.gaps(6), [range(0, 1), range(3, 4), range(5, 6)]);
        assert_eq!(some.gaps(0), []);
        assert_eq!(swarm(vec![node(1, Some((9, 12)), 0)]).gaps(6), [range(0, 6)]);
    }

    #[test]
    fn only_a_rising_count_is_work() {
        let before = swarm(vec![node(1, None, 5), node(2, None, 5)]);
        let now =
            swarm(vec![node(1, None, 6), node(2, None, 5), node(3, None, 9)]).after(Some(&before));
        assert_eq!(now.working.into_iter().collect::<Vec<_>>(), [NodeId([1; 32])]);
    }

    #[test]
    fn impossible_layers_are_none() {
        assert_eq!(node(1, Some((3, 2)), 0).range(), None);
        assert_eq!(node(1, Some((3, u32::MAX)), 0).range(), None);
    }

    #[test]
    fn the_servers_answers_are_read() {
        let id = "07".repeat(32);
        let text = format!(
            r#"{{"nodes":[{{"id":"{id}","name":"x","kind":"native","backend":"avx2","model":"m","layers":[0,2],
            "state":"serving","tokens":7,"ms_per_token_p50":1.5,"connected_s":3}},
            {{"id":"{id}","kind":"browser","backend":null,"layers":null,"state":"asking","tokens":0,"ms_per_token_p50":null}}],
            "sessions":1}}"#
        );
        let view: SwarmView = serde_json::from_str(&text).unwrap();
        assert_eq!(view.nodes[0].range(), Some(LayerRange { first: 0, end: 3 }));
        assert_eq!(view.nodes[1].range(), None);
        let row = format!(
            r#"{{"node":"{id}","name":"x","kind":"browser","credit_gmac":0.042,"credit_macs":"42000000","receipts":3}}"#
        );
        assert_eq!(serde_json::from_str::<TallyRow>(&row).unwrap().macs(), 42_000_000);
    }
}

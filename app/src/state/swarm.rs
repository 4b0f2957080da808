//! What the page keeps of the server's answers about the swarm. Their types are the protocol's;
//! here is what the page works out from them.

use std::collections::BTreeSet;

use potluck_protocol::api::{ModelCopies, NodeView, SwarmTotals, SwarmView};
use potluck_protocol::id::{LayerRange, NodeId};

/// What the server said last of something that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard<T> {
    /// What it said; kept while it says nothing more.
    pub value: Option<T>,
    /// Why this may be out of date; `None` if it is not.
    pub failure: Option<String>,
}

impl<T> Default for Heard<T> {
    fn default() -> Self {
        Self { value: None, failure: None }
    }
}

impl<T> Heard<T> {
    /// Handles an answer; a failure keeps what was known.
    pub fn handle(&mut self, answer: Result<T, String>) {
        match answer {
            Ok(value) => *self = Self { value: Some(value), failure: None },
            Err(failure) => self.failure = Some(failure),
        }
    }
}

/// Everyone who is connected, as of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Swarm {
    /// The nodes, in the server's order; none if they are too many to list.
    pub nodes: Vec<NodeView>,
    /// Nodes that computed something since the answer before this one.
    pub working: BTreeSet<NodeId>,
    /// How often each layer of each model can be computed.
    pub copies: Vec<ModelCopies>,
    /// Of all nodes, listed or not.
    pub totals: SwarmTotals,
    /// Those with a connection, whether they lend or not.
    pub connected: u32,
    /// Answers being computed.
    pub sessions: u32,
    /// Questions that wait for a route.
    pub waiting: u32,
    /// Whom this tab is connected to, as the page itself knows.
    pub ties: Vec<Tie>,
}

impl Swarm {
    /// An answer, compared with the one `before` it.
    #[must_use]
    pub fn new(view: SwarmView, before: Option<&Self>) -> Self {
        let earlier =
            |id: NodeId| before?.nodes.iter().find(|node| node.id == id).map(|node| node.tokens);
        let has_worked =
            |node: &&NodeView| earlier(node.id).is_some_and(|tokens| node.tokens > tokens);
        let working = view.nodes.iter().filter(has_worked).map(|node| node.id).collect();
        let SwarmView { nodes, models, connected, sessions, waiting, totals } = view;
        let ties = Vec::new();
        Self { nodes, working, copies: models, totals, connected, sessions, waiting, ties }
    }

    /// True if there are too many to list: only sums are known.
    #[must_use]
    pub fn is_summed(&self) -> bool {
        self.totals.nodes as usize > self.nodes.len()
    }

    /// Neighbouring layers of a model of which there are equally many copies, in order.
    #[must_use]
    pub fn copies_of(&self, model: &str) -> Vec<(LayerRange, u32)> {
        let of = self.copies.iter().find(|one| one.name == model);
        let mut runs: Vec<(LayerRange, u32)> = Vec::new();
        for (copies, layer) in of.into_iter().flat_map(|one| &one.copies).zip(0_u32..) {
            match runs.last_mut() {
                Some((range, same)) if same == copies => range.end = layer + 1,
                _ => runs.extend(LayerRange::new(layer, layer + 1).map(|range| (range, *copies))),
            }
        }
        runs
    }

    /// Layers of a model with `layers` layers that nobody serves or fetches, in order, as long
    /// ranges as possible.
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

/// A connection of this tab's to another node. Of those between others nothing is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The other node.
    pub node: NodeId,
    /// Its bytes go through a relay (TURN).
    pub is_relayed: bool,
}

/// A swarm for tests: nodes 1, 2, … with these layers, first and last.
#[cfg(test)]
pub(crate) fn swarm_of(layers: &[Option<[u32; 2]>]) -> Swarm {
    use potluck_protocol::api::{InclusiveLayers, NodeState};
    use potluck_protocol::server::NodeKind;

    let node = |(layers, byte): (&Option<[u32; 2]>, u8)| {
        let id = NodeId([byte; 32]);
        NodeView {
            id,
            name: id.name(),
            called: None,
            kind: NodeKind::Browser,
            backend: String::new(),
            model: None,
            layers: layers.and_then(|layers| InclusiveLayers::try_from(layers).ok()),
            state: NodeState::Serving,
            tokens: 0,
            ms_per_token_p50: None,
            memory_bytes: 0,
            sessions: 0,
            connected_at_s: 0,
        }
    };
    let nodes: Vec<NodeView> = layers.iter().zip(1..).map(node).collect();
    let totals = SwarmTotals {
        nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        ..SwarmTotals::default()
    };
    Swarm { nodes, totals, ..Swarm::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_nobody_holds() {
        let range = |first, end| LayerRange { first, end };
        assert_eq!(swarm_of(&[]).gaps(6), [range(0, 6)]);
        assert_eq!(swarm_of(&[Some([0, 5])]).gaps(6), []);
        let some = swarm_of(&[Some([4, 4]), Some([1, 2]), Some([1, 1])]);
        assert_eq!(some.gaps(6), [range(0, 1), range(3, 4), range(5, 6)]);
        assert_eq!(some.gaps(0), []);
        assert_eq!(swarm_of(&[Some([9, 12])]).gaps(6), [range(0, 6)]);
    }

    #[test]
    fn layers_with_as_many_copies_are_told_together() {
        let copies = |name: &str, copies: &[u32]| ModelCopies {
            name: name.to_owned(),
            layers: u32::try_from(copies.len()).unwrap(),
            copies: copies.to_vec(),
        };
        let swarm = Swarm {
            copies: vec![copies("other", &[9]), copies("tiny", &[3, 3, 0, 3, 3, 3])],
            totals: SwarmTotals { nodes: 101, ..SwarmTotals::default() },
            ..Swarm::default()
        };
        let range = |first, end| LayerRange { first, end };
        assert_eq!(swarm.copies_of("tiny"), [(range(0, 2), 3), (range(2, 3), 0), (range(3, 6), 3)]);
        assert_eq!(swarm.copies_of("none"), []);
        assert!(swarm.is_summed() && !swarm_of(&[None, None]).is_summed());
    }

    #[test]
    fn only_a_rising_count_is_work() {
        let counted = |tokens: &[u64]| {
            let mut nodes = swarm_of(&vec![None; tokens.len()]).nodes;
            nodes.iter_mut().zip(tokens).for_each(|(node, tokens)| node.tokens = *tokens);
            SwarmView { nodes, ..SwarmView::default() }
        };
        let before = Swarm::new(counted(&[5, 5]), None);
        assert_eq!(before.working, BTreeSet::new());
        let now = Swarm::new(counted(&[6, 5, 9]), Some(&before));
        assert_eq!(now.working.into_iter().collect::<Vec<_>>(), [NodeId([1; 32])]);
    }
}

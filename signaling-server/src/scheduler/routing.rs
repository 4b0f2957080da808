//! A route: a chain of stages that together compute every layer asked for once, each on a node that
//! has its layers ready.
//!
//! From each layer the node goes on that reaches farthest, which makes the fewest hops; among
//! equals the one with the least to do, then the fastest. Nodes that are excluded or in quarantine
//! are left out, but where that leaves a layer to nobody. A node that has more layers than are asked
//! for computes those that are, and reaches no farther by the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::Stage;

/// The nodes that have layers ready, so kept that the best for a layer is found without looking at
/// the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// Nodes with the same layers, the best first.
    groups: BTreeMap<Group, BTreeSet<Rank>>,
    /// By layer: the groups that have it, farthest reach first. There are about as many as the
    /// model has ranges, however many nodes there are.
    by_layer: Vec<BTreeSet<Group>>,
}

/// Nodes that have the same layers ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    end: Reverse<u32>,
    first: u32,
    is_suspect: bool,
}

/// Who comes first among those who have the same layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    load: u64,
    macs_per_ms: Reverse<u64>,
    node: Reverse<NodeId>,
}

/// A node with layers that are loaded and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) node: NodeId,
    pub(super) layers: LayerRange,
    /// True while it is in quarantine.
    pub(super) is_suspect: bool,
    /// What it would have to do with one session more: sessions by what each of them weighs.
    pub(super) load: u64,
    /// Multiply-accumulates a millisecond.
    pub(super) macs_per_ms: u64,
}

impl Holder {
    fn group(&self) -> Group {
        let LayerRange { first, end } = self.layers;
        Group { end: Reverse(end), first, is_suspect: self.is_suspect }
    }

    fn rank(&self) -> Rank {
        let Self { node, load, macs_per_ms, .. } = *self;
        Rank { load, macs_per_ms: Reverse(macs_per_ms), node: Reverse(node) }
    }
}

impl Holders {
    /// Of a model of so many layers.
    pub(super) fn new(layers: u32) -> Self {
        Self { groups: BTreeMap::new(), by_layer: vec![BTreeSet::new(); layers as usize] }
    }

    pub(super) fn insert(&mut self, holder: &Holder) {
        let group = holder.group();
        let nodes = self.groups.entry(group).or_default();
        if nodes.is_empty() {
            for layer in holder.layers.indices() {
                if let Some(groups) = self.by_layer.get_mut(layer as usize) {
                    groups.insert(group);
                }
            }
        }
        nodes.insert(holder.rank());
    }

    pub(super) fn remove(&mut self, holder: &Holder) {
        let group = holder.group();
        let Some(nodes) = self.groups.get_mut(&group) else { return };
        nodes.remove(&holder.rank());
        if nodes.is_empty() {
            self.groups.remove(&group);
            for layer in holder.layers.indices() {
                if let Some(groups) = self.by_layer.get_mut(layer as usize) {
                    groups.remove(&group);
                }
            }
        }
    }

    /// The layers that no node has ready, as ranges in order.
    pub(super) fn missing(&self) -> Vec<LayerRange> {
        let mut missing: Vec<LayerRange> = Vec::new();
        let without = (0..).zip(&self.by_layer).filter(|(_, groups)| groups.is_empty());
        for (layer, _) in without {
            match missing.last_mut() {
                Some(range) if range.end == layer => range.end += 1,
                _ => missing.push(LayerRange { first: layer, end: layer + 1 }),
            }
        }
        missing
    }

    /// The stages for `layers`, or `None` if no node has one of them ready. Without excluded nodes
    /// and those in quarantine; where that leaves a layer to nobody, with the latter; and at last
    /// with all.
    pub(super) fn route(&self, layers: LayerRange, exclude: &[NodeId]) -> Option<Vec<Stage>> {
        self.chain(layers, exclude, false)
            .or_else(|| self.chain(layers, exclude, true))
            .or_else(|| self.chain(layers, &[], true))
    }

    fn chain(
        &self,
        layers: LayerRange,
        exclude: &[NodeId],
        with_suspects: bool,
    ) -> Option<Vec<Stage>> {
        let mut stages = Vec::new();
        let mut first = layers.first;
        while first < layers.end {
            let groups = self.by_layer.get(first as usize)?;
            let (end, node) = self.best(groups, layers.end, exclude, with_suspects)?;
            stages.push(Stage { node, layers: LayerRange { first, end } });
            first = end;
        }
        Some(stages)
    }

    /// The best node of these groups, and how far it reaches, up to `limit`.
    fn best(
        &self,
        groups: &BTreeSet<Group>,
        limit: u32,
        exclude: &[NodeId],
        with_suspects: bool,
    ) -> Option<(u32, NodeId)> {
        let mut best: Option<(Reverse<u32>, Rank)> = None;
        for group in groups.iter().filter(|group| with_suspects || !group.is_suspect) {
            let reach = Reverse(group.end.0.min(limit));
            if best.is_some_and(|(end, _)| end != reach) {
                break;
            }
            let ranks = self.groups.get(group).into_iter().flatten();
            // At most as many are passed over as a requester may exclude.
            let first = ranks.copied().find(|rank| !exclude.contains(&rank.node.0));
            let candidate = first.map(|rank| (reach, rank));
            best = [best, candidate].into_iter().flatten().min();
        }
        best.map(|(end, rank)| (end.0, rank.node.0))
    }
}

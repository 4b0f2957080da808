//! A route: a chain of stages that together compute every layer once, each on a node that has its
//! layers ready.
//!
//! From each layer the node goes on that reaches farthest, which makes the fewest hops; among
//! equals the one in the fewest sessions, then the fastest.

use std::cmp::Reverse;

use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::Stage;

/// A node with layers that are loaded and verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadyNode {
    pub(super) node: NodeId,
    pub(super) layers: LayerRange,
    /// How many sessions it is a stage of.
    pub(super) sessions: usize,
    /// Multiply-accumulates a millisecond.
    pub(super) macs_per_ms: u64,
}

/// The stages, or `None` if no node has one of the layers ready.
pub(super) fn route(layers: u32, nodes: &[ReadyNode]) -> Option<Vec<Stage>> {
    let mut stages = Vec::new();
    let mut next = 0;
    while next < layers {
        let best = nodes.iter().filter(|ready| ready.layers.indices().contains(&next)).max_by_key(
            |ready| (ready.layers.end, Reverse(ready.sessions), ready.macs_per_ms, ready.node),
        )?;
        let end = best.layers.end.min(layers);
        stages.push(Stage { node: best.node, layers: LayerRange { first: next, end } });
        next = end;
    }
    Some(stages)
}

/// The layers that no node has ready, as ranges in order.
pub(super) fn missing(layers: u32, nodes: &[ReadyNode]) -> Vec<LayerRange> {
    let mut missing: Vec<LayerRange> = Vec::new();
    for layer in (0..layers)
        .filter(|layer| !nodes.iter().any(|ready| ready.layers.indices().contains(layer)))
    {
        match missing.last_mut() {
            Some(range) if range.end == layer => range.end += 1,
            _ => missing.push(LayerRange { first: layer, end: layer + 1 }),
        }
    }
    missing
}

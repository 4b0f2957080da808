//! A route: a chain of stages, each computing part of what its node holds, together every layer
//! once.
//!
//! At every layer the node that reaches farthest goes on (the fewest hops); among those the least
//! busy, then the fastest.

use std::cmp::Reverse;

use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::Stage;

/// A node that holds layers ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) node: NodeId,
    pub(super) layers: LayerRange,
    /// Sessions it is a stage of.
    pub(super) sessions: usize,
    /// Multiply-accumulates a millisecond.
    pub(super) speed: u64,
}

/// The stages, or `None` if a layer has nobody.
pub(super) fn route(layers: u32, holders: &[Holder]) -> Option<Vec<Stage>> {
    let mut stages = Vec::new();
    let mut next = 0;
    while next < layers {
        let best =
            holders.iter().filter(|holder| holder.layers.indices().contains(&next)).max_by_key(
                |holder| (holder.layers.end, Reverse(holder.sessions), holder.speed, holder.node),
            )?;
        let end = best.layers.end.min(layers);
        stages.push(Stage { node: best.node, layers: LayerRange { first: next, end } });
        next = end;
    }
    Some(stages)
}

/// The layers that nobody holds, as ranges in order.
pub(super) fn missing(layers: u32, holders: &[Holder]) -> Vec<LayerRange> {
    let mut missing: Vec<LayerRange> = Vec::new();
    for layer in (0..layers)
        .filter(|layer| !holders.iter().any(|holder| holder.layers.indices().contains(layer)))
    {
        match missing.last_mut() {
            Some(range) if range.end == layer => range.end += 1,
            _ => missing.push(LayerRange { first: layer, end: layer + 1 }),
        }
    }
    missing
}

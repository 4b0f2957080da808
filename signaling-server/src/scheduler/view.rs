//! The swarm as others see it. What it looks like as JSON is decided in `http`.

use std::ops::Bound;
use std::time::Duration;

use potluck_protocol::id::{LayerRange, ModelId, NodeId};
use potluck_protocol::server::{Capabilities, Report};

use super::Scheduler;

/// A registered node as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// The node's public key.
    pub node: NodeId,
    /// What the node said of itself when it registered.
    pub capabilities: Capabilities,
    /// The model that `layers` belong to.
    pub model: Option<ModelId>,
    /// The layers that are assigned to the node.
    pub layers: Option<LayerRange>,
    /// True if all assigned layers are loaded, and it is not paused.
    pub serving: bool,
    /// True while its volunteer needs the machine: nothing is routed through it.
    pub paused: bool,
    /// The node's own counters; nothing is credited from them.
    pub report: Report,
    /// Time since the node joined.
    pub connected: Duration,
    /// When the node joined, seconds since 1970.
    pub joined_s: u64,
    /// How many sessions the node is a stage of.
    pub sessions: usize,
}

/// Sums over all registered nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many nodes are registered.
    pub nodes: usize,
    /// Those that are browsers' tabs.
    pub browsers: usize,
    /// Those that are programs.
    pub natives: usize,
    /// Those that have loaded all of their layers, and are not paused.
    pub serving: usize,
    /// Those that have not.
    pub fetching: usize,
    /// Those without an assignment, and those that are paused.
    pub waiting: usize,
    /// Memory that they offer, bytes.
    pub memory_bytes: u64,
    /// Rows that they have computed, as they say.
    pub rows: u64,
}

/// The swarm as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmView {
    /// The registered nodes, by key; none if there are too many to list.
    pub nodes: Vec<NodeView>,
    /// Sums over all registered nodes, listed or not.
    pub totals: Totals,
    /// By layer of the served model: how many nodes have it, and all of their assignment, ready.
    pub copies: Vec<u32>,
    /// How many nodes are connected, registered or not.
    pub connected: usize,
    /// How many sessions are open.
    pub sessions: usize,
    /// How many requests wait for a route.
    pub waiting: usize,
}

impl Scheduler {
    /// The swarm as others see it at `now`, with its registered nodes if they are at most `listed`.
    #[must_use]
    pub fn view(&self, now: Duration, listed: usize) -> SwarmView {
        let totals = self.index.totals();
        let listed = if totals.nodes <= listed { listed } else { 0 };
        SwarmView {
            nodes: self.nodes(None, listed, now),
            totals,
            copies: self.index.copies().to_vec(),
            connected: self.nodes.len(),
            sessions: self.sessions.len(),
            waiting: self.requests.len(),
        }
    }

    /// The registered nodes behind `after` in the order of their keys, at most `limit`.
    #[must_use]
    pub fn nodes(&self, after: Option<NodeId>, limit: usize, now: Duration) -> Vec<NodeView> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.index.lenders().range((start, Bound::Unbounded));
        behind.take(limit).filter_map(|node| self.node_view(*node, now)).collect()
    }

    fn node_view(&self, node: NodeId, now: Duration) -> Option<NodeView> {
        let state = self.nodes.get(&node)?;
        let registration = state.registration.as_ref()?;
        Some(NodeView {
            node,
            capabilities: registration.capabilities.clone(),
            model: self.planned_model().map(|model| model.id).filter(|_| registration.is_planned),
            layers: registration.assigned,
            serving: registration.is_serving(),
            paused: registration.is_paused(),
            report: registration.report,
            connected: now.saturating_sub(state.since),
            joined_s: self.authority.unix_time(state.since).as_secs(),
            sessions: usize::try_from(state.sessions).unwrap_or(usize::MAX),
        })
    }
}

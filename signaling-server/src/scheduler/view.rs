//! The swarm as others see it. What it looks like as JSON is decided in `http`.

use std::time::Duration;

use potluck_protocol::id::{LayerRange, ModelId, NodeId};
use potluck_protocol::server::{Capabilities, Report};

use super::Scheduler;
use super::nodes::NodeState;

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
    /// True if all assigned layers are loaded.
    pub serving: bool,
    /// The node's own counters; nothing is credited from them.
    pub report: Report,
    /// Time since the node joined.
    pub connected: Duration,
    /// How many sessions the node is a stage of.
    pub sessions: usize,
}

/// The swarm as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct SwarmView {
    /// The registered nodes, by key.
    pub nodes: Vec<NodeView>,
    /// How many nodes are connected, registered or not.
    pub connected: usize,
    /// How many sessions are open.
    pub sessions: usize,
    /// How many requests wait for a route.
    pub waiting: usize,
}

impl Scheduler {
    /// The swarm as others see it at `now`.
    #[must_use]
    pub fn view(&self, now: Duration) -> SwarmView {
        let view = |(node, state): (&NodeId, &NodeState)| {
            let registration = state.registration.as_ref()?;
            Some(NodeView {
                node: *node,
                capabilities: registration.capabilities.clone(),
                model: registration.model,
                layers: registration.assigned,
                serving: registration.assigned.is_some()
                    && registration.ready == registration.assigned,
                report: registration.report,
                connected: now.saturating_sub(state.since),
                sessions: self.sessions.with_stage(*node).count(),
            })
        };
        SwarmView {
            nodes: self.nodes.iter().filter_map(view).collect(),
            connected: self.nodes.len(),
            sessions: self.sessions.len(),
            waiting: self.requests.len(),
        }
    }
}

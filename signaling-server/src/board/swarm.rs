//! The swarm as the scheduler sees it, in the words that people are told it.

use std::collections::HashMap;

use potluck_protocol::api::{
    InclusiveLayers, ModelCopies, NodeState, NodeView, SwarmTotals, SwarmView,
};
use potluck_protocol::id::NodeId;

use crate::models::{ModelInfo, Models};
use crate::scheduler;

/// What is told of `view`.
pub(super) fn swarm(
    models: &Models,
    view: &scheduler::SwarmView,
    names: &HashMap<NodeId, String>,
    rows_per_s: f64,
) -> SwarmView {
    let copies = |(index, model): (usize, &std::sync::Arc<ModelInfo>)| {
        // Only the first is served.
        let held = if index == 0 { &view.copies[..] } else { &[] };
        let layers = usize::try_from(model.layers).unwrap_or(usize::MAX);
        ModelCopies {
            name: model.name.clone(),
            layers: model.layers,
            copies: held.iter().copied().chain(std::iter::repeat(0)).take(layers).collect(),
        }
    };
    SwarmView {
        nodes: view.nodes.iter().map(|node| describe(models, node, names)).collect(),
        models: models.iter().enumerate().map(copies).collect(),
        connected: count(view.connected),
        sessions: count(view.sessions),
        waiting: count(view.waiting),
        totals: totals(view.totals, rows_per_s),
    }
}

/// One node.
pub(super) fn describe(
    models: &Models,
    node: &scheduler::NodeView,
    names: &HashMap<NodeId, String>,
) -> NodeView {
    let ms = f64::from(node.report.us_per_token_p50) / 1000.0;
    let model = node.model.and_then(|model| models.get(model));
    NodeView {
        id: node.node,
        name: node.node.name(),
        called: names.get(&node.node).cloned(),
        kind: node.capabilities.kind,
        backend: node.capabilities.backend.clone(),
        model: model.map(|model| model.name.clone()),
        layers: node.layers.map(InclusiveLayers),
        state: match (node.serving, node.layers) {
            _ if node.paused => NodeState::Paused,
            (true, _) => NodeState::Serving,
            (false, Some(_)) => NodeState::Fetching,
            (false, None) => NodeState::Waiting,
        },
        tokens: node.report.tokens,
        ms_per_token_p50: (node.report.us_per_token_p50 > 0).then_some(ms),
        memory_bytes: node.capabilities.memory_bytes,
        sessions: count(node.sessions),
        connected_at_s: node.joined_s,
    }
}

fn totals(totals: scheduler::Totals, rows_per_s: f64) -> SwarmTotals {
    SwarmTotals {
        nodes: count(totals.nodes),
        browsers: count(totals.browsers),
        natives: count(totals.natives),
        serving: count(totals.serving),
        fetching: count(totals.fetching),
        waiting: count(totals.waiting),
        memory_bytes: totals.memory_bytes,
        rows: totals.rows,
        rows_per_s,
    }
}

/// A server never holds 2^32 of anything it counts here.
fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::tests::model;

    #[test]
    fn sums_are_told_and_copies_are_of_the_model_that_is_served() {
        let mut models = Models::default();
        models.add(model(2));
        models.add(model(3));
        let totals = scheduler::Totals { nodes: 101, browsers: 51, rows: 7, ..Default::default() };
        let view = scheduler::SwarmView {
            nodes: Vec::new(),
            totals,
            copies: vec![101, 50],
            connected: 102,
            sessions: 2,
            waiting: 3,
        };
        let told = swarm(&models, &view, &HashMap::new(), 2.5);
        let copies: Vec<_> = told.models.into_iter().map(|model| model.copies).collect();
        assert_eq!(copies, [vec![101, 50], vec![0, 0, 0]]);
        assert_eq!((told.totals.nodes, told.totals.browsers, told.totals.rows), (101, 51, 7));
        assert_eq!((told.connected, told.sessions, told.waiting), (102, 2, 3));
        assert_eq!(told.totals.rows_per_s.to_bits(), 2.5_f64.to_bits());
    }
}

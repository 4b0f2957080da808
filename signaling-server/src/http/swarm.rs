//! `GET /api/v1/swarm`: who lends what, now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use potluck_protocol::api::{InclusiveLayers, ModelCopies, NodeState, NodeView, SwarmView};

use super::error::HttpError;
use crate::app::App;
use crate::models::ModelInfo;
use crate::scheduler;

pub(super) async fn swarm(State(app): State<Arc<App>>) -> Result<Json<SwarmView>, HttpError> {
    let view = app.hub.view().await.ok_or(HttpError::Busy("the server is shutting down"))?;
    Ok(Json(SwarmView {
        nodes: view.nodes.iter().map(|node| describe(&app, node)).collect(),
        models: app.models.iter().map(|model| copies(model, &view.nodes)).collect(),
        connected: count(view.connected),
        sessions: count(view.sessions),
        waiting: count(view.waiting),
    }))
}

/// How many nodes serve each layer of a model.
fn copies(model: &ModelInfo, nodes: &[scheduler::NodeView]) -> ModelCopies {
    let serves = |node: &&scheduler::NodeView, layer| {
        let held = node.layers.is_some_and(|layers| layers.indices().contains(&layer));
        node.serving && node.model == Some(model.id) && held
    };
    let copies = (0..model.layers)
        .map(|layer| count(nodes.iter().filter(|node| serves(node, layer)).count()))
        .collect();
    ModelCopies { name: model.name.clone(), layers: model.layers, copies }
}

fn describe(app: &App, node: &scheduler::NodeView) -> NodeView {
    let state = match (node.serving, node.layers) {
        (true, _) => NodeState::Serving,
        (false, Some(_)) => NodeState::Fetching,
        (false, None) => NodeState::Waiting,
    };
    let ms = f64::from(node.report.us_per_token_p50) / 1000.0;
    let model = node.model.and_then(|model| app.models.get(model));
    NodeView {
        id: node.node,
        name: node.node.name(),
        kind: node.capabilities.kind,
        backend: node.capabilities.backend.clone(),
        model: model.map(|model| model.name.clone()),
        layers: node.layers.map(InclusiveLayers),
        state,
        tokens: node.report.tokens,
        ms_per_token_p50: (node.report.us_per_token_p50 > 0).then_some(ms),
        memory_bytes: node.capabilities.memory_bytes,
        sessions: count(node.sessions),
        connected_s: node.connected.as_secs(),
    }
}

/// A server never holds 2^32 of anything it counts here.
fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

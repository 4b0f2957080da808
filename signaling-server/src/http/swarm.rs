//! `GET /api/v1/swarm`: who lends what, now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use potluck_protocol::id::LayerRange;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::scheduler::NodeView;
use crate::server::App;

pub(super) async fn swarm(State(app): State<Arc<App>>) -> Result<Json<Value>, HttpError> {
    let view = app.hub.view().await.ok_or(HttpError::Busy("the server is shutting down"))?;
    let models: Vec<Value> = app
        .models
        .iter()
        .map(|model| {
            let copies: Vec<usize> = (0..model.layers)
                .map(|layer| {
                    let holds = |node: &&NodeView| {
                        let held =
                            node.layers.is_some_and(|layers| layers.indices().contains(&layer));
                        node.serving && node.model == Some(model.id) && held
                    };
                    view.nodes.iter().filter(holds).count()
                })
                .collect();
            json!({ "name": model.name, "layers": model.layers, "copies": copies })
        })
        .collect();
    let nodes: Vec<Value> = view.nodes.iter().map(|node| describe(&app, node)).collect();
    Ok(Json(json!({
        "nodes": nodes,
        "models": models,
        "connected": view.connected,
        "sessions": view.sessions,
        "waiting": view.waiting,
    })))
}

fn describe(app: &App, node: &NodeView) -> Value {
    let state = match (node.serving, node.layers) {
        (true, _) => "serving",
        (false, Some(_)) => "fetching",
        (false, None) => "waiting",
    };
    let ms = f64::from(node.report.us_per_token_p50) / 1000.0;
    json!({
        "id": node.node,
        "name": node.node.name(),
        "kind": node.capabilities.kind,
        "backend": node.capabilities.backend,
        "model": node.model.and_then(|model| app.models.get(model)).map(|model| &model.name),
        "layers": node.layers.map(inclusive),
        "state": state,
        "tokens": node.report.tokens,
        "ms_per_token_p50": (node.report.us_per_token_p50 > 0).then_some(ms),
        "memory_bytes": node.capabilities.memory_bytes,
        "sessions": node.sessions,
        "connected_s": node.connected.as_secs(),
    })
}

/// First and last layer, as people count.
fn inclusive(layers: LayerRange) -> [u32; 2] {
    [layers.first, layers.end - 1]
}

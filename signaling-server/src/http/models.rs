//! `GET /api/v1/models`: what this swarm can run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::server::App;

pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Vec<Value>> {
    let models = app.models.iter().map(|model| {
        json!({
            "id": model.id,
            "name": model.name,
            "layers": model.layers,
            "bytes": model.total_bytes,
            "max_positions": model.max_positions,
            "license": model.license,
        })
    });
    Json(models.collect())
}

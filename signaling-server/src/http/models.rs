//! `GET /api/v1/models`: what this swarm can run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use potluck_protocol::api::ModelView;

use crate::app::App;

pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Vec<ModelView>> {
    let models = app.models.iter().map(|model| ModelView {
        id: model.id,
        name: model.name.clone(),
        layers: model.layers,
        bytes: model.total_bytes,
        max_positions: model.max_positions,
        license: model.license.clone(),
    });
    Json(models.collect())
}

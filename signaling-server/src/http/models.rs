//! `GET /api/v1/models`: what this swarm can run.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_protocol::api::ModelView;

use super::error::HttpError;
use crate::app::App;
use crate::rendered::Rendered;

pub(super) async fn models(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let models = app.models.iter().map(|model| ModelView {
        id: model.id,
        name: model.name.clone(),
        layers: model.layers,
        bytes: model.total_bytes,
        ends_bytes: model.ends_bytes(),
        max_positions: model.max_positions,
        license: model.license.clone(),
    });
    let models: Vec<_> = models.collect();
    let models = Rendered::json(&models).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(models.answer(&headers))
}

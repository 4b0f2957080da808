//! `GET /api/v1/tally`: who contributed how much, most first.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::error::HttpError;
use crate::app::App;

#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    limit: Option<usize>,
}

pub(super) async fn tally(
    State(app): State<Arc<App>>,
    Query(query): Query<Limit>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    Ok(app.board.snapshot().await?.tally(query.limit).answer(&headers))
}

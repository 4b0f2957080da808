//! `GET /api/v1/tally`: who contributed how much, most first.

use axum::extract::Query;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::error::HttpError;
use super::room::Asked;

#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    limit: Option<usize>,
}

pub(super) async fn tally(
    Asked(room): Asked,
    Query(query): Query<Limit>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    Ok(room.board.snapshot().await?.tally(query.limit).answer(&headers))
}

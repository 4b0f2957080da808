//! `GET /api/v1/swarm` and `/api/v1/swarm/nodes`: who lends what, now.

use axum::extract::Query;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_protocol::api::MAX_LISTED_NODES;
use potluck_protocol::id::NodeId;
use serde::Deserialize;

use super::error::HttpError;
use super::room::Asked;
use crate::rendered::Rendered;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    after: Option<NodeId>,
    limit: Option<usize>,
}

pub(super) async fn swarm(Asked(room): Asked, headers: HeaderMap) -> Result<Response, HttpError> {
    Ok(room.board.snapshot().await?.swarm.answer(&headers))
}

pub(super) async fn nodes(
    Asked(room): Asked,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let page = room.board.nodes(page.after, page.limit.unwrap_or(MAX_LISTED_NODES)).await?;
    let page = Rendered::json(&page).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(page.answer(&headers))
}

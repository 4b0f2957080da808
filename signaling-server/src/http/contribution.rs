//! `GET /api/v1/contribution/KEY`: what one node was credited with, day by day.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_protocol::api::{CONTRIBUTION_DAYS, ContributionView, DayView};
use potluck_protocol::id::NodeId;

use super::error::HttpError;
use crate::app::App;
use crate::rendered::Rendered;

pub(super) async fn contribution(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let node: NodeId =
        key.parse().map_err(|_| HttpError::BadRequest("a node's key is 64 hexadecimal digits"))?;
    let (today, days) = app
        .store
        .days(node, CONTRIBUTION_DAYS)
        .await
        .map_err(|error| HttpError::Internal(error.into()))?;
    let days = days
        .into_iter()
        .map(|day| DayView { day: day.day, credit_macs: day.macs, receipts: day.receipts })
        .collect();
    let view = ContributionView { node, today, days };
    let view = Rendered::json(&view).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(view.answer(&headers))
}

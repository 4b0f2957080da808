//! `GET /api/v1/boards`: who earned most, among those with hardware of one class.

use axum::extract::Query;
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_protocol::api::{BoardOf, HardwareClass, Period};
use serde::Deserialize;

use super::error::HttpError;
use super::room::Asked;
use crate::rendered::Rendered;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    #[serde(default)]
    of: BoardOf,
    #[serde(default)]
    class: HardwareClass,
    #[serde(default)]
    period: Period,
    own: Option<String>,
}

pub(super) async fn board(
    Asked(room): Asked,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let Which { of, class, period, own } = which;
    let view = room.board.boards().await?.view(of, class, period, own.as_deref());
    let view = Rendered::json(&view).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(view.answer(&headers))
}

//! `GET /api/v1/tally`: who contributed how much, most first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use potluck_ledger::work::format_gmac;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::server::App;

/// Rows of one answer at most.
const MAX_ROWS: u32 = 1000;
/// Rows if the caller does not say.
const ROWS: u32 = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    limit: Option<u32>,
}

pub(super) async fn tally(
    State(app): State<Arc<App>>,
    Query(query): Query<Limit>,
) -> Result<Json<Vec<Value>>, HttpError> {
    let limit = query.limit.unwrap_or(ROWS).min(MAX_ROWS);
    let contributors =
        app.store.contributors(limit).await.map_err(|error| HttpError::Internal(error.into()))?;
    let row = |contributor: crate::store::Contributor| {
        // A number for people; the exact one is beside it.
        let gmac: f64 = format_gmac(contributor.macs).parse().unwrap_or(0.0);
        json!({
            "node": contributor.node,
            "name": contributor.node.name(),
            "kind": contributor.kind,
            "credit_gmac": gmac,
            "credit_macs": contributor.macs.to_string(),
            "receipts": contributor.receipts,
        })
    };
    Ok(Json(contributors.into_iter().map(row).collect()))
}

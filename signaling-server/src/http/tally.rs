//! `GET /api/v1/tally`: who contributed how much, most first.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use potluck_ledger::work::format_gmac;
use potluck_protocol::api::TallyRow;
use serde::Deserialize;

use super::error::HttpError;
use crate::app::App;
use crate::store::Contributor;

/// Rows of one answer, however many the caller asks for.
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
) -> Result<Json<Vec<TallyRow>>, HttpError> {
    let limit = query.limit.unwrap_or(ROWS).min(MAX_ROWS);
    let contributors =
        app.store.contributors(limit).await.map_err(|error| HttpError::Internal(error.into()))?;
    Ok(Json(contributors.into_iter().map(row).collect()))
}

fn row(contributor: Contributor) -> TallyRow {
    TallyRow {
        node: contributor.node,
        name: contributor.node.name(),
        kind: contributor.kind,
        credit_gmac: format_gmac(contributor.macs).parse().unwrap_or(0.0),
        credit_macs: contributor.macs,
        receipts: contributor.receipts,
    }
}

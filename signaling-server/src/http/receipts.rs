//! `GET /api/v1/receipts/KEY`: the receipts credited to one node, with both signatures. Those of a
//! room are told to who shows its pass.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use potluck_protocol::api::{InclusiveLayers, MAX_LISTED_RECEIPTS, ReceiptView, ReceiptsPage};
use potluck_protocol::id::{LayerRange, NodeId};
use serde::Deserialize;

use super::error::HttpError;
use super::room::Asked;
use crate::app::App;
use crate::models::Models;
use crate::rendered::Rendered;
use crate::store::Filed;

#[derive(Debug, Deserialize)]
pub(super) struct Pages {
    before: Option<u32>,
    limit: Option<u32>,
}

/// Receipts if nobody says how many.
const RECEIPTS: u32 = 20;

pub(super) async fn receipts(
    State(app): State<Arc<App>>,
    Asked(room): Asked,
    Path(key): Path<String>,
    Query(Pages { before, limit }): Query<Pages>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let node: NodeId =
        key.parse().map_err(|_| HttpError::BadRequest("a node's key is 64 hexadecimal digits"))?;
    let limit = limit.unwrap_or(RECEIPTS).clamp(1, MAX_LISTED_RECEIPTS);
    // One more than wanted says whether there are more.
    let mut filed = app
        .store
        .receipts(node, room.id, before, limit + 1)
        .await
        .map_err(|error| HttpError::Internal(error.into()))?;
    let more = filed.len() > limit as usize;
    filed.truncate(limit as usize);
    let page = ReceiptsPage {
        next: filed.last().filter(|_| more).map(|last| last.number),
        receipts: filed.iter().map(|one| view(&app.models, one)).collect(),
    };
    let page = Rendered::json(&page).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(page.answer(&headers))
}

fn view(models: &Models, filed: &Filed) -> ReceiptView {
    let receipt = &filed.signed.receipt;
    let LayerRange { first, end } = receipt.layers;
    ReceiptView {
        id: data_encoding::HEXLOWER.encode(&receipt.id().0),
        credited_at_s: filed.credited_s,
        model: receipt.model,
        model_name: models.get(receipt.model).map(|model| model.name.clone()),
        layers: InclusiveLayers::try_from([first, end.saturating_sub(1)]).ok(),
        from_position: receipt.from_position,
        to_position: receipt.to_position,
        credit_macs: filed.macs,
        stage: receipt.stage,
        requester: receipt.requester,
        signed_bytes: data_encoding::HEXLOWER.encode(&receipt.signed_bytes()),
        stage_signature: filed.signed.stage_signature.to_string(),
        requester_signature: filed.signed.requester_signature.to_string(),
    }
}

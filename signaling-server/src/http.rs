//! Everything over HTTP: the API as JSON, blobs, the page.

pub(crate) mod error;

mod blobs;
mod models;
mod page;
mod swarm;
mod tally;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::socket;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/api/v1/socket", get(socket::upgrade))
        .route("/api/v1/swarm", get(swarm::swarm))
        .route("/api/v1/tally", get(tally::tally))
        .route("/api/v1/models", get(models::models))
        .route("/api/v1/blobs/{hash}", get(blobs::blob))
        .fallback(page::page)
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .with_state(app)
}

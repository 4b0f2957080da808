//! Everything over HTTP: the API as JSON, blobs, the page.

pub(crate) mod error;

mod blobs;
mod models;
mod page;
mod swarm;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use crate::socket;
use error::HttpError;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    Router::new()
        .route("/healthz", get(health))
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

/// How long the hub may take to answer before the server counts as ill.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// `GET /healthz`: well if the hub answers.
async fn health(State(app): State<Arc<App>>) -> Result<&'static str, HttpError> {
    if app.hub.ping(HEALTH_LIMIT).await {
        return Ok("ok\n");
    }
    Err(HttpError::Busy("the hub does not answer: it is overloaded, or hangs"))
}

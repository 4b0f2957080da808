//! Everything over HTTP: the API as JSON, blobs, the page.

pub(crate) mod error;

mod blobs;
mod contribution;
mod embed;
mod events;
mod guard;
mod health;
mod models;
mod page;
mod room;
mod sites;
mod swarm;
mod tally;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::app::App;
use crate::socket;

pub(crate) use embed::Kept as KeptEmbeds;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(guard::HEALTH, get(health::health))
        .route("/api/v1/socket", get(socket::upgrade))
        .route("/api/v1/swarm", get(swarm::swarm))
        .route("/api/v1/swarm/nodes", get(swarm::nodes))
        .route("/api/v1/tally", get(tally::tally))
        .route("/api/v1/contribution/{key}", get(contribution::contribution))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/models", get(models::models))
        .route("/api/v1/blobs/{hash}", get(blobs::blob))
        .route("/api/v1/sites", get(sites::list))
        .route("/api/v1/sites/tasks", post(sites::tasks))
        .route("/api/v1/sites/{site}/{answer}", post(sites::answer))
        .route("/embed.js", get(embed::script))
        .route("/embed.html", get(embed::document))
        .fallback(page::page)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

//! Everything over HTTP: the API as JSON, blobs, the page.

pub(crate) mod error;

mod blobs;
mod boards;
mod contribution;
mod embed;
mod embed_words;
mod events;
mod guard;
mod health;
mod models;
mod page;
mod people;
mod receipts;
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
pub(crate) use embed_words::WidgetLanguage;

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(guard::HEALTH, get(health::health))
        .route("/api/v1/socket", get(socket::upgrade))
        .route("/api/v1/swarm", get(swarm::swarm))
        .route("/api/v1/swarm/nodes", get(swarm::nodes))
        .route("/api/v1/tally", get(tally::tally))
        .route("/api/v1/contribution/{key}", get(contribution::contribution))
        .route("/api/v1/receipts/{key}", get(receipts::receipts))
        .route("/api/v1/boards", get(boards::board))
        .route("/api/v1/people", post(people::hear))
        .route("/api/v1/team", get(people::team))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/models", get(models::models))
        .route("/api/v1/blobs/{hash}", get(blobs::blob))
        .route("/api/v1/sites", get(sites::list))
        .route("/api/v1/sites/tasks", post(sites::tasks))
        .route("/api/v1/sites/challenge", post(sites::challenge))
        .route("/api/v1/sites/enter", post(sites::enter))
        .route("/api/v1/sites/{site}/{answer}", post(sites::answer))
        .route("/embed.js", get(embed::script))
        .route("/embed.html", get(embed::document))
        .fallback(page::page)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

//! `GET /healthz`: for whoever restarts a server that hangs. It says that the hub, which everybody
//! waits for, answers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use super::error::HttpError;
use crate::app::App;

/// A hub that takes longer makes everybody wait.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn health(State(app): State<Arc<App>>) -> Result<&'static str, HttpError> {
    if app.rooms.public().hub.ping(PATIENCE).await {
        return Ok("ok\n");
    }
    Err(HttpError::Busy("the hub does not answer: it is overloaded, or hangs"))
}

//! Sites that show the widget: `GET /api/v1/sites` tells everybody which, `POST /api/v1/sites/tasks`
//! does what their owners signed, `…/challenge` and `…/enter` let in whoever has a passkey, and
//! `POST /api/v1/sites/KEY/yes` and `…/no` count an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use potluck_protocol::api::ErrorBody;
use potluck_protocol::id::SiteKey;
use potluck_protocol::passkey::{Entered, Entry, PasskeyChallenge};
use potluck_protocol::site::{SignedTask, TaskAnswer};

use super::error::HttpError;
use crate::app::App;
use crate::client_address::ClientAddress;
use crate::origin::Arrival;
use crate::rendered::Rendered;
use crate::sites::{Asked, Counted, TaskError};

/// Bytes of a task: eight of the longest origins and the longest name, each letter escaped; a passkey's
/// answer has less.
const MAX_TASK_BYTES: usize = 16 * 1024;
/// For them to come in.
const TASK_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let sites = app.sites.published().await.map_err(|error| HttpError::Internal(error.into()))?;
    let sites = Rendered::json(&sites).map_err(|error| HttpError::Internal(error.into()))?;
    Ok(sites.answer(&headers))
}

pub(super) async fn tasks(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Json<TaskAnswer>, Response> {
    let task: SignedTask = read(body, "a signed task is expected").await?;
    let is_own = |origin: &str| app.config.origins.is_own_origin(origin, &arrival);
    let asked = Asked { task: &task, is_own: &is_own, from: address.key() };
    app.sites.perform(asked).await.map(Json).map_err(refused)
}

/// `POST …/challenge`: something for a passkey to sign.
pub(super) async fn challenge(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
) -> Result<Json<PasskeyChallenge>, Response> {
    app.sites.challenge(address.key()).map(Json).map_err(refused)
}

/// `POST …/enter`: a passkey vouches for a key.
pub(super) async fn enter(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
    Extension(arrival): Extension<Arrival>,
    body: Body,
) -> Result<Json<Entered>, Response> {
    let entry: Entry = read(body, "a passkey's answer is expected").await?;
    let is_own = |origin: &str| app.config.origins.is_own_origin(origin, &arrival);
    app.sites.enter(&entry, &is_own, address.key()).await.map(Json).map_err(refused)
}

async fn read<T: serde::de::DeserializeOwned>(
    body: Body,
    expected: &'static str,
) -> Result<T, Response> {
    let unreadable = || HttpError::BadRequest(expected).into_response();
    let bytes = tokio::time::timeout(TASK_PATIENCE, to_bytes(body, MAX_TASK_BYTES)).await;
    let bytes = bytes.ok().and_then(Result::ok).ok_or_else(unreadable)?;
    serde_json::from_slice(&bytes).map_err(|_| unreadable())
}

/// The answer to a task that was not done.
fn refused(error: TaskError) -> Response {
    let status = match &error {
        TaskError::Store(_) | TaskError::NoRandomness => {
            return HttpError::Internal(error.into()).into_response();
        }
        TaskError::Unsigned
        | TaskError::OtherServer(_)
        | TaskError::Stale
        | TaskError::Passkey(_) => StatusCode::FORBIDDEN,
        TaskError::SignedOut => StatusCode::UNAUTHORIZED,
        TaskError::Again => StatusCode::CONFLICT,
        TaskError::TooMany => StatusCode::TOO_MANY_REQUESTS,
        TaskError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        TaskError::NotYours => StatusCode::NOT_FOUND,
        TaskError::NoWidgets
        | TaskError::NoName
        | TaskError::Origins
        | TaskError::Origin(_)
        | TaskError::OwnerHasMany
        | TaskError::Full => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(ErrorBody { error: error.to_string() })).into_response()
}

/// An answer is counted, and nothing of whoever gave it.
pub(super) async fn answer(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    Path((site, word)): Path<(SiteKey, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, HttpError> {
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    // Another site's page could have its visitors' browsers count.
    if app.config.origins.check_page_origin(origin, &arrival).is_err() {
        return Err(HttpError::BadRequest("only the widget itself counts answers"));
    }
    let counted = match &*word {
        "yes" => Counted::Accepted,
        "no" => Counted::Refused,
        _ => return Err(HttpError::BadRequest("an answer is yes or no")),
    };
    app.sites.count(site, counted);
    Ok(StatusCode::NO_CONTENT)
}

//! `POST /api/v1/people`: what a volunteer says of themselves; `GET /api/v1/team`: the team that a
//! link invites to.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use potluck_protocol::api::{ErrorBody, ROOM_HEADER};
use potluck_protocol::id::TeamId;
use potluck_protocol::people::{PersonView, SignedStatement, TEAM_HEADER, TeamView};

use super::error::HttpError;
use crate::app::App;
use crate::client_address::ClientAddress;
use crate::origin::Arrival;
use crate::people::{Heard, PeopleError};

/// Bytes of a statement: the longest origin and name, each letter escaped twice.
const MAX_STATEMENT_BYTES: usize = 8 * 1024;
/// For them to come in.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn hear(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
    Extension(arrival): Extension<Arrival>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PersonView>, Response> {
    let unreadable = || HttpError::BadRequest("a signed statement is expected").into_response();
    let bytes = tokio::time::timeout(STATEMENT_PATIENCE, to_bytes(body, MAX_STATEMENT_BYTES)).await;
    let bytes = bytes.ok().and_then(Result::ok).ok_or_else(unreadable)?;
    let signed: SignedStatement = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
    let is_own = |origin: &str| app.config.origins.is_own_origin(origin, &arrival);
    let is_in_room = headers.contains_key(ROOM_HEADER);
    let heard = Heard { signed: &signed, is_own: &is_own, is_in_room, from: address.key() };
    app.people.hear(heard).await.map(Json).map_err(refused)
}

/// The answer to a statement that does not count.
fn refused(error: PeopleError) -> Response {
    let status = match &error {
        PeopleError::Store(_) | PeopleError::NoRandomness => {
            return HttpError::Internal(error.into()).into_response();
        }
        PeopleError::Unsigned | PeopleError::OtherServer(_) | PeopleError::Stale => {
            StatusCode::FORBIDDEN
        }
        PeopleError::Old => StatusCode::CONFLICT,
        PeopleError::TooMany | PeopleError::TooManyNewcomers => StatusCode::TOO_MANY_REQUESTS,
        PeopleError::NoTeam => StatusCode::NOT_FOUND,
        PeopleError::Name(_)
        | PeopleError::InRoom
        | PeopleError::TeamIsFull
        | PeopleError::TooManyTeams => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, Json(ErrorBody { error: error.to_string() })).into_response()
}

pub(super) async fn team(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<TeamView>, HttpError> {
    let id = headers.get(TEAM_HEADER).and_then(|id| id.to_str().ok()?.parse::<TeamId>().ok());
    let id = id.ok_or(HttpError::BadRequest("a team's id is 32 hexadecimal digits"))?;
    let team = app.store.team(id).await.map_err(|error| HttpError::Internal(error.into()))?;
    team.map(Json).ok_or(HttpError::NotFound("there is no such team"))
}

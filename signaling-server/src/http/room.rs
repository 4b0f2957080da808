//! Which swarm a request is about: the public one, or the room whose pass it shows in a header.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use potluck_protocol::api::ROOM_HEADER;
use potluck_protocol::room::RoomPass;

use super::error::HttpError;
use crate::app::App;
use crate::rooms::Room;

/// The swarm that is asked about.
pub(super) struct Asked(pub(super) Arc<Room>);

impl<S: Send + Sync> FromRequestParts<S> for Asked
where
    Arc<App>: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let app = Arc::<App>::from_ref(state);
        let Some(shown) = parts.headers.get(ROOM_HEADER) else {
            return Ok(Self(Arc::clone(app.rooms.public())));
        };
        let pass = shown.to_str().ok().and_then(|text| text.parse::<RoomPass>().ok());
        let pass = pass.ok_or(HttpError::BadRequest(
            "the pass is not 64 hexadecimal digits, with 64 more behind a dot or 16 behind a tilde",
        ))?;
        app.rooms.find(pass).map(Self).ok_or(HttpError::NotFound("nobody is in this room now"))
    }
}

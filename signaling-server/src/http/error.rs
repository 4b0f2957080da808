//! What goes wrong over HTTP, and the one place that gives it a status.

use std::io;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use potluck_protocol::api::ErrorBody;

use crate::board::BoardError;

/// An error, as the caller reads it. Details of ours are logged, never sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(&'static str),
    /// Asked for under another server's name.
    #[error("{0}")]
    Misdirected(String),
    /// Not so many for one caller.
    #[error("{0}")]
    TooMany(&'static str),
    /// Not now.
    #[error("{0}")]
    Busy(&'static str),
    /// Our own fault.
    #[error("the server could not do this; nothing was changed, try again later")]
    Internal(#[source] anyhow::Error),
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(ErrorBody { error: self.to_string() })).into_response()
    }
}

/// The answer with a file; `sentence` for whoever asks for one that is not there.
pub(super) fn found<B>(
    served: io::Result<Response<B>>,
    sentence: &'static str,
) -> Result<Response, HttpError>
where
    Response<B>: IntoResponse,
{
    match served {
        Ok(response) if response.status() != StatusCode::NOT_FOUND => Ok(response.into_response()),
        Ok(_) => Err(HttpError::NotFound(sentence)),
        Err(error)
            if matches!(
                error.kind(),
                // Below a file there is nothing.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Err(HttpError::NotFound(sentence))
        }
        Err(error) => Err(HttpError::Internal(error.into())),
    }
}

impl From<BoardError> for HttpError {
    fn from(error: BoardError) -> Self {
        match error {
            BoardError::Hub | BoardError::StoreTimeout => {
                Self::Busy("the server is too busy to say how things are, or shutting down")
            }
            BoardError::Store(_) | BoardError::Json(_) => Self::Internal(error.into()),
        }
    }
}

//! What goes wrong over HTTP, and the one place that gives it a status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use potluck_protocol::api::ErrorBody;

/// An error, as the caller reads it. Details of ours are logged, never sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// No such thing.
    #[error("{0}")]
    NotFound(&'static str),
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(&'static str),
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
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(error) => {
                tracing::error!(error = format!("{error:#}"), "a request failed");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, Json(ErrorBody { error: self.to_string() })).into_response()
    }
}

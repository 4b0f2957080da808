//! `GET /api/v1/blobs/{hash}`: manifests and weights by their BLAKE3, with ranges, for ever
//! cacheable.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tower_http::services::ServeFile;

use super::error::HttpError;
use crate::app::App;

pub(super) async fn blob(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    request: Request,
) -> Result<Response, HttpError> {
    let is_hash =
        hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        return Err(HttpError::BadRequest("a blob's name is 64 lower-case hexadecimal digits"));
    }
    let path = app.config.data_dir.join("blobs").join(&hash);
    let response = ServeFile::new(path)
        .try_call(request)
        .await
        .map_err(|error| HttpError::Internal(error.into()))?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(HttpError::NotFound("this server has no such blob"));
    }
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

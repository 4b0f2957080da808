//! `GET /api/v1/blobs/{hash}`: manifests and weights by their BLAKE3, with ranges, for ever
//! cacheable.
//!
//! A tokenizer lies there compressed too. That goes to whoever wants the whole and takes Brotli; a
//! part of a blob is always a part of the blob itself, so that a download can go on where it broke
//! off.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use tower_http::services::ServeFile;

use super::error::{HttpError, found};
use crate::app::App;
use crate::rendered::is_known;

/// A year, which is as long as caches believe: the name is the contents' hash.
pub(super) const FOR_EVER: HeaderValue =
    HeaderValue::from_static("public, max-age=31536000, immutable");

pub(super) async fn blob(
    State(app): State<Arc<App>>,
    Path(hash): Path<String>,
    mut request: Request,
) -> Result<Response, HttpError> {
    let is_hash =
        hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hash {
        return Err(HttpError::BadRequest("a blob's name is 64 lower-case hexadecimal digits"));
    }
    let whole = !request.headers().contains_key(header::RANGE);
    let tag = |suffix: &str| {
        HeaderValue::from_str(&format!("\"{hash}{suffix}\""))
            .expect("hexadecimal digits can stand in a header")
    };
    let asked = request.headers();
    let known = [tag(""), tag("-br")].into_iter().find(|tag| is_known(asked, tag));
    // Tags are those of this place, not of the file's date.
    for name in [header::IF_NONE_MATCH, header::IF_MATCH, header::IF_MODIFIED_SINCE] {
        request.headers_mut().remove(name);
    }
    let path = app.config.data_dir.join("blobs").join(&hash);
    let file = ServeFile::new(path);
    let mut file = if whole { file.precompressed_br() } else { file };
    let response = found(file.try_call(request).await, "this server has no such blob")?;
    let mut response = match known {
        Some(_) if response.status() == StatusCode::OK => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        _ => response,
    };
    let headers = response.headers_mut();
    let compressed = headers.contains_key(header::CONTENT_ENCODING);
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::ETAG, known.unwrap_or_else(|| tag(if compressed { "-br" } else { "" })));
    headers.remove(header::LAST_MODIFIED);
    Ok(response)
}

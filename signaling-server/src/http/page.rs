//! The page: the folder that `cargo xtask build` made, under a strict content security policy.
//!
//! Files whose names carry the hash of their bytes are kept for ever; of all others a browser asks
//! whether they have changed. The page may lie below a path of a proxy's, so there is one document,
//! at the folder itself: its addresses are relative.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use tower_http::services::ServeDir;

use super::blobs::FOR_EVER;
use super::error::{HttpError, found};
use super::guard::{document_policy, guard_owners};
use crate::app::App;
use crate::origin::Arrival;
use crate::page_index::PageIndex;

const NOT_BUILT: &str = "the page is not built yet; run `cargo xtask build`";
/// Digits of the hash in a file's name.
const HASH_DIGITS: usize = 16;

/// Everything but the API.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
) -> Result<Response, HttpError> {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        return Err(HttpError::NotFound(
            "this server has no such resource; see /api/v1/{swarm,tally,models}",
        ));
    }
    let Some(page) = &app.page else {
        return Err(HttpError::NotFound("this server serves no page; start it with --page-dir"));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(HttpError::BadRequest("the page can only be read"));
    }
    if matches!(path, "/" | "/index.html") {
        return document(&app, page, &arrival, request.headers()).await;
    }
    if matches!(path, "/sites" | "/sites.html") {
        let document = page.sites().await.ok_or(HttpError::NotFound(NOT_BUILT))?;
        let mut response = document.html.answer(request.headers());
        guard_owners(response.headers_mut());
        return Ok(response);
    }
    let immutable = is_hashed(path);
    let mut files =
        ServeDir::new(page.folder()).append_index_html_on_directories(false).precompressed_br();
    let mut response = found(files.try_call(request).await, "the page has no such file")?;
    let caching = if immutable { FOR_EVER } else { HeaderValue::from_static("no-cache") };
    response.headers_mut().insert(header::CACHE_CONTROL, caching);
    // A worker's script comes with a policy of its own.
    let policy = document_policy(&app.config, &arrival, "");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

async fn document(
    app: &App,
    page: &PageIndex,
    arrival: &Arrival,
    asked: &HeaderMap,
) -> Result<Response, HttpError> {
    let document = page.document().await.ok_or(HttpError::NotFound(NOT_BUILT))?;
    let compressed = takes_brotli(asked);
    let rendered = if compressed { &document.brotli } else { &document.html };
    let mut response = rendered.answer(asked);
    let headers = response.headers_mut();
    if compressed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let policy = document_policy(&app.config, arrival, &document.script_hashes);
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// True if Brotli is accepted, and not with a weight of nothing.
pub(super) fn takes_brotli(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(|weight| weight.parse::<f32>());
        name.trim().eq_ignore_ascii_case("br") && !matches!(weight, Some(Ok(0.0) | Err(_)))
    })
}

/// True for names such as `style-0123456789abcdef.css` and `app-0123456789abcdef_bg.wasm`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let stem =
        ["_bg", "_loader", "_later"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    stem.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == HASH_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_hash_are_kept_for_ever() {
        for hashed in ["/style-0123456789abcdef.css", "/a/app-0123456789abcdef_bg.wasm"] {
            assert!(is_hashed(hashed), "{hashed}");
        }
        assert!(is_hashed("/potluck-node-0123456789abcdef_loader.js"));
        assert!(is_hashed("/potluck-app-0123456789abcdef_later.wasm"));
        for plain in ["/index.html", "/potluck-node.js", "/style-0123.css", "/potluck-node_bg.wasm"]
        {
            assert!(!is_hashed(plain), "{plain}");
        }
    }

    #[test]
    fn brotli_goes_to_whoever_takes_it() {
        let takes = |accepted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            takes_brotli(&headers)
        };
        assert!(takes("gzip, deflate, br, zstd") && takes("BR;q=0.5"));
        assert!(!takes("gzip") && !takes("br;q=0") && !takes("") && !takes("brr"));
        assert!(!takes_brotli(&HeaderMap::new()));
    }
}

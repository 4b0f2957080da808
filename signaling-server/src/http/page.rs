//! The page: the folder that `cargo xtask build` made, under a strict content security policy.
//!
//! The build starts the page's wasm from an inline script, whose hash goes into the policy, so that
//! no other inline script can run. Nothing here is cached without asking again, because the names of
//! the worker's files have no hash.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};
use tower_http::services::ServeDir;

use super::error::HttpError;
use crate::app::App;

/// Everything but the page's files.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, HttpError> {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        return Err(HttpError::NotFound(
            "this server has no such resource; see /api/v1/{swarm,tally,models}",
        ));
    }
    let Some(folder) = &app.config.page_dir else {
        return Err(HttpError::NotFound("this server serves no page; start it with --page-dir"));
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(HttpError::BadRequest("the page can only be read"));
    }
    // A path without a dot is a place in the page, not a file.
    if path == "/index.html" || !path.contains('.') {
        return index(folder).await;
    }
    let files = ServeDir::new(folder).precompressed_br().precompressed_gzip();
    let mut files = files;
    let response =
        files.try_call(request).await.map_err(|error| HttpError::Internal(error.into()))?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(HttpError::NotFound("the page has no such file"));
    }
    let mut response = response.into_response();
    guard(response.headers_mut(), "");
    Ok(response)
}

async fn index(folder: &Path) -> Result<Response, HttpError> {
    let html = tokio::fs::read_to_string(folder.join("index.html"))
        .await
        .map_err(|_| HttpError::NotFound("the page is not built yet; run `cargo xtask build`"))?;
    let hashes: String = inline_scripts(&html)
        .map(|script| format!(" 'sha256-{}'", BASE64.encode(&Sha256::digest(script.as_bytes()))))
        .collect();
    let mut response = Html(html).into_response();
    guard(response.headers_mut(), &hashes);
    Ok(response)
}

fn guard(headers: &mut HeaderMap, script_hashes: &str) {
    let policy = format!(
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'{script_hashes}; style-src 'self' 'unsafe-inline'; \
         img-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self'; object-src 'none'; base-uri 'self'; \
         form-action 'none'; frame-ancestors 'self'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

/// The text of every script element without a source.
fn inline_scripts(html: &str) -> impl Iterator<Item = &str> {
    html.split("<script").skip(1).filter_map(|rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (text, _) = rest.split_once("</script>")?;
        (!attributes.contains("src=") && !text.is_empty()).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inline_scripts_are_hashed() {
        let html = r#"<script type="module">a()</script><script src="b.js"></script><p>x</p><script>c()</script>"#;
        assert_eq!(inline_scripts(html).collect::<Vec<_>>(), ["a()", "c()"]);
    }
}

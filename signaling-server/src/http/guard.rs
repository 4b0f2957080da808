//! What every request must have, and every answer has: the right host, and the headers by which a
//! browser keeps the page to itself.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::HttpError;
use crate::app::App;
use crate::config::Config;
use crate::origin::Arrival;
use crate::page_index::Document;

/// Is asked by programs that know the server by any name.
pub(super) const HEALTH: &str = "/healthz";
/// On every answer.
const ALWAYS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
/// All that Chromium, Firefox and Safari know and a page could be made to ask for, but for the screen
/// that stays on where a volunteer wants it to. The page of site owners has passkeys as well.
macro_rules! permissions {
    ($passkeys:literal) => {
        HeaderValue::from_static(concat!(
            "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), ",
            "fullscreen=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), ",
            "midi=(), payment=(), picture-in-picture=(), publickey-credentials-get=(",
            $passkeys,
            "), screen-wake-lock=(self), serial=(), usb=(), xr-spatial-tracking=()",
        ))
    };
}
/// For whatever is no document of ours.
const NOTHING: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
/// Half a year of TLS only, without a word about other names of the domain.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=15552000");

pub(super) async fn guard(
    State(app): State<Arc<App>>,
    Extension(arrival): Extension<Arrival>,
    request: Request,
    next: Next,
) -> Response {
    let response = match app.config.origins.check_host(&arrival) {
        Err(sentence) if request.uri().path() != HEALTH => {
            HttpError::Misdirected(sentence).into_response()
        }
        _ => next.run(request).await,
    };
    with_headers(response, app.config.origins.is_secure(&arrival))
}

fn with_headers(mut response: Response, secure: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(PERMISSIONS).or_insert(permissions!(""));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    if secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
    response
}

/// What the page may do: its own files and socket, and WebAssembly. `script_hashes` are those of
/// its inline scripts.
pub(super) fn document_policy(
    config: &Config,
    arrival: &Arrival,
    script_hashes: &str,
) -> HeaderValue {
    let socket = socket_source(config, arrival);
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{script_hashes}; \
         style-src 'self'; img-src 'self' data:; connect-src 'self'{socket}; manifest-src 'self'; \
         worker-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'; \
         require-trusted-types-for 'script'; trusted-types default"
    );
    HeaderValue::from_str(&policy).unwrap_or(NOTHING)
}

/// What the widget's frame may do, in pages of these `ancestors` only.
pub(super) fn frame_policy(
    config: &Config,
    arrival: &Arrival,
    document: &Document,
    ancestors: &str,
) -> HeaderValue {
    let (scripts, styles) = (&document.script_hashes, &document.style_hashes);
    let socket = socket_source(config, arrival);
    let policy = format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{scripts}; style-src{styles}; \
         connect-src 'self'{socket}; worker-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors {ancestors}"
    );
    HeaderValue::from_str(&policy).unwrap_or(NOTHING)
}

/// What the page of site owners may do: its own files, a widget to look at, passkeys.
pub(super) fn guard_owners(headers: &mut HeaderMap) {
    headers.insert(PERMISSIONS, permissions!("self"));
    headers.insert(header::CONTENT_SECURITY_POLICY, OWNERS);
}

const OWNERS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// The server's own socket, after a blank: 'self' is not a WebSocket's origin in every browser.
fn socket_source(config: &Config, arrival: &Arrival) -> String {
    let host = arrival.host.as_deref().filter(|host| host.bytes().all(is_of_a_host));
    let scheme = if config.origins.is_secure(arrival) { "wss" } else { "ws" };
    host.map(|host| format!(" {scheme}://{host}")).unwrap_or_default()
}

/// A host that is anything else does not get into the policy.
fn is_of_a_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
}

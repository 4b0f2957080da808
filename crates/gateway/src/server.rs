//! Routes, keys and limits.
//!
//! Without a key the gateway answers whoever can reach it, so it is for this machine alone. Pages in a
//! browser on this machine can reach it too: a request that comes from a page is answered only if that
//! page is served from this machine itself, or has the key.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::error::{ApiError, Dialect};
use crate::fields::Ignored;
use crate::node::Swarm;
use crate::ollama::Kind;
use crate::{anthropic, ollama, openai};

/// How a gateway is run.
#[derive(Clone, Default)]
pub struct Settings {
    /// Whoever asks has to know it; none: whoever is on this machine may ask.
    pub api_key: Option<String>,
}

impl core::fmt::Debug for Settings {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Settings").field("has_key", &self.api_key.is_some()).finish()
    }
}

/// Bytes of a request's body at most: four times what a conversation may have, as JSON spells letters
/// in up to six.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Bytes that are read of one at most, so that a client with too large a body hears so; then the
/// connection is closed.
const MAX_READ_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Gateway {
    swarm: Swarm,
    settings: Settings,
}

/// What every body of one answer says.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) model: String,
    /// Names the model's weights and the arithmetic: who has the same gets the same answer from a seed.
    fingerprint: Option<String>,
    /// What a protocol says besides.
    pub(crate) more: Value,
}

impl Head {
    pub(crate) fn new(prefix: &str, swarm: &Swarm, asked: Option<&str>) -> Self {
        let models = swarm.models();
        let model = match asked {
            Some(name) => models.iter().find(|model| model.name == name),
            None => models.first(),
        };
        let name = model.map(|model| model.name.clone());
        let numerics = potluck_protocol::NUMERICS_VERSION;
        let fingerprint = model.map(|model| {
            let id = model.id.to_string();
            format!("potluck-{numerics}-{}", id.get(..16).unwrap_or(&id))
        });
        let number = getrandom::u64().unwrap_or_default();
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            id: format!("{prefix}-{number:016x}"),
            created: since_1970.as_secs(),
            model: name.unwrap_or_else(|| asked.unwrap_or_default().to_owned()),
            fingerprint,
            more: json!({}),
        }
    }

    /// A body of a kind, without what is in it.
    pub(crate) fn body(&self, object: &str) -> Value {
        let mut body = json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        });
        if let (Some(body), Some(more)) = (body.as_object_mut(), self.more.as_object()) {
            body.extend(more.clone());
        }
        body
    }

    /// What the one item of the output is called.
    pub(crate) fn item(&self) -> String {
        format!("msg_{}", self.id)
    }

    /// As Ollama writes times.
    pub(crate) fn created_at(&self) -> String {
        let seconds = i64::try_from(self.created).unwrap_or_default();
        let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }
}

/// Says which fields nobody knew.
pub(crate) fn ignoring(mut response: Response, ignored: &Ignored) -> Response {
    if let Some(names) = ignored.header() {
        response.headers_mut().insert("x-potluck-ignored", names);
    }
    response
}

/// Serves programs until `until` is over.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    swarm: Swarm,
    settings: Settings,
    until: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = router(swarm, settings);
    axum::serve(listener, router).with_graceful_shutdown(until).await
}

/// A way to what answers a body.
macro_rules! answered {
    ($dialect:expr, $answer:expr) => {
        post(|State(gateway): State<Arc<Gateway>>, request: Request| async move {
            let body = match body(request).await {
                Ok(body) => body,
                Err(error) => return error.response($dialect),
            };
            let answer = $answer;
            answer(gateway.swarm.clone(), body)
                .await
                .unwrap_or_else(|error: ApiError| error.response($dialect))
        })
    };
}

pub(crate) fn router(swarm: Swarm, settings: Settings) -> Router {
    let gateway = Arc::new(Gateway { swarm, settings });
    let open_ai = Dialect::OpenAi;
    Router::new()
        .route(
            "/v1/chat/completions",
            answered!(Dialect::OpenAi, |swarm, body: Bytes| async move {
                openai::chat::chat(swarm, &body).await
            }),
        )
        .route(
            "/v1/completions",
            answered!(Dialect::OpenAi, |swarm, body: Bytes| async move {
                openai::completions::completions(swarm, &body).await
            }),
        )
        .route(
            "/v1/responses",
            answered!(Dialect::OpenAi, |swarm, body: Bytes| async move {
                openai::responses::responses(swarm, &body).await
            }),
        )
        .route(
            "/v1/messages",
            answered!(Dialect::Anthropic, |swarm, body: Bytes| async move {
                anthropic::messages(swarm, &body).await
            }),
        )
        .route(
            "/v1/messages/count_tokens",
            answered!(Dialect::Anthropic, |swarm, body: Bytes| async move {
                anthropic::count_tokens(swarm, &body).await
            }),
        )
        .route(
            "/api/chat",
            answered!(Dialect::Ollama, |swarm, body: Bytes| async move {
                ollama::answer(swarm, Kind::Chat, &body).await
            }),
        )
        .route(
            "/api/generate",
            answered!(Dialect::Ollama, |swarm, body: Bytes| async move {
                ollama::answer(swarm, Kind::Generate, &body).await
            }),
        )
        .route(
            "/api/show",
            answered!(Dialect::Ollama, |swarm: Swarm, body: Bytes| async move {
                ollama::show(&swarm, &body).map(|shown| Json(shown).into_response())
            }),
        )
        .route(
            "/api/tags",
            get(async |State(gateway): State<Arc<Gateway>>| Json(ollama::tags(&gateway.swarm))),
        )
        .route("/api/version", get(async || Json(ollama::version())))
        .route(
            "/v1/models",
            get(async |State(gateway): State<Arc<Gateway>>| {
                Json(openai::models::list(&gateway.swarm))
            }),
        )
        .route(
            "/v1/models/{name}",
            get(async move |State(gateway): State<Arc<Gateway>>, Path(name): Path<String>| {
                match openai::models::one(&gateway.swarm, &name) {
                    Ok(model) => Json(model).into_response(),
                    Err(error) => error.response(open_ai),
                }
            }),
        )
        .route(
            "/metrics",
            get(async |State(gateway): State<Arc<Gateway>>| gateway.swarm.metrics().text()),
        )
        .fallback(async move |uri: Uri| {
            let message = format!("there is nothing at {}", uri.path());
            ApiError::not_found(message).response(dialect(&uri))
        })
        .method_not_allowed_fallback(async move |method: Method, uri: Uri| {
            let message = format!("{method} is not what {} takes", uri.path());
            let status = StatusCode::METHOD_NOT_ALLOWED;
            ApiError { status, ..ApiError::bad(message) }.response(dialect(&uri))
        })
        .layer(from_fn_with_state(Arc::clone(&gateway), guard))
        // Whoever watches a gateway needs no key to see that it is there.
        .route("/healthz", get(health))
        .with_state(gateway)
}

/// Whose shapes are used under a path.
fn dialect(uri: &Uri) -> Dialect {
    if uri.path().starts_with("/api/") {
        Dialect::Ollama
    } else if uri.path().starts_with("/v1/messages") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

async fn health(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.swarm.trouble() {
        None => Json(json!({ "status": "ok" })).into_response(),
        Some(reason) => {
            let body = json!({ "status": "no connection to the server", "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn body(request: Request) -> Result<Bytes, ApiError> {
    let mut chunks = request.into_body().into_data_stream();
    let (mut body, mut read) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad("the request's body broke off"))?;
        read += chunk.len();
        if read > MAX_READ_BYTES {
            break;
        }
        // What is too much is read on, and let go: a client that is still writing hears no answer.
        if read <= MAX_BODY_BYTES {
            body.extend_from_slice(&chunk);
        }
    }
    if read > MAX_BODY_BYTES { Err(ApiError::too_large(MAX_BODY_BYTES)) } else { Ok(body.into()) }
}

/// Lets those pass who may ask, and counts.
async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let metrics = gateway.swarm.metrics();
    metrics.note_request();
    let dialect = dialect(request.uri());
    let has_key = gateway.settings.api_key.as_deref().map(|key| shows(request.headers(), key));
    let allowed = match has_key {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::unauthorized()),
        None => is_from_here(request.headers()),
    };
    let response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => error.response(dialect),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        metrics.note_refused();
    }
    response
}

/// True if the key is shown, in either of the ways that clients have.
fn shows(headers: &HeaderMap, key: &str) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let other = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    bearer.into_iter().chain(other).any(|shown| is_same(shown.as_bytes(), key.as_bytes()))
}

/// Compares in a time that does not depend on where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    a.len() == b.len() && differences == 0
}

/// Without a key: the request names this machine, and no page from elsewhere makes it.
fn is_from_here(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_here = |value: &HeaderValue| {
        let authority = value.to_str().unwrap_or_default();
        let authority = authority.split_once("://").map_or(authority, |(_, rest)| rest);
        let host = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_loopback =
            host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        is_loopback || host.eq_ignore_ascii_case("localhost")
    };
    let named = headers.get(header::HOST).is_none_or(is_here);
    let asked_by_page = headers.get(header::ORIGIN).is_some_and(|origin| !is_here(origin));
    if named && !asked_by_page {
        return Ok(());
    }
    let message = "without a key this gateway is for programs on its own machine; start it with --api-key, \
                   and send that key, to use it from elsewhere";
    Err(ApiError { status: StatusCode::FORBIDDEN, ..ApiError::bad(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn pages_from_elsewhere_may_not_ask_without_a_key() {
        for fine in [
            headers(&[]),
            headers(&[("host", "127.0.0.1:11435")]),
            headers(&[("host", "[::1]:11435")]),
            headers(&[("host", "localhost:11435"), ("origin", "http://localhost:3000")]),
        ] {
            assert!(is_from_here(&fine).is_ok(), "{fine:?}");
        }
        for foreign in [
            headers(&[("host", "rebound.example:11435")]),
            headers(&[("host", "127.0.0.1:11435"), ("origin", "https://page.example")]),
            headers(&[("host", "127.0.0.1:11435"), ("origin", "null")]),
            headers(&[("host", "127.0.0.1.page.example")]),
        ] {
            let error = is_from_here(&foreign).unwrap_err();
            assert_eq!(error.status, StatusCode::FORBIDDEN, "{foreign:?}");
        }
    }

    #[test]
    fn a_key_is_shown_in_either_way() {
        assert!(shows(&headers(&[("authorization", "Bearer secret")]), "secret"));
        assert!(shows(&headers(&[("x-api-key", "secret")]), "secret"));
        for wrong in [
            headers(&[]),
            headers(&[("authorization", "secret")]),
            headers(&[("authorization", "Bearer secre")]),
            headers(&[("x-api-key", "secrets")]),
            headers(&[("x-api-key", "")]),
        ] {
            assert!(!shows(&wrong, "secret"), "{wrong:?}");
        }
    }
}

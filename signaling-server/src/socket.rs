//! One WebSocket: origin, permit, handshake, then messages to the hub and back, until either side
//! ends it.
//!
//! Whatever is wrong ends this connection with a sentence, and disturbs no other.

mod exchange;
mod frames;
mod handshake;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use tokio::sync::mpsc;

use crate::app::App;
use crate::http::error::HttpError;
use crate::hub::OUTBOX;
use exchange::exchange;
use handshake::handshake;

/// `GET /api/v1/socket`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Result<Response, HttpError> {
    check_origin(&headers, &app.config.allow_origins)?;
    let permit =
        app.limiter.acquire(peer.ip()).map_err(|limit| HttpError::Busy(limit.sentence()))?;
    let socket =
        socket.max_message_size(MAX_SERVER_MESSAGE_BYTES).max_frame_size(MAX_SERVER_MESSAGE_BYTES);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.to_ascii_lowercase();
    Ok(socket.on_upgrade(move |socket| async move {
        let _permit = permit;
        serve(socket, app, &host).await;
    }))
}

/// A browser's page must be this server's own or allowed by name; programs send no origin. Browsers
/// send an origin without path or default port, so comparing texts is enough.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), HttpError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = origin
        .split_once("://")
        .is_some_and(|(_, authority)| !host.is_empty() && authority == host);
    if own || allowed.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        return Ok(());
    }
    Err(HttpError::Forbidden(
        "pages of this origin may not connect; the server's operator can allow it with \
         --allow-origin",
    ))
}

async fn serve(mut socket: WebSocket, app: Arc<App>, host: &str) {
    let timeouts = app.config.timeouts;
    let node = match handshake(&mut socket, &app, host).await {
        Ok(node) => node,
        Err(end) => return frames::finish(socket, end, timeouts.send).await,
    };
    let (outbox, mut inbox) = mpsc::channel(OUTBOX);
    let verdicts = outbox.downgrade();
    let connection = app.hub.join(node, outbox).await;
    let end = exchange(&mut socket, &app, (node, connection), &verdicts, &mut inbox).await;
    app.hub.leave(node, connection).await;
    frames::finish(socket, end, timeouts.send).await;
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_own_and_allowed_origins_may_connect() {
        let allowed = ["https://blog.example".to_owned()];
        for good in [None, Some("http://127.0.0.1:8080"), Some("https://blog.example")] {
            assert!(check_origin(&headers(good), &allowed).is_ok(), "{good:?}");
        }
        for bad in [Some("http://127.0.0.1"), Some("https://evil.example"), Some("null"), Some("")]
        {
            assert!(check_origin(&headers(bad), &allowed).is_err(), "{bad:?}");
        }
    }
}

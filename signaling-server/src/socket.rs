//! One WebSocket: origin, permit, handshake, then messages to the hub and back, until either side
//! ends it.
//!
//! Whatever is wrong ends this connection with a sentence and with when to come back, and disturbs no
//! other. A browser sees nothing of a refused upgrade, so those who cannot be let in are told on a
//! socket too, as long as they are few at a time.
//!
//! | file | what |
//! |---|---|
//! | `handshake` | versions, challenge, proof, welcome |
//! | `exchange` | messages of a proved node |
//! | `silence`, `rate` | when a node counts as gone, and how often it may say what |
//! | `receipts` | from a receipt to its verdict |
//! | `frames` | messages as frames, and the last one |
//! | `open` | how many are open |

mod exchange;
mod frames;
mod handshake;
mod open;
mod rate;
mod receipts;
mod silence;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use potluck_protocol::id::NodeId;
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::ending::Ending;
use crate::http::error::HttpError;
use crate::hub::{Link, OUTBOX};
use crate::scheduler::Standing;
use exchange::{FromHub, exchange};
use handshake::handshake;
use open::Open;

pub(crate) use open::Sockets;

/// Bytes that are read and written at a time. A WebSocket keeps a buffer of that size for ever, and
/// hardly any message is longer; one that is makes the buffer grow.
const SOCKET_BUFFER_BYTES: usize = 2 * 1024;
/// How long what a node has earned is looked for before it joins without.
const STANDING_LIMIT: Duration = Duration::from_secs(1);

/// `GET /api/v1/socket`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Result<Response, HttpError> {
    let socket = socket
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES)
        .max_message_size(MAX_SERVER_MESSAGE_BYTES)
        .max_frame_size(MAX_SERVER_MESSAGE_BYTES);
    let permit = check_origin(&headers, &app.config.allow_origins).and_then(|()| {
        app.limiter.acquire(peer.ip()).map_err(|limit| Ending::busy(limit.sentence()))
    });
    let permit = match permit {
        Ok(permit) => permit,
        Err(ending) => return turn_away(app, socket, ending),
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.to_ascii_lowercase();
    let address = peer.ip();
    Ok(socket.on_upgrade(move |mut socket| async move {
        let _open = Open::new(Arc::clone(&app));
        let _permit = permit;
        let is_own = |origin: &str| is_own_origin(origin, &host);
        // Boxed: what takes a moment should not take room for as long as the connection lasts.
        let ending = match Box::pin(handshake(&mut socket, &app, is_own)).await {
            Ok(node) => {
                let credited_macs = Box::pin(earned(&app, node)).await;
                let standing = Standing { credited_macs, address: Some(address) };
                serve(&mut socket, &app, node, standing).await
            }
            Err(ending) => ending,
        };
        Box::pin(frames::finish(&mut socket, ending)).await;
    }))
}

/// True if what a node dialled is this server: the host that its request named, if that is an address
/// or this machine, which nobody can make lead elsewhere.
fn is_own_origin(dialled: &str, host: &str) -> bool {
    let Some((_, authority)) = dialled.split_once("://") else { return false };
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    let is_address = || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    authority == host && (name == "localhost" || is_address())
}

/// Lets the socket be opened, and closes it with the sentence, as far as there is room for that.
fn turn_away(
    app: Arc<App>,
    socket: WebSocketUpgrade,
    ending: Ending,
) -> Result<Response, HttpError> {
    let Some(room) = app.sockets.turn_away() else {
        return Err(HttpError::Busy("this server turns many away now; try again later"));
    };
    Ok(socket.on_upgrade(move |mut socket| async move {
        let _open = Open::new(app);
        let _room = room;
        frames::finish(&mut socket, ending).await;
    }))
}

/// A browser's page must be this server's own or allowed by name; programs send no origin. Browsers
/// send an origin without path or default port, so comparing texts is enough.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Ending> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = origin
        .split_once("://")
        .is_some_and(|(_, authority)| !host.is_empty() && authority == host);
    if own || allowed.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        return Ok(());
    }
    Err(Ending::later(
        "pages of this origin may not connect; the server's operator can allow it with \
         --allow-origin",
    ))
}

/// What a node has earned so far; a disk that fails keeps nobody out.
async fn earned(app: &App, node: NodeId) -> u64 {
    match tokio::time::timeout(STANDING_LIMIT, app.store.earned_macs(node)).await {
        Ok(Ok(macs)) => macs,
        Ok(Err(error)) => {
            tracing::warn!(%error, "could not read what a node has earned");
            0
        }
        Err(_) => {
            tracing::warn!("the database is too slow to say what a node has earned");
            0
        }
    }
}

/// From the proof of the key to the end.
async fn serve(socket: &mut WebSocket, app: &Arc<App>, node: NodeId, standing: Standing) -> Ending {
    let (outbox, inbox) = mpsc::channel(OUTBOX);
    let answers = outbox.downgrade();
    let (end, ended) = oneshot::channel();
    let member = app.hub.join(node, standing, Link { outbox, end }).await;
    let from_hub = FromHub { inbox, answers, end: ended };
    let ending = exchange(socket, app, &member, from_hub).await;
    member.leave().await;
    ending
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

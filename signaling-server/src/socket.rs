//! One WebSocket: origin, counts, handshake, then messages to the hub and back, until either side
//! ends it.
//!
//! Whatever is wrong ends this connection with a sentence, and disturbs no other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use governor::{Quota, RateLimiter};
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, clip_reason, decode_to_server, encode};
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Purpose, verify};
use potluck_protocol::server::{FromServer, ToServer, Verdict, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, timeout};

use crate::http::error::HttpError;
use crate::hub::OUTBOX;
use crate::scheduler::Event;
use crate::server::App;
use crate::store::Credit;

/// From the open socket to the proof: a slow phone on a slow network, not a slowloris.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(2);
/// Silence after which it is not: an requester must learn within 5 s that a node is gone.
const SILENCE: Duration = Duration::from_millis(4_500);
/// How long one message may take to leave; slower readers are let go.
const SEND: Duration = Duration::from_secs(5);

/// Counts open connections.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    open: Mutex<HashMap<IpAddr, usize>>,
    next: AtomicU64,
}

/// One place, given back when dropped.
struct Place {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Doors {
    fn enter(self: &Arc<Self>, address: IpAddr, app: &App) -> Result<Place, HttpError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= app.config.max_connections {
            return Err(HttpError::Busy(
                "this server has no more room for connections; try again later",
            ));
        }
        let count = open.entry(address).or_default();
        if *count >= app.config.max_connections_per_address {
            return Err(HttpError::Busy("too many connections from this address"));
        }
        *count += 1;
        Ok(Place { doors: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.doors.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// `GET /api/v1/socket`.
pub(crate) async fn upgrade(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Result<Response, HttpError> {
    check_origin(&headers, &app.config.allow_origins)?;
    let place = app.doors.enter(peer.ip(), &app)?;
    let socket =
        socket.max_message_size(MAX_SERVER_MESSAGE_BYTES).max_frame_size(MAX_SERVER_MESSAGE_BYTES);
    Ok(socket.on_upgrade(move |socket| async move {
        let _place = place;
        converse(socket, app).await;
    }))
}

/// A browser's page must be this server's own or allowed by name; programs send no origin.
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
        "pages of this origin may not connect; the server's operator can allow it with --allow-origin",
    ))
}

/// Why a conversation ends.
enum End {
    /// The other side went, or nothing can be sent any more.
    Gone,
    /// The server ends it, with a sentence.
    Refused(String),
}

async fn converse(mut socket: WebSocket, app: Arc<App>) {
    let handshake = timeout(HANDSHAKE, shake_hands(&mut socket, &app)).await;
    let node = match handshake
        .unwrap_or_else(|_| Err(End::Refused("the handshake took too long".to_owned())))
    {
        Ok(node) => node,
        Err(end) => return finish(socket, end).await,
    };
    let connection = app.doors.next.fetch_add(1, Ordering::Relaxed);
    let (outbox, mut inbox) = mpsc::channel(OUTBOX);
    app.hub.join(node, connection, outbox.clone()).await;
    let end = exchange(&mut socket, &app, node, connection, &outbox, &mut inbox).await;
    app.hub.left(node, connection).await;
    finish(socket, end).await;
}

async fn shake_hands(socket: &mut WebSocket, app: &App) -> Result<NodeId, End> {
    let ToServer::Hello { protocol, numerics, node } = receive(socket).await? else {
        return Err(End::Refused("the first message must be Hello".to_owned()));
    };
    if (protocol, numerics) != (PROTOCOL_VERSION, NUMERICS_VERSION) {
        return Err(End::Refused(format!(
            "this server speaks protocol {PROTOCOL_VERSION} and numerics {NUMERICS_VERSION}, you speak {protocol} and {numerics}; \
             reload the page, or update potluck-node"
        )));
    }
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)
        .map_err(|_| End::Refused("the server has no randomness".to_owned()))?;
    send(socket, &FromServer::Challenge { nonce }).await?;
    let ToServer::Prove { signature } = receive(socket).await? else {
        return Err(End::Refused("the challenge must be answered first".to_owned()));
    };
    if !verify(node, Purpose::Challenge, &challenge_bytes(&nonce, node), &signature) {
        return Err(End::Refused("the signature does not prove the key".to_owned()));
    }
    send(
        socket,
        &FromServer::Welcome { ice_servers: app.ice_servers(), models: app.models.summaries() },
    )
    .await?;
    Ok(node)
}

async fn exchange(
    socket: &mut WebSocket,
    app: &App,
    node: NodeId,
    connection: u64,
    outbox: &mpsc::Sender<FromServer>,
    inbox: &mut mpsc::Receiver<FromServer>,
) -> End {
    let rate =
        NonZeroU32::new(app.config.max_messages_per_second.max(1)).unwrap_or(NonZeroU32::MIN);
    let limiter = RateLimiter::direct(
        Quota::per_second(rate).allow_burst(rate.saturating_mul(NonZeroU32::MIN.saturating_add(3))),
    );
    let mut heard = Instant::now();
    let mut pings = interval(PING_EVERY);
    let end = async {
        loop {
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return Err(End::Gone) };
                    if let FromServer::Refused { reason } = message {
                        return Err(End::Refused(reason));
                    }
                    send(socket, &message).await?;
                }
                received = socket.recv() => {
                    heard = Instant::now();
                    match received {
                        Some(Ok(Message::Binary(bytes))) => {
                            if limiter.check().is_err() {
                                return Err(End::Refused(format!("more than {rate} messages a second")));
                            }
                            take(app, node, connection, outbox, &bytes).await?;
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Text(_))) => {
                            return Err(End::Refused("messages are binary".to_owned()));
                        }
                        Some(Err(error)) => return Err(unreadable(&error)),
                        Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE {
                        return Err(End::Refused("no sign of life".to_owned()));
                    }
                    transmit(socket, Message::Ping(axum::body::Bytes::new())).await?;
                }
            }
        }
    };
    let ended: Result<std::convert::Infallible, End> = end.await;
    match ended {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn take(
    app: &App,
    node: NodeId,
    connection: u64,
    outbox: &mpsc::Sender<FromServer>,
    bytes: &[u8],
) -> Result<(), End> {
    let message = decode_to_server(bytes).map_err(|error| End::Refused(error.to_string()))?;
    let event = match message {
        ToServer::Hello { .. } | ToServer::Prove { .. } => {
            return Err(End::Refused("the handshake is over".to_owned()));
        }
        ToServer::Signal { to, signal } => {
            app.hub.signal(node, to, signal).await;
            return Ok(());
        }
        ToServer::Receipt(signed) => {
            let receipt = signed.receipt.id();
            let verdict = match app.store.credit(&signed, node, &app.models).await {
                Ok(Credit::Credited(balance_macs)) => Verdict::Credited { balance_macs },
                Ok(Credit::Refused(reason)) => Verdict::Refused { reason },
                Err(error) => {
                    tracing::error!(%error, "a receipt could not be credited now");
                    Verdict::TryAgain
                }
            };
            return outbox
                .try_send(FromServer::ReceiptResult { receipt, verdict })
                .map_err(|_| End::Gone);
        }
        ToServer::Register(capabilities) => {
            if let Err(error) = app.store.save_kind(node, capabilities.kind).await {
                tracing::warn!(%error, "could not keep a node's kind");
            }
            Event::Register(capabilities)
        }
        ToServer::Deregister => Event::Deregister,
        ToServer::LayersReady { model, layers } => Event::LayersReady { model, layers },
        ToServer::Ask { request, model, exclude } => Event::Ask { request, model, exclude },
        ToServer::Cancel { request } => Event::Cancel { request },
        ToServer::EndSession { session, reason, failed_node } => {
            Event::EndSession { session, reason, failed_node }
        }
        ToServer::Report(report) => Event::Report(report),
    };
    app.hub.event(node, connection, event).await;
    Ok(())
}

async fn receive(socket: &mut WebSocket) -> Result<ToServer, End> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Binary(bytes))) => {
                return decode_to_server(&bytes).map_err(|error| End::Refused(error.to_string()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(_))) => {
                return Err(End::Refused("messages are binary".to_owned()));
            }
            Some(Err(error)) => return Err(unreadable(&error)),
            Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
        }
    }
}

/// A frame over the size limit comes as an error; so does a broken connection, to which the
/// sentence is lost.
fn unreadable(error: &axum::Error) -> End {
    End::Refused(clip_reason(&format!(
        "unreadable: {error}; at most {MAX_SERVER_MESSAGE_BYTES} bytes a message"
    )))
}

async fn send(socket: &mut WebSocket, message: &FromServer) -> Result<(), End> {
    transmit(socket, Message::Binary(encode(message).into())).await
}

async fn transmit(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

async fn finish(mut socket: WebSocket, end: End) {
    if let End::Refused(reason) = end {
        tracing::info!(reason, "closing a connection");
        // Either may fail: the other side may be gone already.
        let _ = send(&mut socket, &FromServer::Refused { reason: clip_reason(&reason) }).await;
        // A close frame carries at most 123 bytes.
        let mut end = reason.len().min(120);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code: close_code::POLICY, reason: reason[..end].into() };
        let _ = transmit(&mut socket, Message::Close(Some(frame))).await;
    }
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

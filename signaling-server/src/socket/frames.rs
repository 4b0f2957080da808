//! Messages of the protocol as frames of a WebSocket, and how a connection ends.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, clip_reason, decode_to_server, encode};
use potluck_protocol::server::{FromServer, ToServer};
use tokio::time::timeout;

/// Bytes of a sentence that a close frame can carry: 123, less some to spare.
const MAX_CLOSE_REASON_BYTES: usize = 120;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The other side went, or nothing can be sent any more.
    Gone,
    /// The server ends it, with a sentence.
    Refused(String),
}

/// One frame as it came in.
#[derive(Debug)]
pub(super) enum Received {
    /// A message of the protocol, not decoded yet.
    Message(Bytes),
    /// A sign of life without content.
    Ping,
}

/// The next frame; an error ends the connection.
pub(super) async fn receive_frame(socket: &mut WebSocket) -> Result<Received, End> {
    match socket.recv().await {
        Some(Ok(Message::Binary(bytes))) => Ok(Received::Message(bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Ping),
        Some(Ok(Message::Text(_))) => Err(End::Refused("messages are binary".to_owned())),
        // A frame over the size limit comes as an error. So does a broken connection, which the
        // sentence does not reach.
        Some(Err(error)) => Err(End::Refused(clip_reason(&format!(
            "unreadable: {error}; at most {MAX_SERVER_MESSAGE_BYTES} bytes a message"
        )))),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
    }
}

/// The next message, whatever signs of life come before it.
pub(super) async fn receive(socket: &mut WebSocket) -> Result<ToServer, End> {
    loop {
        if let Received::Message(bytes) = receive_frame(socket).await? {
            return decode(&bytes);
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<ToServer, End> {
    decode_to_server(bytes).map_err(|error| End::Refused(error.to_string()))
}

pub(super) async fn send(
    socket: &mut WebSocket,
    message: &FromServer,
    limit: Duration,
) -> Result<(), End> {
    send_frame(socket, Message::Binary(encode(message).into()), limit).await
}

pub(super) async fn send_ping(socket: &mut WebSocket, limit: Duration) -> Result<(), End> {
    send_frame(socket, Message::Ping(Bytes::new()), limit).await
}

async fn send_frame(socket: &mut WebSocket, frame: Message, limit: Duration) -> Result<(), End> {
    match timeout(limit, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

/// Says why, if the server ends the connection, and closes it.
pub(super) async fn finish(mut socket: WebSocket, end: End, limit: Duration) {
    let End::Refused(reason) = end else { return };
    tracing::info!(reason, "closing a connection");
    // Either may fail: the other side may be gone already.
    let refused = FromServer::Refused { reason: clip_reason(&reason), retry_after_ms: None };
    let _ = send(&mut socket, &refused, limit).await;
    let mut end = reason.len().min(MAX_CLOSE_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: close_code::POLICY, reason: reason[..end].into() };
    let _ = send_frame(&mut socket, Message::Close(Some(frame)), limit).await;
}

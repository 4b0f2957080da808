//! Messages of the protocol as frames of a WebSocket, and how a connection ends.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::SinkExt as _;
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, clip_reason, decode_to_server, encode};
use potluck_protocol::server::{FromServer, ToServer};
use tokio::time::timeout;

use crate::ending::Ending;

/// Bytes of a sentence that a close frame can carry: 123, less some to spare.
const MAX_CLOSE_REASON_BYTES: usize = 120;
/// How long the other side may take to close after it was told why. Were the socket closed at once,
/// what it still sends would make its system throw away the sentence that it has not read yet.
const LINGER: Duration = Duration::from_secs(1);
/// How long the last sentence may take to be sent. One who did not read before may not read it either,
/// and must not hold the connection by that.
const PARTING: Duration = Duration::from_secs(2);

/// One frame as it came in.
#[derive(Debug)]
pub(super) enum Received {
    /// A message of the protocol, not decoded yet.
    Message(Bytes),
    /// A sign of life without content.
    Ping,
}

/// The next frame; an error ends the connection. Nothing is lost if this is dropped.
pub(super) async fn receive_frame(socket: &mut WebSocket) -> Result<Received, Ending> {
    match socket.recv().await {
        Some(Ok(Message::Binary(bytes))) => Ok(Received::Message(bytes)),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Ping),
        Some(Ok(Message::Text(_))) => Err(Ending::later("messages are binary")),
        // A frame over the size limit comes as an error. So does a broken connection, which the
        // sentence does not reach.
        Some(Err(error)) => Err(Ending::later(format!(
            "unreadable: {error}; at most {MAX_SERVER_MESSAGE_BYTES} bytes a message"
        ))),
        Some(Ok(Message::Close(_))) | None => Err(Ending::Gone),
    }
}

/// The next message, whatever signs of life come before it.
pub(super) async fn receive(socket: &mut WebSocket) -> Result<ToServer, Ending> {
    loop {
        if let Received::Message(bytes) = receive_frame(socket).await? {
            return decode(&bytes);
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<ToServer, Ending> {
    decode_to_server(bytes).map_err(|error| Ending::later(error.to_string()))
}

/// Sends a message, and with it those that `more` gives.
pub(super) async fn send(
    socket: &mut WebSocket,
    message: &FromServer,
    mut more: impl FnMut() -> Option<Box<FromServer>>,
    limit: Duration,
) -> Result<(), Ending> {
    let sending = async {
        socket.feed(Message::Binary(encode(message).into())).await?;
        while let Some(message) = more() {
            socket.feed(Message::Binary(encode(&*message).into())).await?;
        }
        socket.flush().await
    };
    match timeout(limit, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::Gone),
        Err(_) => Err(Ending::soon("this connection did not read what the server sent")),
    }
}

/// Says why, if the server ends the connection, and closes it, within a few seconds.
pub(super) async fn finish(socket: &mut WebSocket, ending: Ending) {
    let Ending::Refused { reason, retry_after } = ending else { return };
    tracing::info!(reason, "closing a connection");
    let retry_after_ms =
        retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX));
    let refused = FromServer::Refused { reason: clip_reason(&reason), retry_after_ms };
    let mut end = reason.len().min(MAX_CLOSE_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let frame = CloseFrame { code: close_code::POLICY, reason: reason[..end].into() };
    let telling = async {
        socket.feed(Message::Binary(encode(&refused).into())).await?;
        socket.send(Message::Close(Some(frame))).await
    };
    // It may fail: the other side may be gone already.
    if let Ok(Ok(())) = timeout(PARTING, telling).await {
        // Until it closes too; what it says until then is nothing any more.
        let closing = async { while let Some(Ok(_)) = socket.recv().await {} };
        let _ = timeout(LINGER, closing).await;
    }
}

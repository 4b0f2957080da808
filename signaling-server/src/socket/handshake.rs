//! The first four messages of a connection: versions, challenge, proof, welcome.

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Purpose, verify};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use tokio::time::timeout;

use super::frames::{receive, send};
use crate::app::App;
use crate::calendar::unix_now_s;
use crate::ending::Ending;
use crate::hub::Number;
use crate::rooms::{Room, RoomError};

/// Who is at the other end, proved.
#[derive(Debug)]
pub(super) struct Proved {
    pub(super) node: NodeId,
    /// Which of its connections this is.
    pub(super) connection: Number,
    /// This server, as the node dialled it.
    pub(super) origin: String,
    /// Where it wants to be.
    pub(super) room: Arc<Room>,
    /// When it has to leave, seconds since 1970, where its room has a list.
    pub(super) until_s: Option<u64>,
}

/// Lets a node prove its key, within the handshake's time limit. `is_own` says whether an origin is
/// one of this server's, for this connection.
pub(super) async fn handshake(
    socket: &mut WebSocket,
    app: &App,
    is_own: impl Fn(&str) -> bool,
) -> Result<Proved, Ending> {
    timeout(app.config.timeouts.handshake, prove(socket, app, is_own))
        .await
        .unwrap_or_else(|_| Err(Ending::soon("the handshake took too long")))
}

async fn prove(
    socket: &mut WebSocket,
    app: &App,
    is_own: impl Fn(&str) -> bool,
) -> Result<Proved, Ending> {
    let timeouts = app.config.timeouts;
    let ToServer::Hello { protocol, numerics, node } = receive(socket).await? else {
        return Err(Ending::later("the first message must be Hello"));
    };
    if (protocol, numerics) != (PROTOCOL_VERSION, NUMERICS_VERSION) {
        return Err(Ending::for_good(format!(
            "this server speaks protocol {PROTOCOL_VERSION} and numerics {NUMERICS_VERSION}, you \
             speak {protocol} and {numerics}; reload the page, or update potluck-node"
        )));
    }
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Ending::busy("the server has no randomness"))?;
    send(socket, &FromServer::Challenge { nonce }, || None, timeouts.send).await?;
    let ToServer::Prove { origin, signature, room } = receive(socket).await? else {
        return Err(Ending::later("the challenge must be answered first"));
    };
    // Otherwise a server that a node dials could pass our challenge on to it, and its answer to us.
    if !is_own(&origin) {
        return Err(Ending::later(format!(
            "you dialled {origin:?}, which this server does not know as its own; if it is, its \
             operator can say so with --public-origin {origin}"
        )));
    }
    if !verify(node, Purpose::Challenge, &challenge_bytes(&nonce, node, &origin), &signature) {
        return Err(Ending::later("the signature does not prove the key"));
    }
    if let Some(Err(fault)) = room.as_ref().map(|entry| entry.check(node, unix_now_s())) {
        return Err(Ending::for_good(format!(
            "{fault}; have whoever made the room let you in by a code, or put your key there on the \
             list: {node}"
        )));
    }
    let until_s = room.as_ref().and_then(|entry| entry.until_s());
    let pass = room.map(|entry| entry.pass);
    let room = app.rooms.enter(pass).map_err(|error| match error {
        RoomError::NoSuchModel => Ending::for_good(error.to_string()),
        RoomError::TooMany | RoomError::NoRandomness => Ending::busy(error.to_string()),
    })?;
    let welcome = FromServer::Welcome {
        ice_servers: app.ice_servers(node, unix_now_s()),
        models: room.models.summaries(),
        heartbeat_ms: u32::try_from(timeouts.heartbeat.as_millis()).unwrap_or(u32::MAX),
    };
    // Before it is welcome, so that the connection that it makes next is a newer one.
    let connection = room.hub.number();
    send(socket, &welcome, || None, timeouts.send).await?;
    Ok(Proved { node, connection, origin, room, until_s })
}

//! The first four messages of a connection: versions, challenge, proof, welcome.

use axum::extract::ws::WebSocket;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Purpose, verify};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use tokio::time::timeout;

use super::frames::{End, receive, send};
use crate::app::App;

/// Lets a node prove its key, within the handshake's time limit.
pub(super) async fn handshake(
    socket: &mut WebSocket,
    app: &App,
    host: &str,
) -> Result<NodeId, End> {
    timeout(app.config.timeouts.handshake, prove(socket, app, host))
        .await
        .unwrap_or_else(|_| Err(End::Refused("the handshake took too long".to_owned())))
}

async fn prove(socket: &mut WebSocket, app: &App, host: &str) -> Result<NodeId, End> {
    let limit = app.config.timeouts.send;
    let ToServer::Hello { protocol, numerics, node } = receive(socket).await? else {
        return Err(End::Refused("the first message must be Hello".to_owned()));
    };
    if (protocol, numerics) != (PROTOCOL_VERSION, NUMERICS_VERSION) {
        return Err(End::Refused(format!(
            "this server speaks protocol {PROTOCOL_VERSION} and numerics {NUMERICS_VERSION}, you \
             speak {protocol} and {numerics}; reload the page, or update potluck-node"
        )));
    }
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce)
        .map_err(|_| End::Refused("the server has no randomness".to_owned()))?;
    send(socket, &FromServer::Challenge { nonce }, limit).await?;
    let ToServer::Prove { origin, signature } = receive(socket).await? else {
        return Err(End::Refused("the challenge must be answered first".to_owned()));
    };
    let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if !is_own {
        return Err(End::Refused(format!("you dialled {origin:?}, which is not this server")));
    }
    if !verify(node, Purpose::Challenge, &challenge_bytes(&nonce, node, &origin), &signature) {
        return Err(End::Refused("the signature does not prove the key".to_owned()));
    }
    let welcome = FromServer::Welcome {
        ice_servers: app.ice_servers(),
        models: app.models.summaries(),
        heartbeat_ms: u32::try_from(app.config.timeouts.ping_every.as_millis()).unwrap_or(u32::MAX),
    };
    send(socket, &welcome, limit).await?;
    Ok(node)
}

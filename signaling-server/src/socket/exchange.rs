//! Messages in both directions between a node that proved its key and the hub.

use std::convert::Infallible;
use std::num::NonZeroU32;

use axum::extract::ws::WebSocket;
use governor::{Quota, RateLimiter};
use potluck_protocol::id::NodeId;
use potluck_protocol::server::{FromServer, ToServer, Verdict};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval};

use super::frames::{End, Received, decode, receive_frame, send, send_ping};
use crate::app::App;
use crate::hub::ConnectionId;
use crate::store::Credit;

/// How many times the messages of a second may come at once, as the configuration says.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Passes messages on until the connection ends.
///
/// `verdicts` is the way into `inbox` for what is answered here. It is weak, so that the inbox
/// closes, and the connection with it, when the hub lets the connection go.
pub(super) async fn exchange(
    socket: &mut WebSocket,
    app: &App,
    (node, connection): (NodeId, ConnectionId),
    verdicts: &mpsc::WeakSender<FromServer>,
    inbox: &mut mpsc::Receiver<FromServer>,
) -> End {
    let timeouts = app.config.timeouts;
    let rate = NonZeroU32::new(app.config.max_messages_per_second).unwrap_or(NonZeroU32::MIN);
    let limiter =
        RateLimiter::direct(Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST)));
    let mut last_received = Instant::now();
    let mut pings = interval(timeouts.ping_every);
    let until_it_ends = async {
        loop {
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return Err(End::Gone) };
                    if let FromServer::Refused { reason, .. } = message {
                        return Err(End::Refused(reason));
                    }
                    send(socket, &message, timeouts.send).await?;
                }
                received = receive_frame(socket) => {
                    last_received = Instant::now();
                    if let Received::Message(bytes) = received? {
                        if limiter.check().is_err() {
                            return Err(End::Refused(format!("more than {rate} messages a second")));
                        }
                        handle(app, node, connection, verdicts, decode(&bytes)?).await?;
                    }
                }
                _ = pings.tick() => {
                    if last_received.elapsed() > timeouts.silence {
                        return Err(End::Refused("no sign of life".to_owned()));
                    }
                    send_ping(socket, timeouts.send).await?;
                }
            }
        }
    };
    let ended: Result<Infallible, End> = until_it_ends.await;
    match ended {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn handle(
    app: &App,
    node: NodeId,
    connection: ConnectionId,
    verdicts: &mpsc::WeakSender<FromServer>,
    message: ToServer,
) -> Result<(), End> {
    match message {
        ToServer::Hello { .. } | ToServer::Prove { .. } => {
            return Err(End::Refused("the handshake is over".to_owned()));
        }
        ToServer::Signal { to, signal } => {
            app.hub.signal(node, to, signal).await;
            return Ok(());
        }
        ToServer::Heartbeat => {
            let answers = verdicts.upgrade().ok_or(End::Gone)?;
            return answers.try_send(FromServer::Heartbeat).map_err(|_| End::Gone);
        }
        ToServer::Receipt { receipt: signed, ticket: _ } => {
            let receipt = signed.receipt.id();
            let verdict = match app.store.credit(&signed, node, &app.models).await {
                Ok(Credit::Credited(balance_macs)) => Verdict::Credited { balance_macs },
                Ok(Credit::Refused(reason)) => Verdict::Refused { reason },
                Err(error) => {
                    tracing::error!(%error, "a receipt could not be credited now");
                    Verdict::TryAgain
                }
            };
            let verdicts = verdicts.upgrade().ok_or(End::Gone)?;
            return verdicts
                .try_send(FromServer::ReceiptResult { receipt, verdict })
                .map_err(|_| End::Gone);
        }
        ToServer::Register { ref capabilities, .. } => {
            if let Err(error) = app.store.save_kind(node, capabilities.kind).await {
                tracing::warn!(%error, "could not keep a node's kind");
            }
        }
        ToServer::Deregister
        | ToServer::LayersReady { .. }
        | ToServer::Ask { .. }
        | ToServer::Cancel { .. }
        | ToServer::EndSession { .. }
        | ToServer::Report(_) => {}
    }
    app.hub.receive(node, connection, message).await;
    Ok(())
}

//! The native platform: sockets and WebRTC on tokio, blobs and secrets in folders.
//!
//! ```text
//!  node ─ send ──→ NativeTransport ──→ server task (WebSocket)
//!                        │         └─→ Peer: session ─→ writer tasks ─→ webrtc-rs
//!  node ← next_event ────┴─ events ←── Peer: session ←─ reader tasks ←─ webrtc-rs
//! ```
//! Everything runs in tasks of the tokio runtime that [`NativeTransport`] is used in, so chunks
//! flow while the node computes. A task that gets ahead of the node waits for it: there is room for
//! a bounded number of unread events, no more.

mod connection;
mod files;
mod http;
mod interfaces;
mod patience;
mod secret;
mod server;
mod tls;

use core::time::Duration;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

pub use files::BlobCache;
use futures::StreamExt as _;
pub(crate) use http::get;
use potluck_protocol::id::NodeId;
use potluck_protocol::server::IceServer;
pub use secret::{load_or_create_secret, replace_secret};

use self::connection::{Peer, frame_read, open_peer};
use self::server::ServerLink;
use crate::events::{ConnectionId, EventReceiver, EventSender, Reported};
use crate::session::{Input, Limits, Networks};
use crate::{Command, Event, Role, Transport};

/// Waits.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// How a native transport reaches the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// Addresses to listen on for peers, port 0 for any. An unspecified address (`0.0.0.0`) stands
    /// for this machine's own of its family but loopback, or a few of them where it has many.
    pub udp_bind: Vec<SocketAddr>,
    /// How long the steps of a peer connection may take.
    pub limits: Limits,
    /// How long the server may take to answer the dial, and to take a message.
    pub server_timeout: Duration,
}

impl NetConfig {
    /// The configuration for peers that meet at the server at `url` (`http://…` or `ws://…`).
    ///
    /// A server on loopback is a demo or a test, so the peers are on loopback too and nothing else
    /// listens.
    #[must_use]
    pub fn for_server(url: &str) -> Self {
        let any = |address: [u8; 4]| SocketAddr::from((address, 0));
        let udp_bind = if is_loopback(url) {
            vec![any([127, 0, 0, 1])]
        } else {
            vec![any([0; 4]), SocketAddr::from(([0_u16; 8], 0))]
        };
        Self { udp_bind, limits: Limits::default(), server_timeout: Duration::from_secs(10) }
    }

    /// True if peers can only be on this machine.
    fn loopback_only(&self) -> bool {
        self.udp_bind.iter().all(|address| address.ip().is_loopback())
    }
}

/// True if the host of `url` names this machine. False for what is no address at all: its refusal
/// is the node's.
fn is_loopback(url: &str) -> bool {
    let url = url::Url::parse(url).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// [`Transport`] for programs. Dropping it closes everything.
#[derive(Debug)]
pub struct NativeTransport {
    config: Arc<NetConfig>,
    sender: EventSender,
    events: EventReceiver,
    server: Option<ServerLink>,
    /// What follows from where the server is.
    networks: Networks,
    peers: HashMap<NodeId, Arc<Peer>>,
    last_connection: ConnectionId,
}

impl NativeTransport {
    /// A transport with no connections. It has to be used inside a tokio runtime.
    #[must_use]
    pub fn new(config: NetConfig) -> Self {
        let (sender, events) = EventSender::channel();
        Self {
            config: Arc::new(config),
            sender,
            events,
            server: None,
            networks: Networks::default(),
            peers: HashMap::new(),
            last_connection: ConnectionId::default(),
        }
    }

    /// Where a new connection sends its events.
    fn new_connection(&mut self) -> EventSender {
        self.last_connection = self.last_connection.next();
        self.sender.of(self.last_connection)
    }

    fn open_server(&mut self, url: &str) {
        self.networks = Networks::of_server(url);
        let events = self.new_connection();
        self.server = Some(ServerLink::open(url, &self.config, events));
    }

    fn open_peer(&mut self, peer: NodeId, role: Role, ice_servers: &[IceServer]) {
        if self.peers.get(&peer).is_some_and(|known| !known.is_closed()) {
            return;
        }
        let events = self.new_connection();
        let opened = open_peer(peer, role, ice_servers, self.networks, &self.config, events);
        self.peers.insert(peer, opened);
    }

    /// The event, unless it comes from a connection that is not the node's any more.
    fn accept(&mut self, reported: Reported) -> Option<Event> {
        let server = self.server.as_ref().map(ServerLink::connection);
        if !reported.is_current(server, |peer| Some(self.peers.get(&peer)?.connection())) {
            return None;
        }
        match &reported.event {
            Event::ServerMessage { .. } => {
                if let Some(server) = &self.server {
                    server.message_read();
                }
            }
            Event::ServerClosed { .. } => self.server = None,
            Event::PeerFrame { peer, frame, .. } => {
                if let Some(known) = self.peers.get(peer) {
                    frame_read(known, frame.len());
                }
            }
            Event::PeerClosed { peer, .. } => drop(self.peers.remove(peer)),
            Event::ServerOpen | Event::Signal { .. } | Event::PeerOpen { .. } => {}
        }
        Some(reported.event)
    }
}

impl Transport for NativeTransport {
    fn send(&mut self, command: Command) {
        match command {
            Command::OpenServer { url } => self.open_server(&url),
            Command::CloseServer => self.server = None,
            Command::SendServer { message } => {
                if let Some(server) = &mut self.server {
                    server.send(message);
                }
            }
            Command::OpenPeer { peer, role, ice_servers } => {
                self.open_peer(peer, role, &ice_servers)
            }
            Command::Signal { peer, signal } => {
                if let Some(known) = self.peers.get(&peer) {
                    known.handle(Input::Remote(signal));
                }
            }
            Command::SendPeer { peer, channel, frame } => {
                if let Some(known) = self.peers.get(&peer) {
                    known.handle(Input::Send(channel, frame));
                }
            }
            Command::ClosePeer { peer } => {
                if let Some(known) = self.peers.remove(&peer) {
                    known.hang_up();
                }
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        loop {
            match self.events.next().await {
                Some(reported) => {
                    if let Some(event) = self.accept(reported) {
                        return event;
                    }
                }
                // Not reached: this transport holds a sender itself.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for NativeTransport {
    fn drop(&mut self) {
        for peer in self.peers.values() {
            peer.hang_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_this_machine_keeps_peers_on_this_machine() {
        for url in [
            "http://127.0.0.1:8080",
            "ws://localhost/x",
            "http://[::1]:8080/",
            "https://user@127.9.9.9",
        ] {
            assert!(NetConfig::for_server(url).loopback_only(), "{url}");
        }
        for url in [
            "http://192.168.1.2:8080",
            "https://example.org",
            "http://127.0.0.1.example.org",
            "http://[::2]",
        ] {
            assert!(!NetConfig::for_server(url).loopback_only(), "{url}");
        }
    }
}

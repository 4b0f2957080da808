//! Frames to and from the server and peers, behind one [`Transport`] trait.
//!
//! ```text
//!             native                     browser                                   tests
//!  node ── native::NativeTransport   node (worker) ── web::port ═ message port    memory::MemoryNetwork
//!             │ tokio-tungstenite                        ║
//!             │ webrtc-rs                 page ── web::page ── WebSocket, RTCPeerConnection
//! ```
//! A transport moves bytes and opens and closes connections. It does not know what the bytes mean
//! (only `session` looks into a chunk's header), who may speak to whom, or when to try again: that
//! is the node's. Signals (session descriptions, ICE candidates) go through the node too, which
//! signs and checks them, so the server cannot swap them.
//!
//! Everything is bounded: frames have a size limit, a peer's outgoing queue has one, and every step
//! of opening a connection has a time-out.

mod events;
pub mod memory;
pub mod session;
pub mod weights;

#[cfg_attr(target_arch = "wasm32", path = "web/mod.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native/mod.rs")]
pub mod platform;

use core::future::Future;

use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{IceServer, Signal};
use serde::{Deserialize, Serialize};

/// Moves messages between this node, the server and its peers.
pub trait Transport {
    /// Hands over a command; never waits. What becomes of it is told by events.
    fn send(&mut self, command: Command);

    /// Waits for the next event. Cancel-safe: dropping the future loses nothing.
    fn next_event(&mut self) -> impl Future<Output = Event>;
}

/// What a node wants of its transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Dial the server's WebSocket (`ws://…/api/v1/socket`). Closes the connection there was,
    /// without an event for it.
    OpenServer {
        /// The address.
        url: String,
    },
    /// Hang up.
    CloseServer,
    /// One binary WebSocket message. Dropped if the connection is not open (an event has said so or
    /// will).
    SendServer {
        /// The message.
        message: Vec<u8>,
    },
    /// Open a connection to a peer. Both sides get this for a session; the role decides who offers.
    /// A no-op if it is open or opening.
    ///
    /// If the peer loses its side and offers anew before the loss shows on this one, its new
    /// connection takes the place of the old one: there is no [`Event::PeerClosed`], and a second
    /// [`Event::PeerOpen`].
    OpenPeer {
        /// The peer.
        peer: NodeId,
        /// Who offers.
        role: Role,
        /// For ICE.
        ice_servers: Vec<IceServer>,
    },
    /// A checked signal from the peer. Candidates that come before the description are kept
    /// (bounded) until it is there.
    Signal {
        /// The peer.
        peer: NodeId,
        /// What it said.
        signal: Signal,
    },
    /// A frame to a peer, cut into chunks; it waits if the connection is still opening. If the
    /// peer's queue is full the peer is closed with a reason. Dropped if there is no connection (an
    /// event has said so or will).
    SendPeer {
        /// The peer.
        peer: NodeId,
        /// Which data channel.
        channel: Channel,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Close a peer; no event follows.
    ClosePeer {
        /// The peer.
        peer: NodeId,
    },
}

/// Who makes the offer. The node with the smaller id does, so that the two never both do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Makes it.
    Offers,
    /// Waits for it.
    Answers,
}

impl Role {
    /// The role of `me` towards `peer`.
    #[must_use]
    pub fn of(me: NodeId, peer: NodeId) -> Self {
        if me < peer { Self::Offers } else { Self::Answers }
    }
}

/// What a transport tells its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The WebSocket is open.
    ServerOpen,
    /// A binary message came.
    ServerMessage {
        /// The message.
        message: Vec<u8>,
    },
    /// The WebSocket is gone, or could not be opened.
    ServerClosed {
        /// Why.
        reason: String,
    },
    /// To be signed and sent to the peer through the server.
    Signal {
        /// The peer.
        peer: NodeId,
        /// What to say.
        signal: Signal,
    },
    /// Both data channels are open.
    PeerOpen {
        /// The peer.
        peer: NodeId,
    },
    /// A whole frame came.
    PeerFrame {
        /// The peer.
        peer: NodeId,
        /// On which channel.
        channel: Channel,
        /// The frame, put together from its chunks.
        frame: Vec<u8>,
    },
    /// The connection is gone, or could not be opened in time.
    PeerClosed {
        /// The peer.
        peer: NodeId,
        /// Why.
        reason: String,
    },
}

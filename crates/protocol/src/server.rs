//! Messages between a node and the signaling server.
//!
//! ```text
//! node                                   server
//!  | Hello{versions, key}                  |
//!  |                       Challenge{nonce}|
//!  | Prove{origin, signature}              |
//!  |          Welcome{ice servers, models} |   … or Refused, and the connection ends
//!  |---------------------------------------|
//!  | Register -> Assign -> LayersReady     |   a volunteer, with the grant
//!  | Pace                                  |   it is paused, or slower than it said
//!  | Ask -> Waiting* -> Route              |   a requester; every stage gets Serve and a ticket
//!  | Signal <-> Signal                     |   between peers of one session, signed end to end
//!  | Receipt with ticket -> ReceiptResult  |
//!  | Heartbeat -> Heartbeat                |   when the node has had nothing else to say
//!  | EndSession -> SessionEnded to all     |
//!  | Door <-> Door                         |   a newcomer is let into a room: see `door`
//! ```

use serde::{Deserialize, Serialize};

use crate::door::{FromDoor, ToDoor};
use crate::grant::SignedGrant;
use crate::id::{Epoch, LayerRange, ModelId, NodeId, RequestId, SessionId};
use crate::identity::{Identity, Purpose, Signature, verify};
use crate::invitation::{RoomEntry, RoomTicket};
use crate::lease::SignedLease;
use crate::receipt::{ReceiptId, SignedReceipt};
use crate::room::RoomSeal;
use crate::ticket::SignedTicket;

/// What a node sends to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToServer {
    /// First message on a connection.
    Hello {
        /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the node.
        protocol: u16,
        /// [`NUMERICS_VERSION`](crate::NUMERICS_VERSION) of the node.
        numerics: u16,
        /// The node's public key.
        node: NodeId,
    },
    /// Answer to [`FromServer::Challenge`].
    Prove {
        /// The server's origin as the node dialled it: `scheme://authority` in lower case, at most
        /// [`MAX_ORIGIN_BYTES`](crate::limits::MAX_ORIGIN_BYTES). The server accepts its own only, so
        /// that no other server can pass this answer on as that of its own visitor.
        origin: String,
        /// Over [`challenge_bytes`].
        signature: Signature,
        /// The room that the node wants to be in; none is the public swarm.
        room: Option<Box<RoomEntry>>,
    },
    /// The volunteer agreed: this node may be given layers.
    Register {
        /// What it can do.
        capabilities: Capabilities,
        /// What the volunteer agreed to. Nothing beyond it is assigned.
        grant: Box<SignedGrant>,
        /// The layers that it holds still, on the word of this server, which may have been restarted
        /// since.
        lease: Option<SignedLease>,
    },
    /// The volunteer stopped, or took the grant back: nothing more will be computed here.
    Deregister,
    /// Weights are loaded and verified, and routes may use them. Replaces the node's earlier
    /// message of this kind.
    LayersReady {
        /// The model of these layers.
        model: ModelId,
        /// All layers that the node can compute.
        layers: LayerRange,
    },
    /// Asks for a route through all layers of a model: for a question, or for an answer that broke
    /// off.
    Ask {
        /// What the requester calls it in later messages.
        request: RequestId,
        /// The model to ask.
        model: ModelId,
        /// Nodes that the answer broke off at, at most
        /// [`MAX_EXCLUDED`](crate::limits::MAX_EXCLUDED). The server uses them only where no other
        /// node has their layers.
        exclude: Vec<NodeId>,
        /// A session of its own that was ended to be gone on with: the server gives a route by the same
        /// stages, if it can.
        continues: Option<SessionId>,
    },
    /// The requester no longer needs a route.
    Cancel {
        /// As in [`ToServer::Ask`].
        request: RequestId,
    },
    /// The requester, or a stage that cannot go on, ends a session.
    EndSession {
        /// The session that ends.
        session: SessionId,
        /// Why, for people.
        reason: String,
        /// The node without which it could go on, if one is at fault.
        failed_node: Option<NodeId>,
        /// Its stages keep what they computed, and [`ToServer::Ask`] may come to go on with it.
        keeps: bool,
    },
    /// A piece of negotiation that the server passes on to `to`.
    Signal {
        /// The receiver; must share a session with the sender.
        to: NodeId,
        /// Signed for the receiver, not for the server.
        signal: SignedSignal,
    },
    /// A receipt to be credited.
    Receipt {
        /// Signed by stage and requester.
        receipt: Box<SignedReceipt>,
        /// The stage's, as it came with [`FromServer::Serve`].
        ticket: Box<SignedTicket>,
    },
    /// Counters for the swarm view; nothing is credited from them.
    Report(Report),
    /// Nothing but a sign of life, which the server answers at once with its own. A node sends it
    /// when it has sent nothing else for as long as the welcome says.
    Heartbeat,
    /// How fast the node is now: its machine is needed for something else, or its volunteer has
    /// paused.
    Pace {
        /// Share of the speed that it registered with, 0 to 100; 0 while it is paused.
        percent: u8,
    },
    /// Somebody is to be let into a room.
    Door(ToDoor),
    /// Asks for a route through the middle of a model: the requester computes as many layers before
    /// it as behind it on its own machine.
    AskMiddle {
        /// As in [`ToServer::Ask`].
        request: RequestId,
        /// As in [`ToServer::Ask`].
        model: ModelId,
        /// As in [`ToServer::Ask`].
        exclude: Vec<NodeId>,
        /// The layers that others compute.
        layers: LayerRange,
        /// As in [`ToServer::Ask`].
        continues: Option<SessionId>,
    },
}

/// What the server sends to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromServer {
    /// The node must prove that it holds the key it named.
    Challenge {
        /// Random and used once; goes into [`challenge_bytes`].
        nonce: [u8; 32],
    },
    /// The handshake is complete.
    Welcome {
        /// For peer connections; empty where none is needed.
        ice_servers: Vec<IceServer>,
        /// The models of this swarm.
        models: Vec<ModelSummary>,
        /// How long the node may be silent before it sends a heartbeat, milliseconds.
        heartbeat_ms: u32,
    },
    /// The volunteer's node should load these layers.
    Assign {
        /// The model of these layers.
        model: ModelId,
        /// The layers, of that model and for this node. `None`: the node is not needed for now.
        lease: Option<SignedLease>,
    },
    /// There is no route yet; the question waits.
    Waiting {
        /// As in [`ToServer::Ask`].
        request: RequestId,
        /// Layers that no node has ready, at most [`MAX_STAGES`](crate::limits::MAX_STAGES) ranges.
        missing: Vec<LayerRange>,
    },
    /// A route: the session may start.
    Route {
        /// As in [`ToServer::Ask`].
        request: RequestId,
        /// The new session.
        session: Session,
    },
    /// The node is a stage of a new session.
    Serve {
        /// The whole route, so that stages know their neighbours.
        session: Session,
        /// The stage's own, to be handed in with its receipts.
        ticket: Box<SignedTicket>,
    },
    /// A session is over.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why, for people.
        reason: String,
        /// As in [`ToServer::EndSession`].
        failed_node: Option<NodeId>,
    },
    /// A piece of negotiation passed on from `from`.
    Signal {
        /// The sender, as it proved itself to the server.
        from: NodeId,
        /// Not verified by the server: the receiver checks the signature.
        signal: SignedSignal,
    },
    /// What became of a receipt.
    ReceiptResult {
        /// [`Receipt::id`](crate::receipt::Receipt::id) of what was sent.
        receipt: ReceiptId,
        /// Whether it was credited.
        verdict: Verdict,
    },
    /// The connection ends now.
    Refused {
        /// What was wrong and what to do.
        reason: String,
        /// When it is worth to try again, milliseconds from now. `None`: never, because the versions
        /// differ or the same identity has connected again.
        retry_after_ms: Option<u32>,
    },
    /// A question gets no route, now or later; the connection goes on.
    RequestRefused {
        /// As in [`ToServer::Ask`].
        request: RequestId,
        /// Why, and what to do; for people.
        reason: String,
    },
    /// The answer to [`ToServer::Heartbeat`].
    Heartbeat,
    /// For peer connections from now on, in place of those in the welcome, whose credentials end.
    IceServers {
        /// As in [`FromServer::Welcome`].
        ice_servers: Vec<IceServer>,
    },
    /// The node is given nothing to compute: its grant does not hold, or has ended. The connection
    /// goes on, for questions, and for another [`ToServer::Register`].
    LendingRefused {
        /// Why, and what to do; for people.
        reason: String,
    },
    /// Somebody is to be let into a room.
    Door(FromDoor),
}

/// What a volunteer's node can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Whether a page or a program registers.
    pub kind: NodeKind,
    /// What computes there: `avx2`, `simd128`, `webgpu`, …
    pub backend: String,
    /// Memory for weights and caches, bytes.
    pub memory_bytes: u64,
    /// Measured speed, multiply-accumulates a millisecond, on a sample of the linear kernel.
    pub macs_per_ms: u64,
}

/// What kind of program a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A browser tab.
    Browser,
    /// `potluck-node`.
    Native,
}

impl core::fmt::Display for NodeKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Browser => "browser",
            Self::Native => "native",
        })
    }
}

/// A STUN or TURN server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` or `turn:` URLs.
    pub urls: Vec<String>,
    /// User name for TURN; `None` for STUN.
    pub username: Option<String>,
    /// Password for TURN; `None` for STUN.
    pub credential: Option<String>,
}

/// A model of the swarm, as far as a node needs it before it reads the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// BLAKE3 of the manifest; fetch it as a blob.
    pub id: ModelId,
    /// What people call it; unique within a server.
    pub name: String,
    /// How many layers it has, at most [`MAX_LAYERS`](crate::limits::MAX_LAYERS).
    pub layers: u32,
}

/// A route: who computes what for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Chosen by the server at random.
    pub id: SessionId,
    /// The model that is computed.
    pub model: ModelId,
    /// The node that asked.
    pub requester: NodeId,
    /// In the order of their layers; together they cover every layer once.
    pub stages: Vec<Stage>,
    /// Every stage's epoch, in their order, then the requester's. A peer whose epoch has changed
    /// has restarted, and an earlier connection to it is dead.
    pub epochs: Vec<Epoch>,
    /// The session of the same requester and stages that this one goes on with: it may begin at any
    /// position up to which that one came.
    pub continues: Option<SessionId>,
}

/// One node's part in a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The node that computes.
    pub node: NodeId,
    /// The layers that it computes in this session.
    pub layers: LayerRange,
}

/// What became of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Credited and on disk, now or before.
    Credited {
        /// The node's balance with this receipt, multiply-accumulates.
        balance_macs: u64,
    },
    /// Not credited, and never will be.
    Refused {
        /// Why.
        reason: String,
    },
    /// Not credited yet, through no fault of the receipt: send it again later.
    TryAgain,
}

/// Counters of a volunteer since it joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Rows computed.
    pub tokens: u64,
    /// Median time for one row through this node's layers, microseconds.
    pub us_per_token_p50: u32,
}

/// A piece of WebRTC negotiation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// A session description that opens a connection.
    Offer {
        /// SDP text.
        sdp: String,
    },
    /// A session description that answers one.
    Answer {
        /// SDP text.
        sdp: String,
    },
    /// An ICE candidate.
    Candidate {
        /// The `candidate:` line.
        candidate: String,
        /// Media stream identification, if given.
        sdp_mid: Option<String>,
        /// Index of the media line, if given.
        sdp_m_line_index: Option<u16>,
    },
}

/// A signal with its sender's signature, so that the server cannot swap the fingerprint in a
/// session description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedSignal {
    /// The piece of negotiation.
    pub signal: Signal,
    /// The sender's, over sender, receiver and signal, and in a room over its seal's tag of these.
    pub signature: Signature,
    /// That the sender may be in the room, where that has a list; by another's signature.
    pub ticket: Option<Box<RoomTicket>>,
}

impl SignedSignal {
    /// Signs `signal` from `identity` to `to`, both members of the room of `seal` if there is one.
    #[must_use]
    pub fn new(identity: &Identity, to: NodeId, signal: Signal, seal: Option<&RoomSeal>) -> Self {
        let bytes = Self::signed_bytes(identity.node(), to, &signal, seal);
        Self { signal, signature: identity.sign(Purpose::Signal, &bytes), ticket: None }
    }

    /// The same with the sender's pass to a room.
    #[must_use]
    pub fn showing(self, ticket: Option<RoomTicket>) -> Self {
        Self { ticket: ticket.map(Box::new), ..self }
    }

    /// True if `from` signed it for `to`, as members of the room of `seal` if there is one.
    #[must_use]
    pub fn is_from(&self, from: NodeId, to: NodeId, seal: Option<&RoomSeal>) -> bool {
        let bytes = Self::signed_bytes(from, to, &self.signal, seal);
        verify(from, Purpose::Signal, &bytes, &self.signature)
    }

    fn signed_bytes(from: NodeId, to: NodeId, signal: &Signal, seal: Option<&RoomSeal>) -> Vec<u8> {
        let mut bytes = crate::encoding::encode(&(from, to, signal));
        if let Some(seal) = seal {
            let tag = seal.tag(&bytes);
            bytes.extend(tag);
        }
        bytes
    }
}

impl Session {
    /// Index of the first stage that `node` computes.
    #[must_use]
    pub fn stage_of(&self, node: NodeId) -> Option<usize> {
        self.stages.iter().position(|stage| stage.node == node)
    }

    /// The epoch of a participant.
    #[must_use]
    pub fn epoch_of(&self, node: NodeId) -> Option<Epoch> {
        let index = self
            .stage_of(node)
            .or_else(|| (self.requester == node).then_some(self.stages.len()))?;
        self.epochs.get(index).copied()
    }
}

/// What a node signs to prove its key to the server: the nonce it was given, its own key, and the
/// origin under which it dialled the server.
#[must_use]
pub fn challenge_bytes(nonce: &[u8; 32], node: NodeId, origin: &str) -> Vec<u8> {
    [&nonce[..], &node.0, origin.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::RoomSecret;

    #[test]
    fn a_signal_holds_for_its_sender_receiver_and_room_only() {
        let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let (seal, other) = (RoomSecret([3; 16]).seal(), RoomSecret([4; 16]).seal());
        let offer = || Signal::Offer { sdp: "v=0".to_owned() };
        let (from, to) = (alice.node(), bob.node());
        for room in [None, Some(&seal)] {
            let signed = SignedSignal::new(&alice, to, offer(), room);
            assert!(signed.is_from(from, to, room));
            assert!(!signed.is_from(to, from, room), "not the other way round");
            assert!(!signed.is_from(from, to, Some(&other)), "not in another room");
            let elsewhere = room.is_none().then_some(&seal);
            assert!(!signed.is_from(from, to, elsewhere), "neither in nor out of the room");
        }
    }
}

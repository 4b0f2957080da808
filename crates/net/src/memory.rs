//! A whole network in one value, in virtual time: for tests, and for simulations of many nodes.
//!
//! ```text
//!  node ──Command──▶ MemoryNetwork ──Delivery::Node───▶ node
//!                      │  agenda: what happens when
//!  server ◀─Delivery::Server─┤
//!  server ──send────────────▶┘
//! ```
//! The driver gives the network the [`Command`]s of each node and the server's messages, and lets
//! it [advance](MemoryNetwork::advance); what comes out, one [`Delivery`] at a time, goes to the
//! node or the server that it is for. There are no threads, sockets or clocks: time is the number
//! that stands in the agenda. The same seed and the same commands give the same run, delivery for
//! delivery.
//!
//! **What it keeps of real networks.** Every link has a latency of its own, and every message some
//! jitter. Messages of one WebSocket, and frames of one data channel, arrive in the order in which
//! they were sent and never twice; anything else may overtake: other connections, and the two
//! channels of one peer connection. Peers open as real ones do: an offer, an answer and a candidate
//! each, which the nodes sign and the server passes on, then a round trip; half an opening times
//! out. Connections [break](Fault), at once for both ends to see or silently, nodes freeze or
//! vanish, and the server stops. A peer's queue has the bounds of the real transports.
//!
//! **What it leaves out.** Bandwidth and loss of single packets (both channels are reliable),
//! chunks and greetings (`session` has tests of its own), and what the bytes mean. Nothing here
//! searches through all nodes, so that a delivery costs the logarithm of what is under way.
//!
//! ```
//! # use core::time::Duration;
//! # use potluck_net::memory::{Delivery, MemoryNetwork, Profile, ServerEvent};
//! # use potluck_net::{Command, Event};
//! # use potluck_protocol::id::NodeId;
//! let node = NodeId([1; 32]);
//! let mut network = MemoryNetwork::new(7, Profile::default());
//! network.command(node, Command::OpenServer { url: "memory".to_owned() });
//! let first = network.advance(Duration::from_secs(1));
//! let Some(Delivery::Server { connection, event }) = first else {
//!     panic!("the server is dialled");
//! };
//! assert_eq!(event, ServerEvent::Opened);
//! network.send(connection, b"welcome".to_vec());
//! let mut next = || network.advance(Duration::from_secs(1));
//! let to_node = |event| Some(Delivery::Node { node, event });
//! assert_eq!(next(), to_node(Event::ServerOpen));
//! assert_eq!(next(), to_node(Event::ServerMessage { message: b"welcome".to_vec() }));
//! assert_eq!(next(), None);
//! ```

mod agenda;
mod faults;
mod peers;
mod random;
mod server;

use core::ops::RangeInclusive;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use potluck_protocol::id::NodeId;

pub use self::agenda::Agenda;
pub use self::faults::{Fault, Loss};
pub use self::server::{ConnectionId, ServerEvent};

use self::peers::{End, PeerArrival};
use self::random::Random;
use crate::{Command, Event};

/// The network.
#[derive(Debug)]
pub struct MemoryNetwork {
    seed: u64,
    profile: Profile,
    random: Random,
    now: Duration,
    agenda: Agenda<(Kind, Arrival)>,
    /// Messages in the agenda, as opposed to time-outs and faults that are still to come.
    under_way: usize,
    /// Frames that came before their connection opened, which it now has.
    early: VecDeque<(NodeId, u64, Event)>,
    nodes: BTreeMap<NodeId, Member>,
    connections: BTreeMap<ConnectionId, server::Connection>,
    server_is_up: bool,
    /// Names connections and ends of peer connections; never used twice.
    next_number: u64,
}

/// How links behave.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The time a message takes one way. Each link (a pair of nodes, or a node and the server)
    /// has its own, the same in both directions, drawn evenly from this range by the seed.
    pub latency: RangeInclusive<Duration>,
    /// The most that is added to each message, drawn evenly.
    pub jitter: Duration,
    /// How long a peer connection lives on average before it breaks by itself, silently or not
    /// with equal chance. `None`: as long as its ends want.
    pub peer_lifetime: Option<Duration>,
}

impl Default for Profile {
    /// Nodes of one country at home, whose connections hold.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(5)..=Duration::from_millis(40),
            jitter: Duration::from_millis(5),
            peer_lifetime: None,
        }
    }
}

/// What comes out of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An event for a node.
    Node {
        /// The receiver.
        node: NodeId,
        /// What its transport reports.
        event: Event,
    },
    /// Something for the server.
    Server {
        /// On which of its connections.
        connection: ConnectionId,
        /// What happened there.
        event: ServerEvent,
    },
    /// A [scheduled](MemoryNetwork::schedule) fault has happened.
    Fault(Fault),
}

#[derive(Debug, Default)]
struct Member {
    is_frozen: bool,
    /// What has arrived at a frozen node, in order.
    held: Vec<Arrival>,
    server: Option<ConnectionId>,
    peers: BTreeMap<NodeId, End>,
}

/// Whether something in the agenda keeps the network busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A message, or what follows from one within a link's delay.
    Message,
    /// A time-out, a fault to come, or a silence that is not noticed yet.
    Later,
}

/// Something in the agenda. Whatever belongs to a connection names the end that it is for, so that
/// nothing of an earlier connection reaches a later one between the same two.
#[derive(Debug)]
enum Arrival {
    ToServer {
        connection: ConnectionId,
        event: ServerEvent,
    },
    ToNode {
        connection: ConnectionId,
        node: NodeId,
        event: Event,
    },
    Peer {
        node: NodeId,
        peer: NodeId,
        end: u64,
        what: PeerArrival,
    },
    Fault(Fault),
    /// The end of a connection's life; which one is told by an end's number.
    Lifetime {
        node: NodeId,
        peer: NodeId,
        end: u64,
        loss: Loss,
    },
}

impl MemoryNetwork {
    /// An empty network with a server that runs.
    #[must_use]
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self {
            seed,
            profile,
            random: Random::new(seed),
            now: Duration::ZERO,
            agenda: Agenda::default(),
            under_way: 0,
            early: VecDeque::new(),
            nodes: BTreeMap::new(),
            connections: BTreeMap::new(),
            server_is_up: true,
            next_number: 0,
        }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// When something may happen next, if nobody does anything before.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        if self.early.is_empty() { self.agenda.next_at() } else { Some(self.now) }
    }

    /// Messages under way. Time-outs, frozen nodes' messages and faults to come do not count.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way + self.early.len()
    }

    /// Carries out what a node wants of its transport. The first command of a node that is not
    /// there makes it known.
    pub fn command(&mut self, node: NodeId, command: Command) {
        match command {
            Command::OpenServer { .. } => self.dial(node),
            Command::CloseServer => self.hang_up(node),
            Command::SendServer { message } => self.send_to_server(node, message),
            Command::OpenPeer { peer, role, .. } => self.open_peer(node, peer, role),
            Command::Signal { peer, signal } => self.remote_signal(node, peer, signal),
            Command::SendPeer { peer, channel, frame } => {
                self.send_peer(node, peer, channel, frame);
            }
            Command::ClosePeer { peer } => self.close_peer(node, peer),
        }
    }

    /// Goes on to the next thing that anybody notices, if that is not later than `until`, and to
    /// `until` otherwise.
    pub fn advance(&mut self, until: Duration) -> Option<Delivery> {
        while let Some((node, end, event)) = self.early.pop_front() {
            let Event::PeerFrame { peer, .. } = event else { continue };
            if self.end(node, peer).is_some_and(|current| current.number() == end) {
                return Some(Delivery::Node { node, event });
            }
        }
        while self.agenda.next_at().is_some_and(|at| at <= until) {
            let (at, (kind, arrival)) = self.agenda.pop()?;
            self.now = self.now.max(at);
            self.under_way -= usize::from(kind == Kind::Message);
            if let Some(delivery) = self.arrive(arrival) {
                return Some(delivery);
            }
        }
        self.now = self.now.max(until);
        None
    }

    fn arrive(&mut self, arrival: Arrival) -> Option<Delivery> {
        if let Arrival::ToNode { node, .. } | Arrival::Peer { node, .. } = &arrival
            && let Some(member) = self.nodes.get_mut(node)
            && member.is_frozen
        {
            member.held.push(arrival);
            return None;
        }
        match arrival {
            Arrival::ToServer { connection, event } => self.at_server(connection, event),
            Arrival::ToNode { connection, node, event } => self.at_node(connection, node, event),
            Arrival::Peer { node, peer, end, what } => self.at_end(node, peer, end, what),
            Arrival::Fault(fault) => {
                self.happen(fault);
                Some(Delivery::Fault(fault))
            }
            Arrival::Lifetime { node, peer, end, loss } => {
                if self.end(node, peer).is_some_and(|current| current.number() == end) {
                    self.happen(Fault::Peers { a: node, b: peer, loss });
                }
                None
            }
        }
    }

    fn put(&mut self, at: Duration, arrival: Arrival) {
        self.under_way += 1;
        self.agenda.push(at, (Kind::Message, arrival));
    }

    fn put_later(&mut self, at: Duration, arrival: Arrival) {
        self.agenda.push(at, (Kind::Later, arrival));
    }

    /// How long a message between the two takes; `None` is the server.
    fn delay(&mut self, a: NodeId, b: Option<NodeId>) -> Duration {
        let (start, end) = (*self.profile.latency.start(), *self.profile.latency.end());
        let latency = Random::of_link(self.seed, a, b).duration(start, end);
        latency + self.random.duration(Duration::ZERO, self.profile.jitter)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

#[cfg(test)]
mod tests;

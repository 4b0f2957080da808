//! A network within a process, for tests: any number of nodes and the server's end, the same run for the same seed.
//!
//! ```
//! # use futures::executor::block_on;
//! # use potluck_net::memory::{FromNode, MemoryNetwork};
//! # use potluck_net::{Command, Event, Transport};
//! # use potluck_protocol::id::NodeId;
//! let network = MemoryNetwork::new(7);
//! let mut node = network.join(NodeId([1; 32]));
//! node.send(Command::OpenServer { url: "memory".to_owned() });
//! assert_eq!(block_on(network.from_node()), (NodeId([1; 32]), FromNode::Opened));
//! network.send(NodeId([1; 32]), b"welcome".to_vec());
//! assert_eq!(block_on(node.next_event()), Event::ServerOpen);
//! assert_eq!(block_on(node.next_event()), Event::ServerMessage { message: b"welcome".to_vec() });
//! ```
//! What one end sends another arrives in order. Between different pairs, [`MemoryNetwork::with_delay`] lets things overtake each other,
//! by a random number drawn from the seed. There is no clock: something is delivered whenever somebody waits, and nothing times out.
//! Peers open as real ones do, by an offer and an answer that the test's server has to pass on; the texts in them mean nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::Signal;

use crate::{Command, Event, Role, Transport};

/// The network, and the server's end of it. Clones are the same network.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    state: Arc<Mutex<State>>,
}

/// What the server hears of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromNode {
    /// It dialled.
    Opened,
    /// A message.
    Message(Vec<u8>),
    /// It hung up or vanished.
    Closed,
}

/// One node's end.
#[derive(Debug)]
pub struct MemoryTransport {
    node: NodeId,
    network: MemoryNetwork,
}

#[derive(Debug)]
struct State {
    random: u64,
    max_delay: u64,
    /// Counts deliveries; a delivery's time is when it was sent plus its delay.
    now: u64,
    wire: BTreeMap<(u64, u64), (End, End, What)>,
    sent: u64,
    /// When the last thing between two ends is due, so that nothing overtakes it.
    last: HashMap<(End, End), u64>,
    members: HashMap<NodeId, Member>,
    server: VecDeque<(NodeId, FromNode)>,
    wakers: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Server,
    Node(NodeId),
}

#[derive(Debug)]
enum What {
    ToServer(FromNode),
    FromServer(Event),
    PeerOpen,
    PeerFrame(Channel, Vec<u8>),
    PeerClosed(String),
}

#[derive(Debug, Default)]
struct Member {
    inbox: VecDeque<Event>,
    server_open: bool,
    peers: HashMap<NodeId, Link>,
}

#[derive(Debug)]
struct Link {
    role: Role,
    open: bool,
    /// Frames for when it opens.
    waiting: Vec<(Channel, Vec<u8>)>,
}

impl MemoryNetwork {
    /// An empty network without delays.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: seed,
            max_delay: 0,
            now: 0,
            wire: BTreeMap::new(),
            sent: 0,
            last: HashMap::new(),
            members: HashMap::new(),
            server: VecDeque::new(),
            wakers: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Delays everything by 0 to `deliveries` other deliveries.
    #[must_use]
    pub fn with_delay(self, deliveries: u64) -> Self {
        self.lock().max_delay = deliveries;
        self
    }

    /// A node's transport. A node of the same name that was there before has vanished.
    #[must_use]
    pub fn join(&self, node: NodeId) -> MemoryTransport {
        let mut state = self.lock();
        state.vanish(node);
        state.members.insert(node, Member::default());
        drop(state);
        MemoryTransport { node, network: self.clone() }
    }

    /// Waits for the next thing a node says to the server.
    pub async fn from_node(&self) -> (NodeId, FromNode) {
        poll_fn(|context| self.lock().poll(context, |state| state.server.pop_front())).await
    }

    /// The next thing a node says to the server, if there is one now.
    #[must_use]
    pub fn try_from_node(&self) -> Option<(NodeId, FromNode)> {
        let mut state = self.lock();
        loop {
            match state.server.pop_front() {
                Some(heard) => return Some(heard),
                None if state.deliver() => {}
                None => return None,
            }
        }
    }

    /// Sends a node a message as the server. Lost if it has no connection.
    pub fn send(&self, node: NodeId, message: Vec<u8>) {
        self.lock().put(End::Server, End::Node(node), What::FromServer(Event::ServerMessage { message }));
    }

    /// Hangs up on a node as the server.
    pub fn close(&self, node: NodeId, reason: &str) {
        let event = Event::ServerClosed { reason: reason.to_owned() };
        self.lock().put(End::Server, End::Node(node), What::FromServer(event));
    }

    /// Breaks the connection between two nodes; each hears of it.
    pub fn cut(&self, a: NodeId, b: NodeId, reason: &str) {
        let mut state = self.lock();
        state.put(End::Node(a), End::Node(b), What::PeerClosed(reason.to_owned()));
        state.put(End::Node(b), End::Node(a), What::PeerClosed(reason.to_owned()));
    }

    /// Takes a node off the network, as if its machine had lost power; the others hear of it. Its transport hears nothing any more.
    pub fn vanish(&self, node: NodeId) {
        self.lock().vanish(node);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere should fail by its own message.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for MemoryTransport {
    fn send(&mut self, command: Command) {
        self.network.lock().command(self.node, command);
    }

    async fn next_event(&mut self) -> Event {
        let take = |state: &mut State| state.members.get_mut(&self.node)?.inbox.pop_front();
        poll_fn(|context| self.network.lock().poll(context, take)).await
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.network.vanish(self.node);
    }
}

impl State {
    fn poll<T>(&mut self, context: &mut Context<'_>, take: impl Fn(&mut Self) -> Option<T>) -> Poll<T> {
        loop {
            if let Some(taken) = take(self) {
                return Poll::Ready(taken);
            }
            if !self.deliver() {
                self.wakers.push(context.waker().clone());
                return Poll::Pending;
            }
        }
    }

    /// `SplitMix64`: small, and the same everywhere.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn put(&mut self, from: End, to: End, what: What) {
        let delay = if self.max_delay == 0 { 0 } else { self.draw() % (self.max_delay + 1) };
        let last = self.last.entry((from, to)).or_default();
        *last = (*last).max(self.now + delay);
        self.sent += 1;
        self.wire.insert((*last, self.sent), (from, to, what));
        self.wake();
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Delivers what is due next. False if there is nothing.
    fn deliver(&mut self) -> bool {
        let Some(((due, _), (from, to, what))) = self.wire.pop_first() else { return false };
        self.now = self.now.max(due) + 1;
        match (to, what) {
            (End::Server, What::ToServer(heard)) => {
                if let End::Node(node) = from {
                    self.server.push_back((node, heard));
                }
            }
            (End::Node(node), what) => self.arrive(from, node, what),
            (End::Server, _) => {}
        }
        self.wake();
        true
    }

    fn arrive(&mut self, from: End, node: NodeId, what: What) {
        let Some(member) = self.members.get_mut(&node) else { return };
        match (from, what) {
            (End::Server, What::FromServer(event)) if member.server_open => {
                member.server_open = !matches!(event, Event::ServerClosed { .. });
                member.inbox.push_back(event);
            }
            (End::Node(peer), What::PeerOpen) => {
                let Some(link) = member.peers.get_mut(&peer).filter(|link| !link.open) else { return };
                link.open = true;
                let waiting = core::mem::take(&mut link.waiting);
                member.inbox.push_back(Event::PeerOpen { peer });
                for (channel, frame) in waiting {
                    self.put(End::Node(node), End::Node(peer), What::PeerFrame(channel, frame));
                }
            }
            (End::Node(peer), What::PeerFrame(channel, frame))
                if member.peers.get(&peer).is_some_and(|link| link.open) =>
            {
                member.inbox.push_back(Event::PeerFrame { peer, channel, frame });
            }
            (End::Node(peer), What::PeerClosed(reason)) if member.peers.remove(&peer).is_some() => {
                member.inbox.push_back(Event::PeerClosed { peer, reason });
            }
            _ => {}
        }
    }

    fn command(&mut self, node: NodeId, command: Command) {
        let me = End::Node(node);
        let Some(member) = self.members.get_mut(&node) else { return };
        match command {
            Command::OpenServer { .. } => {
                let again = core::mem::replace(&mut member.server_open, true);
                if again {
                    self.put(me, End::Server, What::ToServer(FromNode::Closed));
                }
                self.put(me, End::Server, What::ToServer(FromNode::Opened));
                self.put(End::Server, me, What::FromServer(Event::ServerOpen));
            }
            Command::CloseServer => {
                if core::mem::take(&mut member.server_open) {
                    self.put(me, End::Server, What::ToServer(FromNode::Closed));
                }
            }
            Command::SendServer { message } => {
                if member.server_open {
                    self.put(me, End::Server, What::ToServer(FromNode::Message(message)));
                }
            }
            Command::OpenPeer { peer, role, .. } => {
                if member.peers.contains_key(&peer) {
                    return;
                }
                member.peers.insert(peer, Link { role, open: false, waiting: Vec::new() });
                if role == Role::Offers {
                    member.inbox.push_back(Event::Signal { peer, signal: Signal::Offer { sdp: "memory".to_owned() } });
                }
            }
            Command::Signal { peer, signal } => match (member.peers.get(&peer).map(|link| link.role), signal) {
                (Some(Role::Answers), Signal::Offer { sdp }) => {
                    member.inbox.push_back(Event::Signal { peer, signal: Signal::Answer { sdp } });
                }
                (Some(Role::Offers), Signal::Answer { .. }) => {
                    self.put(me, End::Node(peer), What::PeerOpen);
                    self.put(End::Node(peer), me, What::PeerOpen);
                }
                _ => {}
            },
            Command::SendPeer { peer, channel, frame } => match member.peers.get_mut(&peer) {
                Some(link) if link.open => self.put(me, End::Node(peer), What::PeerFrame(channel, frame)),
                Some(link) => link.waiting.push((channel, frame)),
                None => {}
            },
            Command::ClosePeer { peer } => {
                if member.peers.remove(&peer).is_some() {
                    self.put(me, End::Node(peer), What::PeerClosed("the other side hung up".to_owned()));
                }
            }
        }
        self.wake();
    }

    fn vanish(&mut self, node: NodeId) {
        let Some(member) = self.members.remove(&node) else { return };
        if member.server_open {
            self.put(End::Node(node), End::Server, What::ToServer(FromNode::Closed));
        }
        let mut peers: Vec<NodeId> = member.peers.into_keys().collect();
        peers.sort(); // a map's order is different in every run
        for peer in peers {
            self.put(End::Node(node), End::Node(peer), What::PeerClosed("it vanished".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    /// Passes signals between the two until both are open.
    fn connect(a: &mut MemoryTransport, b: &mut MemoryTransport) {
        a.send(Command::OpenPeer { peer: B, role: Role::Offers, ice_servers: Vec::new() });
        b.send(Command::OpenPeer { peer: A, role: Role::Answers, ice_servers: Vec::new() });
        let Event::Signal { signal, .. } = block_on(a.next_event()) else { panic!("no offer") };
        b.send(Command::Signal { peer: A, signal });
        let Event::Signal { signal, .. } = block_on(b.next_event()) else { panic!("no answer") };
        a.send(Command::Signal { peer: B, signal });
        assert_eq!(block_on(a.next_event()), Event::PeerOpen { peer: B });
        assert_eq!(block_on(b.next_event()), Event::PeerOpen { peer: A });
    }

    fn run(seed: u64) -> Vec<(NodeId, u8)> {
        let network = MemoryNetwork::new(seed).with_delay(9);
        let mut nodes = [A, B].map(|node| network.join(node));
        for node in &mut nodes {
            node.send(Command::OpenServer { url: String::new() });
            for number in 0..20 {
                node.send(Command::SendServer { message: vec![number] });
            }
        }
        let heard = core::iter::from_fn(|| network.try_from_node());
        heard.filter_map(|(node, from)| if let FromNode::Message(m) = from { Some((node, m[0])) } else { None }).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_run_and_each_link_keeps_its_order() {
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        for node in [A, B] {
            let of_node: Vec<u8> = run(3).into_iter().filter(|(from, _)| *from == node).map(|(_, number)| number).collect();
            assert_eq!(of_node, Vec::from_iter(0..20));
        }
    }

    #[test]
    fn frames_pass_in_both_directions_and_a_vanished_node_is_noticed() {
        let network = MemoryNetwork::new(1);
        let (mut a, mut b) = (network.join(A), network.join(B));
        connect(&mut a, &mut b);
        a.send(Command::SendPeer { peer: B, channel: Channel::Control, frame: vec![1] });
        b.send(Command::SendPeer { peer: A, channel: Channel::Activations, frame: vec![2] });
        let frame = |peer, channel, byte| Event::PeerFrame { peer, channel, frame: vec![byte] };
        assert_eq!(block_on(b.next_event()), frame(A, Channel::Control, 1));
        assert_eq!(block_on(a.next_event()), frame(B, Channel::Activations, 2));
        drop(b);
        assert!(matches!(block_on(a.next_event()), Event::PeerClosed { peer: B, .. }));
    }

    #[test]
    fn a_closed_peer_hears_nothing_and_the_other_one_does() {
        let network = MemoryNetwork::new(1);
        let (mut a, mut b) = (network.join(A), network.join(B));
        connect(&mut a, &mut b);
        b.send(Command::SendPeer { peer: A, channel: Channel::Control, frame: vec![2] });
        a.send(Command::ClosePeer { peer: B });
        assert!(matches!(block_on(b.next_event()), Event::PeerClosed { peer: A, .. }));
        a.send(Command::OpenServer { url: String::new() });
        assert_eq!(block_on(a.next_event()), Event::ServerOpen, "the frame came too late");
    }
}

//! A network within a process, for tests: any number of nodes and the server's end, the same run
//! for the same seed.
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
//! What one end sends another arrives in order. Between different pairs,
//! [`MemoryNetwork::with_delay`] lets things overtake each other, by a random number drawn from the
//! seed. There is no clock: something is delivered whenever somebody waits, and nothing times out.
//! Peers open as real ones do, by an offer and an answer that the test's server has to pass on; the
//! texts in them mean nothing.

mod state;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use potluck_protocol::id::NodeId;

use self::state::{End, State, What};
use crate::{Command, Event, Transport};

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

impl MemoryNetwork {
    /// An empty network without delays.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State::new(seed);
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Delays everything by 0 to `deliveries` other deliveries.
    #[must_use]
    pub fn with_delay(self, deliveries: u64) -> Self {
        self.lock().max_delay = deliveries;
        self
    }

    /// A node's transport. A node of the same name that was there before has vanished; drop its
    /// transport first.
    #[must_use]
    pub fn join(&self, node: NodeId) -> MemoryTransport {
        self.lock().join(node);
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
        self.lock().put(
            End::Server,
            End::Node(node),
            What::FromServer(Event::ServerMessage { message }),
        );
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

    /// Takes a node off the network, as if its machine had lost power; the others hear of it. Its
    /// transport hears nothing any more.
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use potluck_protocol::peer::Channel;

    use super::*;
    use crate::Role;

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
        heard
            .filter_map(
                |(node, from)| {
                    if let FromNode::Message(m) = from { Some((node, m[0])) } else { None }
                },
            )
            .collect()
    }

    #[test]
    fn the_same_seed_is_the_same_run_and_each_link_keeps_its_order() {
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
        for node in [A, B] {
            let of_node: Vec<u8> = run(3)
                .into_iter()
                .filter(|(from, _)| *from == node)
                .map(|(_, number)| number)
                .collect();
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

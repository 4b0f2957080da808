//! What is under way in a memory network, and who is there.
//!
//! Everything happens in [`State::deliver`], one thing at a time, in the order of the (drawn) times
//! at which things are due.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::{Context, Poll, Waker};

use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::Signal;

use super::FromNode;
use crate::{Command, Event, Role};

#[derive(Debug)]
pub(super) struct State {
    random: u64,
    pub(super) max_delay: u64,
    /// Counts deliveries; a delivery's time is when it was sent plus its delay.
    now: u64,
    wire: BTreeMap<(u64, u64), (End, End, What)>,
    sent: u64,
    /// When the last thing between two ends is due, so that nothing overtakes it.
    last: HashMap<(End, End), u64>,
    pub(super) members: HashMap<NodeId, Member>,
    pub(super) server: VecDeque<(NodeId, FromNode)>,
    wakers: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    Server,
    Node(NodeId),
}

#[derive(Debug)]
pub(super) enum What {
    ToServer(FromNode),
    FromServer(Event),
    PeerOpen,
    PeerFrame(Channel, Vec<u8>),
    PeerClosed(String),
}

#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) inbox: VecDeque<Event>,
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

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            max_delay: 0,
            now: 0,
            wire: BTreeMap::new(),
            sent: 0,
            last: HashMap::new(),
            members: HashMap::new(),
            server: VecDeque::new(),
            wakers: Vec::new(),
        }
    }

    /// A node that was there before under this name has vanished.
    pub(super) fn join(&mut self, node: NodeId) {
        self.vanish(node);
        self.members.insert(node, Member::default());
    }

    pub(super) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl Fn(&mut Self) -> Option<T>,
    ) -> Poll<T> {
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

    pub(super) fn put(&mut self, from: End, to: End, what: What) {
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
    pub(super) fn deliver(&mut self) -> bool {
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
                let Some(link) = member.peers.get_mut(&peer).filter(|link| !link.open) else {
                    return;
                };
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

    pub(super) fn command(&mut self, node: NodeId, command: Command) {
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
                    member.inbox.push_back(Event::Signal {
                        peer,
                        signal: Signal::Offer { sdp: "memory".to_owned() },
                    });
                }
            }
            Command::Signal { peer, signal } => {
                match (member.peers.get(&peer).map(|link| link.role), signal) {
                    (Some(Role::Answers), Signal::Offer { sdp }) => {
                        member
                            .inbox
                            .push_back(Event::Signal { peer, signal: Signal::Answer { sdp } });
                    }
                    (Some(Role::Offers), Signal::Answer { .. }) => {
                        self.put(me, End::Node(peer), What::PeerOpen);
                        self.put(End::Node(peer), me, What::PeerOpen);
                    }
                    _ => {}
                }
            }
            Command::SendPeer { peer, channel, frame } => match member.peers.get_mut(&peer) {
                Some(link) if link.open => {
                    self.put(me, End::Node(peer), What::PeerFrame(channel, frame))
                }
                Some(link) => link.waiting.push((channel, frame)),
                None => {}
            },
            Command::ClosePeer { peer } => {
                if member.peers.remove(&peer).is_some() {
                    self.put(
                        me,
                        End::Node(peer),
                        What::PeerClosed("the other side hung up".to_owned()),
                    );
                }
            }
        }
        self.wake();
    }

    pub(super) fn vanish(&mut self, node: NodeId) {
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

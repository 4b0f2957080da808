//! Connections between two nodes, each with an end at either.
//!
//! ```text
//!   offers                            answers
//!   OpenPeer → offer, candidate ────▶ OpenPeer, Signal → answer, candidate
//!   Signal ◀──────────────────────────┘
//!   both have the other's description and candidate: a round trip later, PeerOpen at both
//! ```
//! A description names the end that it is of by its number, so that an answer to an earlier offer
//! opens nothing.

use core::time::Duration;

use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::Signal;

use super::{Arrival, Delivery, Loss, MemoryNetwork};
use crate::session::{Limits, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, charge};
use crate::{Event, Role};

/// What reaches one end.
#[derive(Debug)]
pub(super) enum PeerArrival {
    /// From the node's own transport, to be signed and passed on.
    Signal(Signal),
    Opened,
    Frame(Channel, Vec<u8>),
    Closed(String),
    AnswerTimedOut,
    OpeningTimedOut,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    number: u64,
    role: Role,
    phase: Phase,
    /// The other end's number, from its description.
    remote: Option<u64>,
    has_candidate: bool,
    /// Frames for when it opens.
    waiting: Vec<(Channel, Vec<u8>)>,
    /// Frames that came before it opened, as the other end was open first.
    early: Vec<Event>,
    /// Frames that have not arrived at the other end, those in `waiting` included.
    queued_frames: usize,
    queued_bytes: usize,
    /// When the last frame of each channel arrives here.
    last_arrival: [Duration; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    /// Both ends have all that they need; the channels open within a round trip.
    Connecting,
    Open,
    /// Nothing passes any more, and this end does not know it yet.
    Broken,
}

impl End {
    fn new(number: u64, role: Role) -> Self {
        Self {
            number,
            role,
            phase: Phase::Opening,
            remote: None,
            has_candidate: false,
            waiting: Vec::new(),
            early: Vec::new(),
            queued_frames: 0,
            queued_bytes: 0,
            last_arrival: [Duration::ZERO; 2],
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn break_off(&mut self) {
        self.phase = Phase::Broken;
    }

    pub(super) fn last_arrival(&self) -> Duration {
        self.last_arrival[0].max(self.last_arrival[1])
    }

    /// True if this end is, or is about to be, connected to `other`.
    pub(super) fn is_connected_to(&self, other: &Self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Open) && self.remote == Some(other.number)
    }

    fn is_ready_for(&self, other: &Self) -> bool {
        self.phase == Phase::Opening && self.has_candidate && self.remote == Some(other.number)
    }

    /// Takes a frame into the queue, if there is room.
    fn queue(&mut self, bytes: usize) -> Result<(), String> {
        if bytes > MAX_PEER_FRAME_BYTES {
            return Err(format!(
                "a frame of {bytes} bytes, at most {MAX_PEER_FRAME_BYTES} allowed"
            ));
        }
        if self.queued_bytes + charge(bytes) > MAX_QUEUED_BYTES
            || self.queued_frames >= MAX_QUEUED_FRAMES
        {
            return Err(format!("it is too slow: {} bytes wait for it", self.queued_bytes));
        }
        self.queued_bytes += charge(bytes);
        self.queued_frames += 1;
        Ok(())
    }

    fn has_arrived(&mut self, bytes: usize) {
        self.queued_bytes = self.queued_bytes.saturating_sub(charge(bytes));
        self.queued_frames = self.queued_frames.saturating_sub(1);
    }
}

impl MemoryNetwork {
    pub(super) fn end(&self, node: NodeId, peer: NodeId) -> Option<&End> {
        self.nodes.get(&node)?.peers.get(&peer)
    }

    pub(super) fn end_mut(&mut self, node: NodeId, peer: NodeId) -> Option<&mut End> {
        self.nodes.get_mut(&node)?.peers.get_mut(&peer)
    }

    pub(super) fn put_peer(
        &mut self,
        at: Duration,
        node: NodeId,
        peer: NodeId,
        end: u64,
        what: PeerArrival,
    ) {
        self.put(at, Arrival::Peer { node, peer, end, what });
    }

    pub(super) fn open_peer(&mut self, node: NodeId, peer: NodeId, role: Role) {
        if node == peer || self.end(node, peer).is_some() {
            return;
        }
        let number = self.number();
        self.nodes.entry(node).or_default().peers.insert(peer, End::new(number, role));
        self.time_opening(node, peer, number);
        if role == Role::Offers {
            self.describe(node, peer, number, Signal::Offer { sdp: number.to_string() });
        }
    }

    /// The node's transport has a description and a candidate for the peer.
    fn describe(&mut self, node: NodeId, peer: NodeId, number: u64, description: Signal) {
        let candidate = Signal::Candidate {
            candidate: "memory".to_owned(),
            sdp_mid: None,
            sdp_m_line_index: None,
        };
        for signal in [description, candidate] {
            self.put_peer(self.now, node, peer, number, PeerArrival::Signal(signal));
        }
    }

    fn time_opening(&mut self, node: NodeId, peer: NodeId, end: u64) {
        let limits = Limits::default();
        for (limit, what) in [
            (limits.answer, PeerArrival::AnswerTimedOut),
            (limits.open, PeerArrival::OpeningTimedOut),
        ] {
            self.put_later(self.now + limit, Arrival::Peer { node, peer, end, what });
        }
    }

    pub(super) fn remote_signal(&mut self, node: NodeId, peer: NodeId, signal: Signal) {
        let Some(end) = self.end(node, peer) else { return };
        match (signal, end.role) {
            (Signal::Offer { sdp }, Role::Answers) => {
                let Ok(remote) = sdp.parse() else {
                    return self.fail(node, peer, "its offer is unreadable".to_owned());
                };
                if end.remote != Some(remote) {
                    self.answer(node, peer, remote);
                }
            }
            (Signal::Answer { sdp }, Role::Offers) if end.remote.is_none() => {
                let numbers =
                    sdp.split_once(" to ").map(|(own, of)| (own.parse(), of.parse::<u64>()));
                let Some((Ok(remote), Ok(offer))) = numbers else {
                    return self.fail(node, peer, "its answer is unreadable".to_owned());
                };
                let is_current = end.number == offer;
                if let Some(end) = self.end_mut(node, peer).filter(|_| is_current) {
                    end.remote = Some(remote);
                }
            }
            (Signal::Candidate { .. }, _) => {
                if let Some(end) = self.end_mut(node, peer) {
                    end.has_candidate = true;
                }
            }
            // A description that is none of this end's business, or one that was sent twice.
            (Signal::Offer { .. } | Signal::Answer { .. }, _) => {}
        }
        self.connect(node, peer);
    }

    /// A peer that begins anew offers before the loss of the old connection shows here: the new
    /// one takes its place, with what waits to be sent.
    fn answer(&mut self, node: NodeId, peer: NodeId, remote: u64) {
        let number = self.number();
        let Some(end) = self.end_mut(node, peer) else { return };
        let is_again = end.remote.is_some();
        if is_again {
            let waiting = std::mem::take(&mut end.waiting);
            *end = End::new(number, Role::Answers);
            end.queued_frames = waiting.len();
            end.queued_bytes = waiting.iter().map(|(_, frame)| charge(frame.len())).sum();
            end.waiting = waiting;
        }
        end.remote = Some(remote);
        let own = end.number;
        if is_again {
            self.time_opening(node, peer, own);
        }
        self.describe(node, peer, own, Signal::Answer { sdp: format!("{own} to {remote}") });
    }

    /// Opens the channels, if both ends have what they need.
    fn connect(&mut self, a: NodeId, b: NodeId) {
        let (Some(one), Some(other)) = (self.end(a, b), self.end(b, a)) else { return };
        if !(one.is_ready_for(other) && other.is_ready_for(one)) {
            return;
        }
        let first_end = one.number;
        for (node, peer) in [(a, b), (b, a)] {
            let round_trip = self.delay(node, Some(peer)) + self.delay(node, Some(peer));
            let at = self.now + round_trip;
            let Some(end) = self.end_mut(node, peer) else { continue };
            end.phase = Phase::Connecting;
            let number = end.number;
            self.put_peer(at, node, peer, number, PeerArrival::Opened);
        }
        if let Some(mean) = self.profile.peer_lifetime {
            let at = self.now + self.random.duration(Duration::ZERO, mean * 2);
            let loss =
                if self.random.next().is_multiple_of(2) { Loss::Noticed } else { Loss::Silent };
            self.put_later(at, Arrival::Lifetime { node: a, peer: b, end: first_end, loss });
        }
    }

    pub(super) fn send_peer(
        &mut self,
        node: NodeId,
        peer: NodeId,
        channel: Channel,
        frame: Vec<u8>,
    ) {
        let Some(end) = self.end_mut(node, peer) else { return };
        if let Err(reason) = end.queue(frame.len()) {
            return self.fail(node, peer, reason);
        }
        match end.phase {
            Phase::Opening | Phase::Connecting => end.waiting.push((channel, frame)),
            Phase::Open => self.transmit(node, peer, channel, frame),
            Phase::Broken => {}
        }
    }

    fn transmit(&mut self, node: NodeId, peer: NodeId, channel: Channel, frame: Vec<u8>) {
        let Some(remote) = self.end(node, peer).and_then(|end| end.remote) else { return };
        let at = self.now + self.delay(node, Some(peer));
        let Some(other) = self.end_mut(peer, node).filter(|other| other.number == remote) else {
            return;
        };
        let last = &mut other.last_arrival[usize::from(channel.stream_id())];
        *last = at.max(*last);
        let at = *last;
        self.put_peer(at, peer, node, remote, PeerArrival::Frame(channel, frame));
    }

    /// This end gives the connection up and tells its node why.
    fn fail(&mut self, node: NodeId, peer: NodeId, reason: String) {
        let Some(end) = self.end_mut(node, peer) else { return };
        end.break_off();
        let number = end.number;
        self.put_peer(self.now, node, peer, number, PeerArrival::Closed(reason));
        self.close_other(node, peer);
    }

    pub(super) fn close_peer(&mut self, node: NodeId, peer: NodeId) {
        self.close_other(node, peer);
        if let Some(member) = self.nodes.get_mut(&node) {
            member.peers.remove(&peer);
        }
    }

    /// The other end learns that this one is closed, after the frames that were sent before.
    fn close_other(&mut self, node: NodeId, peer: NodeId) {
        let (Some(own), Some(other)) = (self.end(node, peer), self.end(peer, node)) else { return };
        if other.is_connected_to(own) {
            let (number, last) = (other.number, other.last_arrival());
            let at = last.max(self.now + self.delay(node, Some(peer)));
            let reason = "the other side hung up".to_owned();
            self.put_peer(at, peer, node, number, PeerArrival::Closed(reason));
        }
    }

    /// Something arrives at an end, if it is still there.
    pub(super) fn at_end(
        &mut self,
        node: NodeId,
        peer: NodeId,
        number: u64,
        what: PeerArrival,
    ) -> Option<Delivery> {
        let end = self.end_mut(node, peer).filter(|end| end.number == number)?;
        let event = match what {
            PeerArrival::Signal(signal) => Event::Signal { peer, signal },
            PeerArrival::Opened => return self.opened(node, peer),
            PeerArrival::Frame(channel, frame) => {
                if end.phase == Phase::Broken {
                    return None;
                }
                let is_early = end.phase != Phase::Open;
                let (remote, bytes) = (end.remote, frame.len());
                let event = Event::PeerFrame { peer, channel, frame };
                if is_early {
                    end.early.push(event.clone());
                }
                let sender = self.end_mut(peer, node).filter(|end| Some(end.number) == remote);
                if let Some(sender) = sender {
                    sender.has_arrived(bytes);
                }
                if is_early {
                    return None;
                }
                event
            }
            PeerArrival::Closed(reason) => self.closed(node, peer, reason)?,
            PeerArrival::AnswerTimedOut => {
                if end.remote.is_some() {
                    return None;
                }
                let limit = Limits::default().answer;
                self.closed(node, peer, format!("no answer within {} s", limit.as_secs_f32()))?
            }
            PeerArrival::OpeningTimedOut => {
                if !matches!(end.phase, Phase::Opening | Phase::Connecting) {
                    return None;
                }
                self.close_other(node, peer);
                let limit = Limits::default().open;
                self.closed(node, peer, format!("no connection within {} s", limit.as_secs_f32()))?
            }
        };
        Some(Delivery::Node { node, event })
    }

    fn closed(&mut self, node: NodeId, peer: NodeId, reason: String) -> Option<Event> {
        self.nodes.get_mut(&node)?.peers.remove(&peer)?;
        Some(Event::PeerClosed { peer, reason })
    }

    /// The channels are open: what waited goes out, what came early follows.
    fn opened(&mut self, node: NodeId, peer: NodeId) -> Option<Delivery> {
        let end = self.end_mut(node, peer).filter(|end| end.phase == Phase::Connecting)?;
        end.phase = Phase::Open;
        let number = end.number;
        let (waiting, early) = (std::mem::take(&mut end.waiting), std::mem::take(&mut end.early));
        for (channel, frame) in waiting {
            self.transmit(node, peer, channel, frame);
        }
        self.early.extend(early.into_iter().map(|event| (node, number, event)));
        Some(Delivery::Node { node, event: Event::PeerOpen { peer } })
    }
}

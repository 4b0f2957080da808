//! The state machine of one peer connection.

use core::time::Duration;

use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::Signal;

use super::awake::AwakeClock;
use super::greeting::{Greeting, MAX_GREETINGS};
use super::introduction::{Candidate, Described, Introduction, Surroundings};
use super::outbox::Outbox;
use super::reassembler::Reassembler;
use super::{Limits, MAX_QUEUED_BYTES, MAX_UNREAD_BYTES, charge};
use crate::{Event, Role};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// Begin.
    Start,
    /// A checked signal from the peer.
    Remote(Signal),
    /// A data channel is open.
    ChannelOpen(Channel),
    /// A data channel is closed, by whomever.
    ChannelClosed(Channel),
    /// This node's stack found a candidate.
    Found(Candidate),
    /// The path to the peer changed.
    Path(PathState),
    /// A data channel message.
    Chunk(Channel, &'a [u8]),
    /// The node wants to send a frame.
    Send(Channel, Vec<u8>),
    /// How many bytes the channel holds back at this moment. Needed before a send, where the
    /// platform can be asked, and whenever the channel has drained.
    Buffered(Channel, usize),
    /// The node took a frame of this many bytes.
    Read(usize),
    /// Something the platform was asked to do went wrong.
    Failed(String),
    /// Time passed; every [`TICK`](super::TICK).
    Tick,
}

/// To be done by the platform, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make an offer, send it as a signal and set it as the local description.
    Offer,
    /// Set this offer, make an answer, send it as a signal and set it as the local description.
    Answer {
        /// The offer's SDP text.
        offer: String,
        /// The peer began anew: throw the connection away and make another one first.
        fresh: bool,
    },
    /// Set this answer.
    Accept {
        /// The answer's SDP text.
        answer: String,
    },
    /// Add a candidate of the peer, a `candidate:` line of the description's one section. A
    /// description was set before.
    AddCandidate(String),
    /// Send a chunk.
    Transmit(Channel, Vec<u8>),
    /// Report this event to the node.
    Report(Event),
    /// Tear the connection down. The node has been told why; nothing follows.
    Close,
}

/// The path to the peer, as the WebRTC stack sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathState {
    /// There is one.
    Connected,
    /// Nothing comes through; it may come back.
    Disconnected,
    /// There is none, for good.
    Failed,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct PeerSession {
    peer: NodeId,
    role: Role,
    limits: Limits,
    clock: AwakeClock,
    phase: Phase,
    introduction: Introduction,
    /// A path to the peer was found.
    had_path: bool,
    disconnected_since: Option<Duration>,
    lanes: [Lane; 2],
    /// Frames that came before both channels were known to carry.
    held_back: Vec<Event>,
    /// What the frames weigh that the node was told of, or will be, and has not taken.
    unread_bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Opening { since: Option<Duration> },
    Open,
    Closed,
}

/// What there is one of a channel.
#[derive(Debug, Default)]
struct Lane {
    greeting: Greeting,
    reassembler: Reassembler,
    /// When the first and the last chunk of an unfinished frame came.
    partial_since: Option<(Duration, Duration)>,
    outbox: Outbox,
}

const CHANNELS: [Channel; 2] = [Channel::Control, Channel::Activations];

fn lane(channel: Channel) -> usize {
    match channel {
        Channel::Control => 0,
        Channel::Activations => 1,
    }
}

impl PeerSession {
    /// A connection to `peer` that nothing was done for yet.
    #[must_use]
    pub(crate) fn new(
        peer: NodeId,
        role: Role,
        limits: Limits,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            peer,
            role,
            limits,
            clock: AwakeClock::default(),
            phase: Phase::Opening { since: None },
            introduction: Introduction::new(surroundings),
            had_path: false,
            disconnected_since: None,
            lanes: Default::default(),
            held_back: Vec::new(),
            unread_bytes: 0,
        }
    }

    /// True while the node has so much to read that the next chunk of either channel, which may
    /// complete a frame of the largest size, could be too much.
    #[must_use]
    pub(crate) fn is_unread_full(&self) -> bool {
        self.unread_bytes > MAX_UNREAD_BYTES - 2 * charge(MAX_PEER_FRAME_BYTES)
    }

    /// True once [`Action::Close`] was asked for.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Takes what happened at `now` (since any fixed moment) and says what to do.
    pub(crate) fn handle(&mut self, input: Input<'_>, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.is_closed() {
            return actions;
        }
        let now = self.clock.at(now);
        match input {
            Input::Start => {
                self.phase = Phase::Opening { since: Some(now) };
                if self.role == Role::Offers {
                    actions.push(Action::Offer);
                }
            }
            Input::Remote(signal) => self.remote(signal, now, &mut actions),
            Input::ChannelOpen(channel) => {
                let hello = self.lanes[lane(channel)].greeting.open();
                actions.push(Action::Transmit(channel, hello.to_vec()));
                self.opened(&mut actions);
            }
            Input::ChannelClosed(channel) => {
                self.close(
                    format!("the other side closed the {} channel", channel.label()),
                    &mut actions,
                );
            }
            Input::Found(candidate) => {
                let signal = self.introduction.found(candidate);
                actions.extend(
                    signal.map(|signal| Action::Report(Event::Signal { peer: self.peer, signal })),
                );
                self.add_candidates(&mut actions);
            }
            Input::Path(state) => self.path(state, now, &mut actions),
            Input::Chunk(channel, chunk) => self.chunk(channel, chunk, now, &mut actions),
            Input::Send(channel, frame) => self.send(channel, frame, &mut actions),
            Input::Buffered(channel, bytes) => {
                self.lanes[lane(channel)].outbox.set_buffered(bytes);
                self.pump(channel, &mut actions);
            }
            Input::Read(bytes) => {
                self.unread_bytes = self.unread_bytes.saturating_sub(charge(bytes));
            }
            Input::Failed(reason) => self.close(reason, &mut actions),
            Input::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn remote(&mut self, signal: Signal, now: Duration, actions: &mut Vec<Action>) {
        match (signal, self.role) {
            (Signal::Offer { sdp }, Role::Answers) => match self.introduction.describe(sdp, now) {
                Ok(Described::Nothing) => {}
                Ok(Described::First { sdp }) => {
                    actions.push(Action::Answer { offer: sdp, fresh: false });
                }
                Ok(Described::Anew { sdp }) => self.begin_anew(sdp, now, actions),
                Err(error) => {
                    return self.close(format!("its offer cannot be used: {error}"), actions);
                }
            },
            (Signal::Answer { sdp }, Role::Offers) if !self.introduction.is_described() => {
                match self.introduction.describe(sdp, now) {
                    Ok(Described::First { sdp }) => actions.push(Action::Accept { answer: sdp }),
                    Ok(Described::Nothing | Described::Anew { .. }) => {}
                    Err(error) => {
                        return self.close(format!("its answer cannot be used: {error}"), actions);
                    }
                }
            }
            (Signal::Candidate { candidate, .. }, _) => self.introduction.candidate(candidate),
            // A description that is none of this side's business, or one that was sent twice.
            (Signal::Offer { .. } | Signal::Answer { .. }, role) => {
                tracing::debug!(peer = %self.peer.short(), ?role, "ignoring a session description");
            }
        }
        self.add_candidates(actions);
    }

    /// The peer lost its side (a page that was loaded again, say) and offers before the loss shows
    /// here. Its new connection takes the place of the old one; what the node queued meanwhile is
    /// for the new one. While a connection opens the time goes on, so that nobody keeps one opening
    /// for ever.
    fn begin_anew(&mut self, offer: String, now: Duration, actions: &mut Vec<Action>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Opening { since: Some(now) };
        }
        self.had_path = false;
        self.disconnected_since = None;
        for held in self.held_back.drain(..) {
            if let Event::PeerFrame { frame, .. } = held {
                self.unread_bytes = self.unread_bytes.saturating_sub(charge(frame.len()));
            }
        }
        for lane in &mut self.lanes {
            lane.greeting = Greeting::default();
            lane.reassembler = Reassembler::default();
            lane.partial_since = None;
            lane.outbox.restart();
        }
        actions.push(Action::Answer { offer, fresh: true });
    }

    fn add_candidates(&mut self, actions: &mut Vec<Action>) {
        actions.extend(self.introduction.release().into_iter().map(Action::AddCandidate));
    }

    fn opened(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Opening { .. })
            && self.lanes.iter().all(|lane| lane.greeting.is_done())
        {
            self.phase = Phase::Open;
            actions.push(Action::Report(Event::PeerOpen { peer: self.peer }));
            actions.extend(self.held_back.drain(..).map(Action::Report));
            for channel in CHANNELS {
                self.pump(channel, actions);
            }
        }
    }

    fn path(&mut self, state: PathState, now: Duration, actions: &mut Vec<Action>) {
        match state {
            PathState::Connected => {
                self.had_path = true;
                self.disconnected_since = None;
            }
            PathState::Disconnected => {
                self.disconnected_since.get_or_insert(now);
            }
            PathState::Failed if self.had_path => {
                self.close("the path to it broke".to_owned(), actions);
            }
            PathState::Failed => self.close(self.introduction.no_path(), actions),
        }
    }

    fn chunk(&mut self, channel: Channel, chunk: &[u8], now: Duration, actions: &mut Vec<Action>) {
        let lane = &mut self.lanes[lane(channel)];
        let greeting = lane.greeting.handle(chunk);
        if let Some(answer) = greeting {
            if lane.greeting.heard() > MAX_GREETINGS {
                return self.close("it greets without end".to_owned(), actions);
            }
            actions.extend(answer.map(|word| Action::Transmit(channel, word.to_vec())));
            return self.opened(actions);
        }
        let frame = match lane.reassembler.push(chunk) {
            Ok(frame) => frame,
            Err(error) => {
                return self.close(format!("it sent something malformed: {error}"), actions);
            }
        };
        lane.partial_since = lane
            .reassembler
            .is_partial()
            .then_some((lane.partial_since.map_or(now, |(first, _)| first), now));
        let Some(frame) = frame else { return };
        self.unread_bytes += charge(frame.len());
        if self.unread_bytes > MAX_UNREAD_BYTES {
            return self.close("it sends faster than this node can take".to_owned(), actions);
        }
        let event = Event::PeerFrame { peer: self.peer, channel, frame };
        if self.phase == Phase::Open {
            actions.push(Action::Report(event));
        } else {
            self.held_back.push(event);
        }
    }

    fn send(&mut self, channel: Channel, frame: Vec<u8>, actions: &mut Vec<Action>) {
        if frame.len() > MAX_PEER_FRAME_BYTES {
            let reason =
                format!("a frame of {} bytes, at most {MAX_PEER_FRAME_BYTES} allowed", frame.len());
            return self.close(reason, actions);
        }
        if frame.is_empty() {
            // It would say nothing, and the other side would end the connection for it.
            return tracing::warn!(peer = %self.peer.short(), "not sending an empty frame");
        }
        let queued: usize = self.lanes.iter().map(|lane| lane.outbox.queued_bytes()).sum();
        let outbox = &mut self.lanes[lane(channel)].outbox;
        if queued + charge(frame.len()) > MAX_QUEUED_BYTES || outbox.is_full() {
            let frames = outbox.queued_frames();
            let reason = format!("it is too slow: {queued} bytes, {frames} frames wait for it");
            return self.close(reason, actions);
        }
        outbox.push(frame);
        self.pump(channel, actions);
    }

    fn pump(&mut self, channel: Channel, actions: &mut Vec<Action>) {
        if self.phase == Phase::Open {
            let outbox = &mut self.lanes[lane(channel)].outbox;
            actions.extend(
                core::iter::from_fn(|| outbox.next_chunk())
                    .map(|chunk| Action::Transmit(channel, chunk)),
            );
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let over = |since: Option<Duration>, limit: Duration| {
            since.is_some_and(|since| now.saturating_sub(since) >= limit)
        };
        let limits = self.limits;
        let opening = match self.phase {
            Phase::Opening { since } => since,
            Phase::Open | Phase::Closed => None,
        };
        if !self.introduction.is_described() && over(opening, limits.answer) {
            let what = match self.role {
                Role::Offers => "it did not answer",
                Role::Answers => "it made no offer",
            };
            return self.close(format!("{what} within {} s", limits.answer.as_secs_f32()), actions);
        }
        if over(opening, limits.open) {
            let reason = if self.had_path {
                format!("no connection within {} s", limits.open.as_secs_f32())
            } else {
                self.introduction.no_path()
            };
            return self.close(reason, actions);
        }
        if let Some(offer) = self.introduction.tick(now) {
            self.begin_anew(offer, now, actions);
            return self.add_candidates(actions);
        }
        if self.is_unread_full() {
            // It is this node that does not listen.
            for since in self.lanes.iter_mut().filter_map(|lane| lane.partial_since.as_mut()) {
                *since = (now, now);
            }
        }
        let (first, last) = self.partial_since();
        if over(self.disconnected_since, limits.disconnected) {
            self.close(
                format!("nothing came through for {} s", limits.disconnected.as_secs_f32()),
                actions,
            );
        } else if over(last, limits.stall) {
            self.close(
                format!("a frame stopped halfway for {} s", limits.stall.as_secs_f32()),
                actions,
            );
        } else if over(first, limits.frame) {
            self.close(
                format!("a frame was not whole within {} s", limits.frame.as_secs_f32()),
                actions,
            );
        } else {
            for channel in CHANNELS {
                let greeting = self.lanes[lane(channel)].greeting.repeat();
                actions.extend(greeting.map(|chunk| Action::Transmit(channel, chunk.to_vec())));
            }
        }
    }

    /// When the oldest unfinished frame began, and when the one that waits for longest got its last
    /// chunk.
    fn partial_since(&self) -> (Option<Duration>, Option<Duration>) {
        let partial = || self.lanes.iter().filter_map(|lane| lane.partial_since);
        (partial().map(|(first, _)| first).min(), partial().map(|(_, last)| last).min())
    }

    fn close(&mut self, reason: String, actions: &mut Vec<Action>) {
        self.phase = Phase::Closed;
        self.lanes = Default::default();
        self.held_back = Vec::new();
        actions.push(Action::Report(Event::PeerClosed { peer: self.peer, reason }));
        actions.push(Action::Close);
    }
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;

//! Connections to peers: opened for a session, shared between sessions, closed when idle or when
//! the peer misbehaves.
//!
//! Only peers that the server named in a session of ours are connected to, and only their signed
//! signals are passed on.

use std::collections::HashMap;
use std::time::Duration;

use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::id::{Epoch, NodeId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{Session, Signal, SignedSignal, ToServer};

use super::{Action, Node};

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: HashMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    open: bool,
    /// Frames for when it opens.
    queue: Vec<PeerFrame>,
    /// Since when no session uses it.
    idle_since: Option<Duration>,
    /// Ours and the peer's when this was opened.
    epochs: (Option<Epoch>, Option<Epoch>),
}

/// Frames kept for a connection that is still opening: a whole long prompt in steps, and some.
const MAX_QUEUED_FRAMES: usize = 600;
/// How long an unused connection is kept: the next question of the same people is likely within it,
/// and opening one takes a while.
const IDLE: Duration = Duration::from_secs(60);

impl Node {
    /// Makes sure there is, or will be, a connection to `peer` for `session`.
    ///
    /// One from an earlier session is used again only if neither side has begun anew since: a
    /// program that left without a word, and came back under the same key, knows nothing of it.
    /// Both sides see the same epochs, so both decide alike.
    pub(super) fn open_peer(&mut self, peer: NodeId, session: &Session) {
        if peer == self.me {
            return;
        }
        let epochs = (session.epoch_of(self.me), session.epoch_of(peer));
        match self.peers.known.get_mut(&peer) {
            Some(known) if known.epochs == epochs => {
                known.idle_since = None;
                return;
            }
            Some(_) => self.actions.push(Action::Transport(net::Command::ClosePeer { peer })),
            None => {}
        }
        self.peers
            .known
            .insert(peer, Peer { open: false, queue: Vec::new(), idle_since: None, epochs });
        self.actions.push(Action::Transport(net::Command::OpenPeer {
            peer,
            role: net::Role::of(self.me, peer),
            ice_servers: self.ice_servers.clone(),
        }));
    }

    /// Sends a frame, now or when the connection opens. To itself: round the corner.
    pub(super) fn send_peer(&mut self, peer: NodeId, frame: PeerFrame) {
        if peer == self.me {
            self.loopback.push_back(frame);
            return;
        }
        match self.peers.known.get_mut(&peer) {
            Some(known) if known.open => self.transmit(peer, &frame),
            Some(known) if known.queue.len() < MAX_QUEUED_FRAMES => known.queue.push(frame),
            // Gone or overfull: its session fails by its own time-out or by the close that has been
            // or will be reported.
            _ => tracing::debug!(peer = %peer.short(), "no connection for a frame"),
        }
    }

    fn transmit(&mut self, peer: NodeId, frame: &PeerFrame) {
        self.actions.push(Action::Transport(net::Command::SendPeer {
            peer,
            channel: frame.channel(),
            frame: codec::encode(frame),
        }));
    }

    pub(super) fn peer_open(&mut self, peer: NodeId, _now: Duration) {
        let Some(known) = self.peers.known.get_mut(&peer) else {
            self.actions.push(Action::Transport(net::Command::ClosePeer { peer }));
            return;
        };
        known.open = true;
        for frame in std::mem::take(&mut known.queue) {
            self.transmit(peer, &frame);
        }
    }

    pub(super) fn peer_closed(&mut self, peer: NodeId, reason: &str, now: Duration) {
        if self.peers.known.remove(&peer).is_some() {
            self.lost_peer(peer, reason, now);
        }
    }

    /// Closes the connection to a peer that broke the rules. Sessions with it fail; nothing else is
    /// disturbed.
    pub(super) fn drop_peer(&mut self, peer: NodeId, reason: &str, now: Duration) {
        tracing::warn!(peer = %peer.short(), reason, "closing a peer");
        if self.peers.known.remove(&peer).is_some() {
            self.actions.push(Action::Transport(net::Command::ClosePeer { peer }));
            self.lost_peer(peer, reason, now);
        }
    }

    fn lost_peer(&mut self, peer: NodeId, reason: &str, now: Duration) {
        let why = format!("the connection to {} is gone: {reason}", peer.name());
        for session in self.serving.sessions_with(peer) {
            self.fail_serving(session, &why, Some(peer), now);
        }
        for session in self.asking.sessions_with(peer) {
            self.resume_ask_of(session, &why, Some(peer), now);
        }
    }

    /// The transport wants a peer to hear this: signed, through the server.
    pub(super) fn signal_out(&mut self, peer: NodeId, signal: Signal) {
        let signal = SignedSignal::new(&self.identity, peer, signal);
        self.say_to_server(&ToServer::Signal { to: peer, signal });
    }

    /// A peer's signal came through the server: passed on only if the peer itself signed it for us.
    pub(super) fn signal_in(&mut self, from: NodeId, signal: SignedSignal) {
        if !self.peers.known.contains_key(&from) {
            tracing::debug!(peer = %from.short(), "signal from a peer of no session");
        } else if !signal.is_from(from, self.me) {
            tracing::warn!(peer = %from.short(), "signal with a wrong signature");
        } else {
            self.actions.push(Action::Transport(net::Command::Signal {
                peer: from,
                signal: signal.signal,
            }));
        }
    }

    pub(super) fn peers_tick(&mut self, now: Duration) {
        let mut idle = Vec::new();
        for (&peer, known) in &mut self.peers.known {
            if self.serving.uses(peer) || self.asking.uses(peer) {
                known.idle_since = None;
            } else if now.saturating_sub(*known.idle_since.get_or_insert(now)) >= IDLE {
                idle.push(peer);
            }
        }
        for peer in idle {
            self.peers.known.remove(&peer);
            self.actions.push(Action::Transport(net::Command::ClosePeer { peer }));
        }
    }
}

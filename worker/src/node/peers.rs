//! Connections to peers: opened for a session, shared between sessions, closed when idle or when
//! the peer misbehaves.
//!
//! Only peers that the server named in a session of ours are connected to, and only their signed
//! signals are passed on. Frames are not kept here: the transport has the one queue.

use std::collections::HashMap;
use std::time::Duration;

use potluck_net as net;
use potluck_protocol::id::{Epoch, NodeId};
use potluck_protocol::server::{IceServer, Session, SignedSignal};

use super::Action;
use super::outbox::{Event, Outbox};

/// All connections, open or opening.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: HashMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    /// Since when no session uses it.
    idle_since: Option<Duration>,
    /// Ours and the peer's when this was opened.
    epochs: (Option<Epoch>, Option<Epoch>),
}

/// How long an unused connection is kept: the next question of the same people is likely within it,
/// and opening one takes a while.
const IDLE: Duration = Duration::from_secs(60);

impl Peers {
    pub(super) fn is_known(&self, peer: NodeId) -> bool {
        self.known.contains_key(&peer)
    }

    /// Makes sure there is, or will be, a connection to `peer` for `session`.
    ///
    /// One from an earlier session is used again only if neither side has begun anew since: a
    /// program that left without a word, and came back under the same key, knows nothing of it.
    /// Both sides see the same epochs, so both decide alike.
    pub(super) fn open(
        &mut self,
        peer: NodeId,
        me: NodeId,
        session: &Session,
        ice_servers: &[IceServer],
        outbox: &mut Outbox,
    ) {
        let epochs = (session.epoch_of(me), session.epoch_of(peer));
        match self.known.get_mut(&peer) {
            Some(known) if known.epochs == epochs => {
                known.idle_since = None;
                return;
            }
            Some(_) => close(peer, outbox),
            None => {}
        }
        self.known.insert(peer, Peer { idle_since: None, epochs });
        outbox.act(Action::Transport(net::Command::OpenPeer {
            peer,
            role: net::Role::of(me, peer),
            ice_servers: ice_servers.to_vec(),
        }));
    }

    /// A connection is open. One that nobody wants any more is closed.
    pub(super) fn handle_open(&self, peer: NodeId, outbox: &mut Outbox) {
        if !self.is_known(peer) {
            close(peer, outbox);
        }
    }

    /// A connection is gone.
    pub(super) fn handle_closed(&mut self, peer: NodeId, reason: String, outbox: &mut Outbox) {
        if self.known.remove(&peer).is_some() {
            outbox.raise(Event::PeerLost { peer, reason });
        }
    }

    /// Closes the connection to a peer that broke the rules. Sessions with it fail; nothing else is
    /// disturbed.
    pub(super) fn drop_peer(&mut self, peer: NodeId, fault: String, outbox: &mut Outbox) {
        tracing::warn!(peer = %peer.short(), fault, "closing a peer");
        if self.known.remove(&peer).is_some() {
            close(peer, outbox);
            outbox.raise(Event::PeerLost { peer, reason: fault });
        }
    }

    /// A peer's signal came through the server: passed on only if the peer itself signed it for us.
    pub(super) fn handle_signal(
        &self,
        from: NodeId,
        me: NodeId,
        signal: SignedSignal,
        outbox: &mut Outbox,
    ) {
        if !self.is_known(from) {
            tracing::debug!(peer = %from.short(), "signal from a peer of no session");
        } else if !signal.is_from(from, me) {
            tracing::warn!(peer = %from.short(), "signal with a wrong signature");
        } else {
            let signal = signal.signal;
            outbox.act(Action::Transport(net::Command::Signal { peer: from, signal }));
        }
    }

    /// Closes connections that no session has used for a while.
    pub(super) fn tick(
        &mut self,
        is_used: impl Fn(NodeId) -> bool,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        self.known.retain(|peer, known| {
            if is_used(*peer) {
                known.idle_since = None;
                return true;
            }
            let keep = now.saturating_sub(*known.idle_since.get_or_insert(now)) < IDLE;
            if !keep {
                close(*peer, outbox);
            }
            keep
        });
    }
}

fn close(peer: NodeId, outbox: &mut Outbox) {
    outbox.act(Action::Transport(net::Command::ClosePeer { peer }));
}

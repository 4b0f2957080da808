//! Connections to peers: opened for a session, shared between sessions, closed when idle or when
//! the peer misbehaves.
//!
//! Only peers that the server named in a session of ours are connected to, and only their signed
//! signals are passed on, offers not too often. Frames are not kept here: the transport has the one
//! queue.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use potluck_net as net;
use potluck_protocol::id::{Epoch, NodeId};
use potluck_protocol::invitation::Invitation;
use potluck_protocol::server::{IceServer, Session, Signal, SignedSignal};

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
    path: Path,
    /// When its latest offers came.
    offers: VecDeque<Duration>,
}

/// How far the connection to a peer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// It carries frames, as far as is known.
    Open,
    /// It is being opened since then.
    Opening { since: Duration, heard: Option<Duration> },
}

/// Offers of one peer that are taken within [`OFFER_WINDOW`]. Each replaces a connection by a new
/// one, which costs a browser one of the few hundred that it can have in its life; an honest peer
/// offers once, and again when its page was reloaded.
const MAX_OFFERS: usize = 4;
/// See [`MAX_OFFERS`].
const OFFER_WINDOW: Duration = Duration::from_secs(60);
/// How long an unused connection is kept: the next question of the same people is likely within it,
/// and opening one takes a while.
const IDLE: Duration = Duration::from_secs(60);

impl Peers {
    pub(super) fn is_known(&self, peer: NodeId) -> bool {
        self.known.contains_key(&peer)
    }

    /// How far the connection to a peer has come; none if nobody wants one.
    pub(super) fn path(&self, peer: NodeId) -> Option<Path> {
        self.known.get(&peer).map(|known| known.path)
    }

    /// True if frames reach this peer now, as far as is known.
    pub(super) fn is_open(&self, peer: NodeId) -> bool {
        self.path(peer) == Some(Path::Open)
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
        now: Duration,
        outbox: &mut Outbox,
    ) {
        let epochs = (session.epoch_of(me), session.epoch_of(peer));
        let mut offers = VecDeque::new();
        match self.known.get_mut(&peer) {
            Some(known) if known.epochs == epochs => {
                known.idle_since = None;
                return;
            }
            Some(known) => {
                offers = std::mem::take(&mut known.offers);
                close(peer, outbox);
            }
            None => {}
        }
        let path = Path::Opening { since: now, heard: None };
        self.known.insert(peer, Peer { idle_since: None, epochs, path, offers });
        outbox.act(Action::Transport(net::Command::OpenPeer {
            peer,
            role: net::Role::of(me, peer),
            ice_servers: ice_servers.to_vec(),
        }));
    }

    /// A connection is open. One that nobody wants any more is closed.
    pub(super) fn handle_open(&mut self, peer: NodeId, outbox: &mut Outbox) {
        match self.known.get_mut(&peer) {
            Some(known) => known.path = Path::Open,
            None => close(peer, outbox),
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

    /// Gives up a connection that does not come about.
    pub(super) fn give_up(&mut self, peer: NodeId, outbox: &mut Outbox) {
        if self.known.remove(&peer).is_some() {
            close(peer, outbox);
            let reason = "it could not be reached".to_owned();
            outbox.raise(Event::PeerLost { peer, reason });
        }
    }

    /// A peer's signal came through the server: passed on only if the peer itself signed it for us,
    /// as a member of our room where we are in one, and does not begin anew all the time.
    pub(super) fn handle_signal(
        &mut self,
        from: NodeId,
        (me, room, calendar_s): (NodeId, Option<Invitation>, u64),
        signal: SignedSignal,
        now: Duration,
        outbox: &mut Outbox,
    ) {
        let Some(known) = self.known.get_mut(&from) else {
            tracing::debug!(peer = %from.short(), "signal from a peer of no session");
            return;
        };
        let is_offer = matches!(signal.signal, Signal::Offer { .. });
        let is_theirs = || match room {
            Some(room) => room.is_signal(&signal, from, me, calendar_s),
            None => signal.is_from(from, me, None),
        };
        if is_offer && !known.may_offer(now) {
            tracing::debug!(peer = %from.short(), "too many offers; dropped");
        } else if !is_theirs() {
            tracing::warn!(peer = %from.short(), "signal with a wrong signature, or of no member");
        } else {
            if is_offer {
                known.offers.push_back(now);
            }
            if let Path::Opening { heard, .. } = &mut known.path {
                *heard = Some(now);
            }
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

impl Peer {
    /// True if one more offer is not too many.
    fn may_offer(&mut self, now: Duration) -> bool {
        while self.offers.front().is_some_and(|at| now >= *at + OFFER_WINDOW) {
            self.offers.pop_front();
        }
        self.offers.len() < MAX_OFFERS
    }
}

fn close(peer: NodeId, outbox: &mut Outbox) {
    outbox.act(Action::Transport(net::Command::ClosePeer { peer }));
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{LayerRange, ModelId, SessionId};
    use potluck_protocol::identity::Identity;
    use potluck_protocol::server::Stage;

    use super::*;

    const ME: NodeId = NodeId([9; 32]);

    /// Offers of `peer` at these seconds; how many were passed on to the transport.
    fn passed_on(peers: &mut Peers, peer: &Identity, at: impl Iterator<Item = u64>) -> usize {
        let mut outbox = Outbox::default();
        for (number, second) in at.enumerate() {
            let signal = Signal::Offer { sdp: number.to_string() };
            let signal = SignedSignal::new(peer, ME, signal, None);
            peers.handle_signal(
                peer.node(),
                (ME, None, 0),
                signal,
                Duration::from_secs(second),
                &mut outbox,
            );
        }
        outbox.actions.len()
    }

    fn session(peer: NodeId, epoch: u64) -> Session {
        let stages = vec![Stage { node: ME, layers: LayerRange { first: 0, end: 1 } }];
        let epochs = vec![Epoch(1), Epoch(epoch)];
        Session {
            id: SessionId([1; 16]),
            model: ModelId([1; 32]),
            requester: peer,
            stages,
            epochs,
            continues: None,
        }
    }

    #[test]
    fn a_peer_may_offer_a_few_times_a_minute_also_in_new_sessions() {
        let peer = Identity::from_seed(&[1; 32]);
        let mut peers = Peers::default();
        let open = |peers: &mut Peers, epoch| {
            let session = session(peer.node(), epoch);
            peers.open(peer.node(), ME, &session, &[], Duration::ZERO, &mut Outbox::default());
        };
        assert_eq!(passed_on(&mut peers, &peer, 0..1), 0, "of no session");
        open(&mut peers, 1);
        assert_eq!(passed_on(&mut peers, &peer, std::iter::repeat_n(1, 50)), MAX_OFFERS);
        open(&mut peers, 2);
        assert_eq!(passed_on(&mut peers, &peer, 2..60), 0, "it begins anew, and has had its share");
        assert_eq!(passed_on(&mut peers, &peer, 61..63), 2);
    }

    #[test]
    fn whoever_signals_is_heard_until_its_connection_is_open() {
        let peer = Identity::from_seed(&[1; 32]);
        let (mut peers, mut outbox) = (Peers::default(), Outbox::default());
        let session = session(peer.node(), 1);
        peers.open(peer.node(), ME, &session, &[], Duration::from_secs(1), &mut outbox);
        let since = Duration::from_secs(1);
        assert_eq!(peers.path(peer.node()), Some(Path::Opening { since, heard: None }));
        passed_on(&mut peers, &peer, 3..4);
        let heard = Some(Duration::from_secs(3));
        assert_eq!(peers.path(peer.node()), Some(Path::Opening { since, heard }));
        peers.handle_open(peer.node(), &mut outbox);
        assert!(peers.is_open(peer.node()));
        peers.give_up(peer.node(), &mut outbox);
        assert!(!peers.is_known(peer.node()));
    }
}

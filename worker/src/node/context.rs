//! What the roles of a node share: who it is, what it knows, its connections, and the outbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use potluck_model::package::Manifest;
use potluck_model::tokenizer::Tokenizer;
use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::grant::{GrantFault, MAX_GRANT_DAYS, SignedGrant};
use potluck_protocol::id::{ModelId, NodeId};
use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::{Invitation, RoomTicket, ticket_end_s};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::{ModelSummary, Session, Signal, SignedSignal, ToServer};

use super::Action;
use super::link::Link;
use super::outbox::{Event, Outbox};
use super::peers::Peers;

/// Handed to a role with everything that happens.
#[derive(Debug)]
pub(super) struct Context {
    /// Whoever this node is outside of rooms.
    pub(super) own: Identity,
    /// Who it is where it is now.
    pub(super) identity: Identity,
    pub(super) me: NodeId,
    /// The room that it is in.
    pub(super) room: Option<Invitation>,
    /// It is known as somebody beside whoever this machine is: a program that only stands at a door,
    /// while another lends.
    pub(super) is_beside: bool,
    /// Since the node started.
    pub(super) now: Duration,
    /// By the calendar, seconds since 1970.
    pub(super) calendar_s: u64,
    /// What this machine is lent under; `None` while it is not lent.
    pub(super) grant: Option<SignedGrant>,
    pub(super) library: Library,
    pub(super) traffic: Traffic,
    pub(super) link: Link,
    pub(super) peers: Peers,
    pub(super) outbox: Outbox,
}

/// Bytes of steps and of what came of them, to and from others, since lending began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

impl Traffic {
    pub(super) fn total(self) -> u64 {
        self.received_bytes.saturating_add(self.sent_bytes)
    }
}

/// The swarm's models, and what was fetched of them.
#[derive(Debug, Default)]
pub(super) struct Library {
    /// As the server announced them; the first is the default.
    pub(super) models: Vec<ModelSummary>,
    pub(super) manifests: HashMap<ModelId, Arc<Manifest>>,
    pub(super) tokenizers: HashMap<ModelId, Arc<Tokenizer>>,
}

impl Context {
    pub(super) fn new(own: Identity) -> Self {
        let identity = own.clone();
        let me = identity.node();
        Self {
            own,
            identity,
            me,
            room: None,
            is_beside: false,
            now: Duration::ZERO,
            calendar_s: 0,
            grant: None,
            library: Library::default(),
            traffic: Traffic::default(),
            link: Link::default(),
            peers: Peers::default(),
            outbox: Outbox::default(),
        }
    }

    /// Whether anything of `model` may be fetched, or computed for others, now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_compute(&self, model: ModelId) -> Result<(), GrantFault> {
        let signed = self.grant.as_ref().ok_or(GrantFault::Missing)?;
        signed.grant.allows(model, self.calendar_s)
    }

    /// From now on this node is in that room, or in the public swarm, where it is somebody else.
    pub(super) fn enter(&mut self, invitation: Option<Invitation>) {
        self.identity = match invitation {
            Some(room) => self.own.in_room(room.room()),
            None => self.own.clone(),
        };
        if self.is_beside {
            self.identity = self.identity.beside();
        }
        self.me = self.identity.node();
        self.room = invitation.map(|room| match room.keeper_of(&self.own) {
            // Whoever keeps the list is on it.
            Some(keeper) => {
                let until_s = ticket_end_s(self.calendar_s, MAX_GRANT_DAYS);
                room.with(Some(RoomTicket::new(&keeper, room.room(), self.me, until_s)))
            }
            None => room,
        });
    }

    /// True if this node is where `invitation` leads already; the keeper's pass is its own.
    pub(super) fn is_in(&self, invitation: Option<Invitation>) -> bool {
        let bare = |room: Option<Invitation>| {
            room.map(|room| room.keeper_of(&self.own).map_or(room, |_| room.with(None)))
        };
        bare(self.room) == bare(invitation)
    }

    /// Sends a message to the server. It is lost without a link: what matters is sent again when
    /// the server welcomes the node.
    pub(super) fn send_server(&mut self, message: &ToServer) {
        if self.link.is_open() {
            self.link.note_sent();
            self.outbox.send_server(message);
        }
    }

    /// Sends what a stage computed, or room for more of it: to its neighbours, or its requester.
    pub(super) fn send_from_stage(&mut self, peer: NodeId, frame: PeerFrame) {
        if peer == self.me {
            // No stage is its own neighbour.
            self.outbox.raise(Event::LoopbackToRequester(frame));
            return;
        }
        let is_lent = matches!(frame, PeerFrame::Hidden { .. } | PeerFrame::Token { .. });
        let bytes = self.send_over(peer, &frame);
        // What a requester sends is its own business.
        if is_lent {
            self.traffic.sent_bytes += bytes;
        }
    }

    /// Sends a frame to a peer; the transport keeps it while the connection is still opening.
    pub(super) fn send_peer(&mut self, peer: NodeId, frame: PeerFrame) {
        if peer == self.me {
            self.outbox.raise(Event::Loopback(frame));
        } else {
            self.send_over(peer, &frame);
        }
    }

    /// Its size.
    fn send_over(&mut self, peer: NodeId, frame: &PeerFrame) -> u64 {
        if !self.peers.is_known(peer) {
            // Its session fails by its own time-out or by the close that has been reported.
            tracing::debug!(peer = %peer.short(), "no connection for a frame");
            return 0;
        }
        let (channel, frame) = (frame.channel(), codec::encode(frame));
        let bytes = frame.len() as u64;
        self.outbox.act(Action::Transport(net::Command::SendPeer { peer, channel, frame }));
        bytes
    }

    /// Makes sure there is, or will be, a connection to `peer` for `session`.
    pub(super) fn open_peer(&mut self, peer: NodeId, session: &Session) {
        if peer != self.me {
            let ice_servers = self.link.ice_servers();
            self.peers.open(peer, self.me, session, ice_servers, self.now, &mut self.outbox);
        }
    }

    /// Sends a signal of the transport to a peer: signed, through the server.
    pub(super) fn send_signal(&mut self, peer: NodeId, signal: Signal) {
        let seal = self.room.map(|room| room.seal());
        let signal = SignedSignal::new(&self.identity, peer, signal, seal.as_ref())
            .showing(self.room.and_then(|room| room.ticket));
        self.send_server(&ToServer::Signal { to: peer, signal });
    }
}

impl Library {
    /// The model of this name, or the swarm's first; none if the swarm has no such model.
    pub(super) fn find(&self, name: Option<&str>) -> Option<&ModelSummary> {
        self.models.iter().find(|model| name.is_none_or(|name| name == model.name))
    }
}

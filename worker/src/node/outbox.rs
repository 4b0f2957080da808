//! What the roles of a node want done, and what they let each other know. It decides nothing and
//! sends nothing itself: the loop performs the actions, the node routes the events.

use std::collections::VecDeque;

use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::page::Notice;
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::ToServer;

use super::Action;

/// What a role wants done: by the loop that drives the node, or by another role.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) actions: Vec<Action>,
    /// Handled, in order, before the node is done with what happened.
    pub(super) events: VecDeque<Event>,
}

/// What one role lets the others know.
#[derive(Debug)]
pub(super) enum Event {
    /// A frame of this node to itself: a page that both asks and serves.
    Loopback(PeerFrame),
    /// The same from a stage of this node to its requester, where rows and room for rows go both ways.
    LoopbackToRequester(PeerFrame),
    /// A peer broke the rules; its connection has to go.
    PeerMisbehaved { peer: NodeId, fault: String },
    /// The connection to a peer is gone.
    PeerLost { peer: NodeId, reason: String },
    /// The link to the server is gone, and will be dialled again.
    LinkLost,
    /// There will be no link to this server.
    LinkRefused { reason: String },
    /// This machine cannot hold what it should, and will not by itself.
    CannotLend { reason: String },
    /// A stage of this node finished a receipt.
    WorkDone(Receipt),
    /// The requester signed the receipt of a session that ends at this position.
    ReceiptSigned { session: SessionId, to_position: u32 },
    /// A session that this node was a stage of is over.
    SessionClosed { session: SessionId },
    /// All receipts of a session that its requester ended are proposed.
    AllProposed { requester: NodeId, session: SessionId },
    /// Layers that were needed may not be needed any more.
    AssignmentChanged,
    /// The server credited a receipt; this is the node's whole balance.
    Credited { balance_macs: u64 },
}

impl Outbox {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.act(Action::Notice(notice));
    }

    pub(super) fn raise(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Also before the server has welcomed this node, which only the handshake may do.
    pub(super) fn send_server(&mut self, message: &ToServer) {
        let message = codec::encode(message);
        self.act(Action::Transport(net::Command::SendServer { message }));
    }
}

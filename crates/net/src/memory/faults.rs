//! What goes wrong, now or at a given time.

use core::time::Duration;

use potluck_protocol::id::NodeId;

use super::peers::PeerArrival;
use super::{Arrival, MemoryNetwork};
use crate::session::Limits;

/// How the ends of a connection learn that it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// As soon as a message takes: a process that ends closes its sockets.
    Noticed,
    /// By silence, after the real transports' time-out: a cable that is pulled.
    Silent,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection between two nodes breaks. What is under way on it is lost.
    Peers {
        /// One end.
        a: NodeId,
        /// The other.
        b: NodeId,
        /// How they learn of it.
        loss: Loss,
    },
    /// A node's connection to the server breaks.
    Server {
        /// The node.
        node: NodeId,
        /// How both learn of it.
        loss: Loss,
    },
    /// A node stops, with all its connections open: a lid that closes, a tab that sleeps. What is
    /// sent to it waits, within the senders' bounds. Its driver must stop it too.
    Freeze(NodeId),
    /// A frozen node goes on, and gets what has arrived meanwhile.
    Thaw(NodeId),
    /// A node is gone. What it has sent before still arrives. A command under the same key is that
    /// of a new node, which knows nothing of the old one's connections.
    Vanish {
        /// The node.
        node: NodeId,
        /// How the others learn of it.
        loss: Loss,
    },
}

/// How long the server takes for a node's silence; `potluck-server` allows 4.5 s.
pub(super) const SERVER_SILENCE: Duration = Duration::from_millis(4_500);

impl MemoryNetwork {
    /// Lets something go wrong at a time to come.
    pub fn schedule(&mut self, at: Duration, fault: Fault) {
        self.put_later(at, Arrival::Fault(fault));
    }

    /// Lets something go wrong now.
    pub fn happen(&mut self, fault: Fault) {
        match fault {
            Fault::Peers { a, b, loss } => {
                for (node, peer) in [(a, b), (b, a)] {
                    if let Some(end) = self.end_mut(node, peer) {
                        end.break_off();
                    }
                    self.notice_loss(node, peer, loss, "the connection broke");
                }
            }
            Fault::Server { node, loss } => {
                let silence = (loss == Loss::Silent).then_some(SERVER_SILENCE);
                self.break_server(node, silence, "the connection broke");
            }
            Fault::Freeze(node) => self.nodes.entry(node).or_default().is_frozen = true,
            Fault::Thaw(node) => {
                let Some(member) = self.nodes.get_mut(&node) else { return };
                member.is_frozen = false;
                for arrival in std::mem::take(&mut member.held) {
                    self.put(self.now, arrival);
                }
            }
            Fault::Vanish { node, loss } => self.vanish(node, loss),
        }
    }

    fn vanish(&mut self, node: NodeId, loss: Loss) {
        let silence = (loss == Loss::Silent).then_some(SERVER_SILENCE);
        self.break_server(node, silence, "the node is gone");
        let Some(member) = self.nodes.remove(&node) else { return };
        for (peer, end) in member.peers {
            // A peer that has not learned of this end yet waits for it until its time-out.
            if self.end(peer, node).is_some_and(|other| other.is_connected_to(&end)) {
                self.notice_loss(peer, node, loss, "it vanished");
            }
        }
    }

    /// `node` learns that its connection to `peer` is gone.
    fn notice_loss(&mut self, node: NodeId, peer: NodeId, loss: Loss, reason: &str) {
        let Some(number) = self.end(node, peer).map(super::peers::End::number) else { return };
        match loss {
            Loss::Noticed => {
                let at = self.now + self.delay(node, Some(peer));
                let at = self.end(node, peer).map_or(at, |end| at.max(end.last_arrival()));
                self.put_peer(at, node, peer, number, PeerArrival::Closed(reason.to_owned()));
            }
            Loss::Silent => {
                let silence = Limits::default().disconnected;
                let reason = format!("nothing came through for {} s", silence.as_secs_f32());
                let what = PeerArrival::Closed(reason);
                let arrival = Arrival::Peer { node, peer, end: number, what };
                self.put_later(self.now + silence, arrival);
            }
        }
    }
}

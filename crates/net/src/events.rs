//! Events on their way to the node, each with the connection that it comes from.
//!
//! A connection that the node has given up may still report something; by its [`ConnectionId`] that
//! is not taken for the one that replaced it.

use futures::channel::mpsc;
use potluck_protocol::id::NodeId;

use crate::Event;

/// Names one connection of a transport, to the server or to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionId(u64);

impl ConnectionId {
    /// The id after this one, which no connection of this transport had before.
    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// An event and where it comes from.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) event: Event,
    connection: ConnectionId,
}

impl Reported {
    /// True if it comes from the connection that the node has now: `server`, or what `of_peer`
    /// names.
    pub(crate) fn is_current(
        &self,
        server: Option<ConnectionId>,
        of_peer: impl FnOnce(NodeId) -> Option<ConnectionId>,
    ) -> bool {
        let current = match &self.event {
            Event::ServerOpen | Event::ServerMessage { .. } | Event::ServerClosed { .. } => server,
            Event::Signal { peer, .. }
            | Event::PeerOpen { peer }
            | Event::PeerFrame { peer, .. }
            | Event::PeerClosed { peer, .. } => of_peer(*peer),
        };
        current == Some(self.connection)
    }
}

/// Where a transport takes its events from.
pub(crate) type EventReceiver = mpsc::UnboundedReceiver<Reported>;

/// Sends the events of one connection. What fills this queue is bounded by whoever fills it.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    connection: ConnectionId,
    events: mpsc::UnboundedSender<Reported>,
}

impl EventSender {
    /// A queue, and the sender that [`EventSender::of`] makes others from.
    pub(crate) fn channel() -> (Self, EventReceiver) {
        let (events, receiver) = mpsc::unbounded();
        (Self { connection: ConnectionId::default(), events }, receiver)
    }

    /// The same queue, for the events of another connection.
    pub(crate) fn of(&self, connection: ConnectionId) -> Self {
        Self { connection, events: self.events.clone() }
    }

    /// Which connection's events these are.
    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Sends an event. If the transport is gone, nobody wants to know.
    pub(crate) fn send(&self, event: Event) {
        let _gone = self.events.unbounded_send(Reported { event, connection: self.connection });
    }

    /// Ends the queue: its receiver gets what is in it, and then the end.
    #[allow(dead_code, reason = "only the page has a task that waits for the end")]
    pub(crate) fn close(&self) {
        self.events.close_channel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_replaced_connection_are_not_current() {
        let (first, mut receiver) = EventSender::channel();
        let (server, peer) =
            (ConnectionId::default().next(), ConnectionId::default().next().next());
        first.of(server).send(Event::ServerOpen);
        first.of(peer).send(Event::PeerOpen { peer: NodeId([1; 32]) });
        let reports = [receiver.try_recv().unwrap(), receiver.try_recv().unwrap()];
        assert!(reports[0].is_current(Some(server), |_| None));
        assert!(!reports[0].is_current(Some(server.next().next()), |_| Some(server)));
        assert!(!reports[0].is_current(None, |_| Some(server)));
        assert!(reports[1].is_current(None, |of| (of == NodeId([1; 32])).then_some(peer)));
        assert!(!reports[1].is_current(Some(peer), |_| None));
    }
}

//! Every node's connection to the server, and the server's ends of them.

use core::time::Duration;

use potluck_protocol::id::NodeId;

use super::{Arrival, Delivery, MemoryNetwork};
use crate::Event;

/// One WebSocket, as the server tells them apart; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What the server's end of a connection reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Somebody dialled. Who it is shows only in what it says.
    Opened,
    /// A binary message.
    Message(Vec<u8>),
    /// The connection is gone; nothing follows.
    Closed,
}

/// A connection that is not gone for both ends.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: NodeId,
    /// When the last message arrives there, so that none overtakes it.
    last_to_server: Duration,
    last_to_node: Duration,
    server_is_gone: bool,
    /// Nothing passes any more, whether the ends know it or not.
    is_broken: bool,
}

impl MemoryNetwork {
    /// Sends a message as the server. It is lost if the connection is gone.
    pub fn send(&mut self, connection: ConnectionId, message: Vec<u8>) {
        self.put_to_node(connection, Event::ServerMessage { message }, Duration::ZERO);
    }

    /// Hangs up as the server; for the server, the connection is gone from now on.
    pub fn close(&mut self, connection: ConnectionId, reason: &str) {
        if self.forget_at_server(connection) {
            let event = Event::ServerClosed { reason: reason.to_owned() };
            self.put_to_node(connection, event, Duration::ZERO);
        }
    }

    /// Stops the server: every connection ends, dialling fails. The server's own ends are gone
    /// without an event, as it is itself.
    pub fn stop_server(&mut self, reason: &str) {
        self.server_is_up = false;
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in all {
            self.close(connection, reason);
        }
    }

    /// Lets nodes dial again.
    pub fn start_server(&mut self) {
        self.server_is_up = true;
    }

    pub(super) fn dial(&mut self, node: NodeId) {
        self.hang_up(node);
        let connection = ConnectionId(self.number());
        let state = Connection {
            node,
            last_to_server: self.now,
            last_to_node: self.now,
            server_is_gone: !self.server_is_up,
            is_broken: false,
        };
        self.connections.insert(connection, state);
        self.nodes.entry(node).or_default().server = Some(connection);
        let round_trip = self.delay(node, None);
        if self.server_is_up {
            self.put_to_server(connection, ServerEvent::Opened);
            self.put_to_node(connection, Event::ServerOpen, round_trip);
        } else {
            let event = Event::ServerClosed { reason: "connection refused".to_owned() };
            self.put_to_node(connection, event, round_trip);
        }
    }

    pub(super) fn hang_up(&mut self, node: NodeId) {
        let connection = self.nodes.get_mut(&node).and_then(|member| member.server.take());
        if let Some(connection) = connection {
            self.put_to_server(connection, ServerEvent::Closed);
        }
    }

    pub(super) fn send_to_server(&mut self, node: NodeId, message: Vec<u8>) {
        if let Some(connection) = self.nodes.get(&node).and_then(|member| member.server) {
            self.put_to_server(connection, ServerEvent::Message(message));
        }
    }

    /// Something for the server, after all that the node sent before. It is lost if the server has
    /// hung up meanwhile.
    pub(super) fn put_to_server(&mut self, connection: ConnectionId, event: ServerEvent) {
        let Some(node) = self.connections.get(&connection).map(|state| state.node) else { return };
        let at = self.now + self.delay(node, None);
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if state.is_broken {
            return;
        }
        state.last_to_server = state.last_to_server.max(at);
        let at = state.last_to_server;
        self.put(at, Arrival::ToServer { connection, event });
    }

    /// Something for a node, `later` than its link alone would have it.
    pub(super) fn put_to_node(&mut self, connection: ConnectionId, event: Event, later: Duration) {
        let Some(node) = self.connections.get(&connection).map(|state| state.node) else { return };
        let at = self.now + self.delay(node, None) + later;
        let Some(state) = self.connections.get_mut(&connection) else { return };
        if state.is_broken {
            return;
        }
        state.last_to_node = state.last_to_node.max(at);
        let at = state.last_to_node;
        self.put(at, Arrival::ToNode { connection, node, event });
    }

    /// The connection breaks; its ends notice after a link's delay, and `silence` where that is
    /// how they notice.
    pub(super) fn break_server(&mut self, node: NodeId, silence: Option<Duration>, reason: &str) {
        let Some(connection) = self.nodes.get(&node).and_then(|member| member.server) else {
            return;
        };
        let event = Event::ServerClosed { reason: reason.to_owned() };
        match silence {
            None => {
                self.put_to_server(connection, ServerEvent::Closed);
                self.put_to_node(connection, event, Duration::ZERO);
            }
            Some(silence) => {
                let at = self.now + silence;
                let closed = ServerEvent::Closed;
                self.put_later(at, Arrival::ToServer { connection, event: closed });
                self.put_later(at, Arrival::ToNode { connection, node, event });
            }
        }
        if let Some(state) = self.connections.get_mut(&connection) {
            state.is_broken = true;
        }
    }

    pub(super) fn at_server(
        &mut self,
        connection: ConnectionId,
        event: ServerEvent,
    ) -> Option<Delivery> {
        if self.connections.get(&connection).is_none_or(|state| state.server_is_gone) {
            if event == ServerEvent::Closed {
                self.connections.remove(&connection);
            }
            return None;
        }
        if event == ServerEvent::Closed {
            self.forget_at_server(connection);
        }
        Some(Delivery::Server { connection, event })
    }

    pub(super) fn at_node(
        &mut self,
        connection: ConnectionId,
        node: NodeId,
        event: Event,
    ) -> Option<Delivery> {
        let member = self.nodes.get_mut(&node)?;
        if member.server != Some(connection) {
            return None;
        }
        if matches!(event, Event::ServerClosed { .. }) {
            member.server = None;
            self.connections.remove(&connection);
        }
        Some(Delivery::Node { node, event })
    }

    /// The server's end is gone. True if it was there; the connection stays known until the node
    /// has noticed.
    fn forget_at_server(&mut self, connection: ConnectionId) -> bool {
        let Some(state) = self.connections.get_mut(&connection) else { return false };
        let was_there = !std::mem::replace(&mut state.server_is_gone, true);
        let node = state.node;
        if self.nodes.get(&node).is_none_or(|member| member.server != Some(connection)) {
            self.connections.remove(&connection);
        }
        was_there
    }
}

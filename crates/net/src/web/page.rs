//! The page's transport: it owns the WebSocket and the WebRTC connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use futures::StreamExt as _;
use gloo::timers::callback::Interval;
use potluck_protocol::id::NodeId;

use super::connection::{Peer, open_peer};
use super::socket::ServerSocket;
use crate::events::{ConnectionId, EventReceiver, EventSender, Reported};
use crate::session::{Input, Limits, Networks, TICK};
use crate::{Command, Event, Transport};

/// [`TICK`](crate::session::TICK) in milliseconds. Browsers stretch it in background tabs;
/// time-outs are then later, not lost.
const TICK_MS: u32 = TICK.subsec_millis();

/// [`Transport`] for a node on the page. Dropping it closes everything.
pub struct PageTransport {
    net: Rc<PageNet>,
    events: EventReceiver,
}

/// The page's connections, without the queue of events.
pub(super) struct PageNet {
    sender: EventSender,
    limits: Limits,
    server: RefCell<Option<ServerSocket>>,
    /// What follows from where the server is.
    networks: Cell<Networks>,
    peers: RefCell<HashMap<NodeId, Arc<Peer>>>,
    last_connection: Cell<ConnectionId>,
    ticks: RefCell<Option<Interval>>,
}

impl core::fmt::Debug for PageTransport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PageTransport")
            .field("peers", &self.net.peers.borrow().len())
            .finish_non_exhaustive()
    }
}

impl PageTransport {
    /// A transport with no connections.
    #[must_use]
    pub fn new() -> Self {
        let (net, events) = PageNet::new(Limits::default());
        Self { net, events }
    }

    /// The same with other time-outs.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        let (net, events) = PageNet::new(limits);
        Self { net, events }
    }
}

impl Default for PageTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for PageTransport {
    fn send(&mut self, command: Command) {
        self.net.send(command);
    }

    async fn next_event(&mut self) -> Event {
        loop {
            let Some(reported) = self.events.next().await else {
                // Not reached: `net` holds a sender.
                std::future::pending().await
            };
            let Some(event) = self.net.accept(reported) else { continue };
            if let Event::PeerFrame { peer, frame, .. } = &event {
                self.net.read(*peer, frame.len());
            }
            return event;
        }
    }
}

impl Drop for PageTransport {
    fn drop(&mut self) {
        self.net.close();
    }
}

impl PageNet {
    pub(super) fn new(limits: Limits) -> (Rc<Self>, EventReceiver) {
        let (sender, events) = EventSender::channel();
        let net = Rc::new(Self {
            sender,
            limits,
            server: RefCell::new(None),
            networks: Cell::default(),
            peers: RefCell::default(),
            last_connection: Cell::default(),
            ticks: RefCell::new(None),
        });
        let ticking = Rc::downgrade(&net);
        let ticks = Interval::new(TICK_MS, move || {
            if let Some(net) = ticking.upgrade() {
                net.tick();
            }
        });
        net.ticks.replace(Some(ticks));
        (net, events)
    }

    pub(super) fn send(&self, command: Command) {
        match command {
            Command::OpenServer { url } => {
                // The old one first, so that the server sees one connection of this node at a time.
                drop(self.server.take());
                self.networks.set(Networks::of_server(&url));
                let socket = ServerSocket::open(&url, self.new_connection());
                self.server.replace(Some(socket));
            }
            Command::CloseServer => drop(self.server.take()),
            Command::SendServer { message } => {
                if let Some(server) = &*self.server.borrow() {
                    server.send(&message);
                }
            }
            Command::OpenPeer { peer, role, ice_servers } => {
                if self.peer(peer).is_some_and(|known| !known.is_closed()) {
                    return;
                }
                let events = self.new_connection();
                let networks = self.networks.get();
                let opened = open_peer(peer, role, &ice_servers, networks, self.limits, events);
                self.peers.borrow_mut().insert(peer, opened);
            }
            Command::Signal { peer, signal } => {
                if let Some(known) = self.peer(peer) {
                    known.handle(Input::Remote(signal));
                }
            }
            Command::SendPeer { peer, channel, frame } => {
                if let Some(known) = self.peer(peer) {
                    known.handle(Input::Send(channel, frame));
                }
            }
            Command::ClosePeer { peer } => {
                let known = self.peers.borrow_mut().remove(&peer);
                if let Some(known) = known {
                    known.hang_up();
                }
            }
        }
    }

    /// The event, unless it comes from a connection that is not the node's any more.
    pub(super) fn accept(&self, reported: Reported) -> Option<Event> {
        let server = self.server.borrow().as_ref().map(ServerSocket::connection);
        if !reported.is_current(server, |peer| Some(self.peer(peer)?.connection())) {
            return None;
        }
        match &reported.event {
            Event::ServerClosed { .. } => drop(self.server.take()),
            Event::PeerClosed { peer, .. } => drop(self.peers.borrow_mut().remove(peer)),
            _ => {}
        }
        Some(reported.event)
    }

    /// The node took a frame.
    pub(super) fn read(&self, peer: NodeId, bytes: usize) {
        if let Some(known) = self.peer(peer) {
            known.handle(Input::Read(bytes));
        }
    }

    /// Closes everything, at once.
    pub(super) fn close(&self) {
        drop(self.ticks.take());
        drop(self.server.take());
        for peer in self.peers.take().into_values() {
            peer.hang_up();
        }
        // Ends whoever waits for events.
        self.sender.close();
    }

    /// Whom a connection leads to just now, and whether through a relay.
    pub(super) async fn paths(&self) -> Vec<(NodeId, bool)> {
        let peers: Vec<(NodeId, Arc<Peer>)> =
            self.peers.borrow().iter().map(|(id, peer)| (*id, Arc::clone(peer))).collect();
        let mut paths = Vec::new();
        for (id, peer) in peers {
            paths.extend(peer.platform().is_relayed().await.map(|relayed| (id, relayed)));
        }
        paths.sort_unstable();
        paths
    }

    fn tick(&self) {
        let peers: Vec<Arc<Peer>> = self.peers.borrow().values().cloned().collect();
        for peer in peers {
            peer.handle(Input::Tick);
        }
    }

    fn peer(&self, peer: NodeId) -> Option<Arc<Peer>> {
        self.peers.borrow().get(&peer).cloned()
    }

    /// Where a new connection sends its events.
    fn new_connection(&self) -> EventSender {
        self.last_connection.set(self.last_connection.get().next());
        self.sender.of(self.last_connection.get())
    }
}

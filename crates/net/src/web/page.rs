//! The page's transport: it owns the WebSocket and the WebRTC connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::mpsc;
use gloo::timers::callback::Interval;
use potluck_protocol::id::NodeId;

use super::peer::Peer;
use super::socket::ServerSocket;
use crate::session::{Input, Limits, TICK};
use crate::{Command, Event, Transport};

/// [`TICK`](crate::session::TICK) in milliseconds. Browsers stretch it in background tabs;
/// time-outs are then later, not lost.
const TICK_MS: u32 = TICK.subsec_millis();

/// [`Transport`] for a node on the page. Dropping it closes everything.
pub struct PageTransport {
    net: Rc<PageNet>,
    events: mpsc::UnboundedReceiver<Happened>,
}

/// The page's connections, without the queue of events.
pub(super) struct PageNet {
    outbound: mpsc::UnboundedSender<Happened>,
    limits: Limits,
    server: RefCell<Option<ServerSocket>>,
    peers: RefCell<HashMap<NodeId, Rc<Peer>>>,
    /// Names connections, so that what an old one still had to say is not taken for a new one's.
    next_connection: Cell<u64>,
    ticks: RefCell<Option<Interval>>,
}

/// An event on its way to the node.
pub(super) struct Happened {
    pub(super) event: Event,
    pub(super) connection: u64,
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
            let Some(happened) = self.events.next().await else {
                // Not reached: `net` holds a sender.
                std::future::pending().await
            };
            let Some(event) = self.net.accept(happened) else { continue };
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
    pub(super) fn new(limits: Limits) -> (Rc<Self>, mpsc::UnboundedReceiver<Happened>) {
        let (outbound, events) = mpsc::unbounded();
        let net = Rc::new(Self {
            outbound,
            limits,
            server: RefCell::new(None),
            peers: RefCell::default(),
            next_connection: Cell::new(0),
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
                let socket = ServerSocket::open(self.connection(), &url, self.outbound.clone());
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
                let (connection, outbound) = (self.connection(), self.outbound.clone());
                let opened = Peer::open(connection, peer, role, ice_servers, self.limits, outbound);
                self.peers.borrow_mut().insert(peer, opened);
            }
            Command::Signal { peer, signal } => {
                if let Some(known) = self.peer(peer) {
                    known.handle(Input::Remote(signal));
                }
            }
            Command::SendPeer { peer, channel, frame } => {
                if let Some(known) = self.peer(peer) {
                    known.send(channel, frame);
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
    pub(super) fn accept(&self, happened: Happened) -> Option<Event> {
        let Happened { event, connection } = happened;
        let known = match &event {
            Event::ServerOpen | Event::ServerMessage { .. } | Event::ServerClosed { .. } => {
                self.server.borrow().as_ref().is_some_and(|server| server.connection == connection)
            }
            Event::Signal { peer, .. }
            | Event::PeerOpen { peer }
            | Event::PeerFrame { peer, .. }
            | Event::PeerClosed { peer, .. } => {
                self.peer(*peer).is_some_and(|known| known.connection == connection)
            }
        };
        if !known {
            return None;
        }
        match &event {
            Event::ServerClosed { .. } => drop(self.server.take()),
            Event::PeerClosed { peer, .. } => drop(self.peers.borrow_mut().remove(peer)),
            _ => {}
        }
        Some(event)
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
        self.outbound.close_channel();
    }

    fn tick(&self) {
        let peers: Vec<Rc<Peer>> = self.peers.borrow().values().cloned().collect();
        for peer in peers {
            peer.handle(Input::Tick);
        }
    }

    fn peer(&self, peer: NodeId) -> Option<Rc<Peer>> {
        self.peers.borrow().get(&peer).cloned()
    }

    fn connection(&self) -> u64 {
        self.next_connection.set(self.next_connection.get() + 1);
        self.next_connection.get()
    }
}

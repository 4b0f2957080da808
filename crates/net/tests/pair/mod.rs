//! Two native transports on loopback, with a relay in between that passes signals on, as the server
//! would.

#![allow(dead_code, reason = "every test uses its own part")]

use std::collections::VecDeque;
use std::time::Duration;

use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_net::{Command, Event, Role, Transport};
use potluck_protocol::id::NodeId;

pub(crate) const A: NodeId = NodeId([1; 32]);
pub(crate) const B: NodeId = NodeId([2; 32]);

/// What no test should ever wait for: beyond it something hangs.
pub(crate) const HANGS: Duration = Duration::from_secs(60);

/// On loopback.
pub(crate) fn config() -> NetConfig {
    NetConfig::for_server("http://127.0.0.1")
}

pub(crate) struct Pair {
    pub(crate) a: NativeTransport,
    pub(crate) b: NativeTransport,
    events: VecDeque<(NodeId, Event)>,
}

impl Pair {
    /// Neither told anything.
    pub(crate) fn idle() -> Self {
        let [a, b] = [(); 2].map(|()| NativeTransport::new(config()));
        Self { a, b, events: VecDeque::new() }
    }

    /// Both told to open; signals are passed on by [`Pair::next`].
    pub(crate) fn opening() -> Self {
        let mut pair = Self::idle();
        pair.a.send(open(B, Role::of(A, B)));
        pair.b.send(open(A, Role::of(B, A)));
        pair
    }

    /// Both open.
    pub(crate) async fn open() -> Self {
        let mut pair = Self::opening();
        pair.wait_open().await;
        pair
    }

    pub(crate) async fn wait_open(&mut self) {
        let mut open = 0;
        while open < 2 {
            match self.next().await {
                (_, Event::PeerOpen { .. }) => open += 1,
                (at, event) => panic!("{at:?}: {event:?}"),
            }
        }
    }

    /// The next event of either that is not a signal.
    pub(crate) async fn next(&mut self) -> (NodeId, Event) {
        loop {
            let (at, event) = tokio::time::timeout(HANGS, async {
                tokio::select! {
                    event = self.a.next_event() => (A, event),
                    event = self.b.next_event() => (B, event),
                }
            })
            .await
            .expect("something should happen");
            match event {
                Event::Signal { signal, .. } if at == A => {
                    self.b.send(Command::Signal { peer: A, signal })
                }
                Event::Signal { signal, .. } => self.a.send(Command::Signal { peer: B, signal }),
                event => return (at, event),
            }
        }
    }
}

pub(crate) fn open(peer: NodeId, role: Role) -> Command {
    Command::OpenPeer { peer, role, ice_servers: Vec::new() }
}

//! A peer that never answers is given up long before one that does and is hard to reach, on both
//! sides of an offer; and each is told in its own words.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use std::time::Duration;

use pair::{A, B, HANGS};
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_net::session::Limits;
use potluck_net::{Command, Event, Role, Transport};
use potluck_protocol::id::NodeId;

use potluck_protocol::server::Signal;

fn limits(answer: Duration, open: Duration) -> NetConfig {
    NetConfig { limits: Limits { answer, open, ..Limits::default() }, ..pair::config() }
}

async fn given_up(peer: NodeId, role: Role, reason: &str) {
    let soon = Duration::from_millis(300);
    let mut node = NativeTransport::new(limits(soon, 100 * soon));
    node.send(pair::open(peer, role));
    assert_eq!(closed(&mut node, peer).await, reason);
}

/// Why the peer was closed.
async fn closed(node: &mut NativeTransport, peer: NodeId) -> String {
    tokio::time::timeout(HANGS, async {
        loop {
            match node.next_event().await {
                Event::Signal { .. } => {}
                Event::PeerClosed { peer: closed, reason } if closed == peer => return reason,
                event => panic!("{event:?}"),
            }
        }
    })
    .await
    .expect("it should be given up")
}

#[tokio::test]
async fn an_offer_without_an_answer() {
    given_up(B, Role::Offers, "it did not answer within 0.3 s").await;
}

#[tokio::test]
async fn no_offer() {
    given_up(A, Role::Answers, "it made no offer within 0.3 s").await;
}

#[tokio::test]
async fn an_answer_and_no_path() {
    let mut node = NativeTransport::new(limits(HANGS, Duration::from_millis(1500)));
    let mut other = NativeTransport::new(pair::config());
    node.send(pair::open(B, Role::Offers));
    other.send(pair::open(A, Role::Answers));
    let reason = tokio::time::timeout(HANGS, async {
        loop {
            tokio::select! {
                // Its candidates are lost, and so are this node's packets: nobody knows where to.
                event = node.next_event() => match event {
                    Event::Signal { signal: signal @ Signal::Offer { .. }, .. } => {
                        other.send(Command::Signal { peer: A, signal });
                    }
                    Event::Signal { .. } => {}
                    Event::PeerClosed { reason, .. } => return reason,
                    event => panic!("{event:?}"),
                },
                event = other.next_event() => if let Event::Signal {
                    signal: signal @ Signal::Answer { .. }, ..
                } = event {
                    node.send(Command::Signal { peer: B, signal });
                },
            }
        }
    })
    .await
    .expect("it should be given up");
    assert!(reason.contains("lets no direct connection through"), "{reason}");
}

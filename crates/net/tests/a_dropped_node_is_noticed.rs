//! A node that goes away, and one that hangs up, is told to its peer.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use pair::{A, B, HANGS, Pair};
use potluck_net::{Command, Event, Transport};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_is_noticed() {
    let Pair { mut a, b, .. } = Pair::open().await;
    drop(b);
    let event = tokio::time::timeout(HANGS, a.next_event()).await.expect("it should be noticed");
    assert!(matches!(event, Event::PeerClosed { peer: B, .. }), "{event:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_hangs_up_is_noticed_and_can_be_opened_again() {
    let mut pair = Pair::open().await;
    pair.a.send(Command::ClosePeer { peer: B });
    let (at, event) = pair.next().await;
    assert!(matches!(event, Event::PeerClosed { peer: A, .. }), "{event:?}");
    assert_eq!(at, B, "the one that hung up hears nothing");
    pair.a.send(pair::open(B, potluck_net::Role::Offers));
    pair.b.send(pair::open(A, potluck_net::Role::Answers));
    pair.wait_open().await;
}

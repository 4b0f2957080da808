//! A peer that never answers is given up when the time to open is over, on both sides of an offer.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use std::time::Duration;

use pair::{A, B, HANGS};
use potluck_net::platform::NativeTransport;
use potluck_net::{Event, Role, Transport};
use potluck_protocol::id::NodeId;

async fn given_up(peer: NodeId, role: Role) {
    let mut node = NativeTransport::new(pair::impatient(Duration::from_millis(300)));
    node.send(pair::open(peer, role));
    let reason = tokio::time::timeout(HANGS, async {
        loop {
            match node.next_event().await {
                Event::Signal { .. } => {}
                Event::PeerClosed { peer: closed, reason } if closed == peer => return reason,
                event => panic!("{event:?}"),
            }
        }
    })
    .await
    .expect("it should be given up");
    assert_eq!(reason, "no connection within 0.3 s");
}

#[tokio::test]
async fn an_offer_without_an_answer() {
    given_up(B, Role::Offers).await;
}

#[tokio::test]
async fn no_offer() {
    given_up(A, Role::Answers).await;
}

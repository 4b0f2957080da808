//! What a node sends the moment a connection opens arrives, however the two sides' openings
//! interleave.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use std::time::Duration;

use pair::{A, B, Pair};
use potluck_net::{Command, Event, Transport};
use potluck_protocol::peer::Channel;

/// Connections opened, one after the other. The loss that greetings prevent was seen between
/// processes, once in about forty; what they do about it is tested by values in
/// `session::greeting`, this shows that they work on the wire.
const CONNECTIONS: usize = 8;
/// How long frames may take; the loss this test is about is for good.
const ARRIVES: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_frames_are_never_lost() {
    for connection in 0..CONNECTIONS {
        let mut pair = Pair::opening();
        let mut missing = vec![
            (A, Channel::Control),
            (A, Channel::Activations),
            (B, Channel::Control),
            (B, Channel::Activations),
        ];
        while !missing.is_empty() {
            let next = tokio::time::timeout(ARRIVES, pair.next()).await;
            match next.unwrap_or_else(|_| panic!("connection {connection}: {missing:?} lost")) {
                (A, Event::PeerOpen { peer }) => greet(&mut pair.a, peer),
                (_, Event::PeerOpen { peer }) => greet(&mut pair.b, peer),
                (at, Event::PeerFrame { channel, .. }) => {
                    missing.retain(|expected| *expected != (at, channel))
                }
                (at, event) => panic!("{at:?}: {event:?}"),
            }
        }
    }
}

fn greet(node: &mut impl Transport, peer: potluck_protocol::id::NodeId) {
    for channel in [Channel::Control, Channel::Activations] {
        node.send(Command::SendPeer { peer, channel, frame: vec![7; 100] });
    }
}

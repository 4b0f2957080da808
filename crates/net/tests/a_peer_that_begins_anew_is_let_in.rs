//! A peer that lost its side and offers anew gets a connection at once, though the loss of the old
//! one does not show yet.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use pair::{A, B, Pair, config};
use potluck_net::platform::NativeTransport;
use potluck_net::{Command, Event, Role, Transport};
use potluck_protocol::peer::Channel;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_begins_anew_is_let_in() {
    let mut pair = Pair::open().await;
    // Kept, so that it does not say goodbye.
    let lost = std::mem::replace(&mut pair.a, NativeTransport::new(config()));
    pair.a.send(pair::open(B, Role::Offers));
    pair.wait_open().await;
    pair.b.send(Command::SendPeer { peer: A, channel: Channel::Control, frame: vec![9] });
    let (at, event) = pair.next().await;
    assert_eq!(
        (at, event),
        (A, Event::PeerFrame { peer: B, channel: Channel::Control, frame: vec![9] })
    );
    drop(lost);
}

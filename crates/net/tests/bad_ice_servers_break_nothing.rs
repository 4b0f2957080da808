//! Entries for ICE that a WebRTC stack refuses (a relay without credentials, an address without a
//! scheme) are left out: a connection that needs no relay opens.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use pair::{A, B, Pair};
use potluck_net::{Command, Role, Transport};
use potluck_protocol::server::IceServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_ice_servers_break_nothing() {
    let entry =
        |url: &str| IceServer { urls: vec![url.to_owned()], username: None, credential: None };
    let ice_servers =
        vec![entry("turn:127.0.0.1:3478"), entry("stun.example.org:3478"), entry("stun:a?b=c")];
    let mut pair = Pair::idle();
    let open = |peer, role| Command::OpenPeer { peer, role, ice_servers: ice_servers.clone() };
    pair.a.send(open(B, Role::of(A, B)));
    pair.b.send(open(A, Role::of(B, A)));
    pair.wait_open().await;
}

#![allow(warnings, clippy::all)]
use potluck_net::{Command, Event, Role, Transport};
use potluck_protocol::codec;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::Identity;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{Signal, SignedSignal, ToServer};
const A: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);
fn enc(signal: Signal) -> Vec<u8> {
    let id = Identity::from_seed(&[3; 32]);
    codec::encode(&ToServer::Signal { to: B, signal: SignedSignal::new(&id, B, signal) })
}
fn dec(bytes: &[u8]) -> Signal {
    match codec::decode_to_server(bytes).unwrap() { ToServer::Signal { signal, .. } => signal.signal, _ => panic!() }
}
const SIZES: [usize; 5] = [64, 4096, 1 << 20, 0, 5 << 20];
async fn drive<T: Transport>(node: &mut T, peer: NodeId, mut out: impl FnMut(&mut T, Vec<u8>), echo: bool) {
    let mut got = 0;
    loop {
        match node.next_event().await {
            Event::Signal { signal, .. } => out(node, enc(signal)),
            Event::ServerMessage { message } => node.send(Command::Signal { peer, signal: dec(&message) }),
            Event::PeerOpen { .. } => if !echo {
                for s in SIZES { for channel in [Channel::Control, Channel::Activations] {
                    node.send(Command::SendPeer { peer, channel, frame: vec![s as u8 ^ 7; s] });
                } }
            },
            Event::PeerFrame { channel, frame, .. } => {
                if echo { node.send(Command::SendPeer { peer, channel, frame }); }
                else { got += 1; assert!(frame.iter().all(|b| *b == frame.len() as u8 ^ 7)); if got == 2 * SIZES.len() { return; } }
            }
            Event::PeerClosed { reason, .. } => { if echo { return } panic!("closed {reason}") }
            Event::ServerOpen => {}
            e => panic!("{e:?}"),
        }
    }
}
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::*;
    use futures::{SinkExt, StreamExt};
    use potluck_net::platform::*;
    use tokio_tungstenite::tungstenite::Message;
    #[tokio::test(flavor = "multi_thread")]
    #[ignore]
    async fn serve() {
        let l = tokio::net::TcpListener::bind("127.0.0.1:18993").await.unwrap();
        for role in [Role::Answers, Role::Offers, Role::Answers, Role::Offers, Role::Answers, Role::Offers] {
            let ws = tokio_tungstenite::accept_async(l.accept().await.unwrap().0).await.unwrap();
            let (mut sink, mut stream) = ws.split();
            let mut node = NativeTransport::new(NetConfig::for_server("http://127.0.0.1"));
            node.send(Command::OpenPeer { peer: A, role, ice_servers: vec![] });
            let t = std::time::Instant::now(); let mut last = t;
            loop {
                tokio::select! {
                    m = stream.next() => match m { Some(Ok(Message::Binary(b))) => node.send(Command::Signal { peer: A, signal: dec(&b) }), Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}, _ => { eprintln!("{:?} page done", t.elapsed()); break } },
                    e = node.next_event() => match e {
                        Event::Signal { signal, .. } => { eprintln!("{signal:?}"); let _ = sink.send(Message::Binary(enc(signal).into())).await; }
                        Event::PeerFrame { channel, frame, .. } => { eprintln!("{:?} frame {} {channel:?}", t.elapsed(), frame.len()); node.send(Command::SendPeer { peer: A, channel, frame }) }
                        Event::PeerClosed { reason, .. } => { eprintln!("{:?} closed: {reason}", t.elapsed()); break }
                        e => eprintln!("{:?} {e:?}", t.elapsed()),
                    }
                }
            }
        }
    }
}
#[cfg(target_arch = "wasm32")]
mod web {
    use super::*;
    use potluck_net::platform::page::PageTransport;
    use wasm_bindgen_test::*;
    wasm_bindgen_test_configure!(run_in_browser);
    #[wasm_bindgen_test]
    async fn interop() {
        for role in [Role::Offers, Role::Answers, Role::Offers, Role::Answers, Role::Offers, Role::Answers] {
            let mut node = PageTransport::new();
            node.send(Command::OpenServer { url: "ws://127.0.0.1:18993/".into() });
            assert_eq!(node.next_event().await, Event::ServerOpen);
            node.send(Command::OpenPeer { peer: B, role, ice_servers: vec![] });
            drive(&mut node, B, |n, m| n.send(Command::SendServer { message: m }), false).await;
        }
    }
}

//! Two transports in one page of a real browser connect to each other and pass frames, as two pages
//! would.
#![cfg(target_arch = "wasm32")]

use futures::FutureExt as _;
use potluck_net::platform::page::PageTransport;
use potluck_net::platform::sleep;
use potluck_net::session::Limits;
use potluck_net::{Command, Event, Role, Transport};
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{IceServer, Signal};
use std::collections::HashMap;
use std::time::Duration;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

const A: NodeId = NodeId([1; 32]);
const B: NodeId = NodeId([2; 32]);
/// What no test should ever wait for: beyond it something hangs.
const HANGS: Duration = Duration::from_secs(15);

struct Pair {
    a: PageTransport,
    b: PageTransport,
    /// Candidates travel with the name of the section that they are for.
    names_sections: bool,
}

fn open(peer: NodeId, role: Role) -> Command {
    Command::OpenPeer { peer, role, ice_servers: Vec::new() }
}

impl Pair {
    fn idle() -> Self {
        Self { a: PageTransport::new(), b: PageTransport::new(), names_sections: true }
    }

    async fn open() -> Self {
        let mut pair = Self::idle();
        pair.a.send(open(B, Role::of(A, B)));
        pair.b.send(open(A, Role::of(B, A)));
        pair.wait_open().await;
        pair
    }

    async fn wait_open(&mut self) {
        let mut open = 0;
        while open < 2 {
            match self.next().await {
                (_, Event::PeerOpen { .. }) => open += 1,
                (at, event) => panic!("{at:?}: {event:?}"),
            }
        }
    }

    /// The next event of either that is not a signal; those are passed on, as the server would.
    async fn next(&mut self) -> (NodeId, Event) {
        loop {
            let (at, event) = futures::select! {
                event = self.a.next_event().fuse() => (A, event),
                event = self.b.next_event().fuse() => (B, event),
                () = sleep(HANGS).fuse() => panic!("nothing happens"),
            };
            match event {
                Event::Signal { mut signal, .. } => {
                    if let Signal::Candidate { sdp_mid, sdp_m_line_index, .. } = &mut signal
                        && !self.names_sections
                    {
                        (*sdp_mid, *sdp_m_line_index) = (Some(String::new()), None);
                    }
                    if at == A {
                        self.b.send(Command::Signal { peer: A, signal });
                    } else {
                        self.a.send(Command::Signal { peer: B, signal });
                    }
                }
                event => return (at, event),
            }
        }
    }
}

fn frame(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 + seed * 7 + index / 251).to_le_bytes()[0]).collect()
}

#[wasm_bindgen_test]
async fn frames_pass_between_two_pages() {
    let mut pair = Pair::open().await;
    let mut expected = HashMap::new();
    let sizes = [64, 4096, 1 << 20, 1, 16_384, 5, 3 << 20];
    for (seed, size) in sizes.into_iter().enumerate() {
        for channel in [Channel::Control, Channel::Activations] {
            let frame = frame(seed, size);
            pair.a.send(Command::SendPeer { peer: B, channel, frame: frame.clone() });
            pair.b.send(Command::SendPeer { peer: A, channel, frame: frame.clone() });
            for at in [A, B] {
                expected.entry((at, channel)).or_insert_with(Vec::new).push(frame.clone());
            }
        }
    }
    let mut got: HashMap<_, Vec<Vec<u8>>> = HashMap::new();
    for _ in 0..sizes.len() * 4 {
        match pair.next().await {
            (at, Event::PeerFrame { channel, frame, .. }) => {
                got.entry((at, channel)).or_default().push(frame)
            }
            (at, event) => panic!("{at:?}: {event:?}"),
        }
    }
    assert!(got == expected, "frames differ");
}

#[wasm_bindgen_test]
async fn a_page_that_goes_away_is_noticed_and_one_that_comes_back_is_let_in() {
    let mut pair = Pair::open().await;
    pair.b = PageTransport::new();
    let (at, event) = pair.next().await;
    assert!(at == A && matches!(event, Event::PeerClosed { peer: B, .. }), "{event:?}");

    let mut pair = Pair::open().await;
    // Kept, so that it does not say goodbye.
    let lost = std::mem::replace(&mut pair.a, PageTransport::new());
    pair.a.send(open(B, Role::Offers));
    pair.wait_open().await;
    drop(lost);
}

#[wasm_bindgen_test]
async fn a_peer_that_never_answers_is_given_up() {
    let limits = Limits { answer: Duration::from_millis(300), ..Limits::default() };
    for (role, expected) in [
        (Role::Offers, "it did not answer within 0.3 s"),
        (Role::Answers, "it made no offer within 0.3 s"),
    ] {
        let mut node = PageTransport::with_limits(limits);
        node.send(open(B, role));
        loop {
            let event = futures::select! {
                event = node.next_event().fuse() => event,
                () = sleep(HANGS).fuse() => panic!("it is not given up"),
            };
            match event {
                Event::Signal { .. } => {}
                Event::PeerClosed { peer: B, reason } => {
                    break assert_eq!(reason, expected);
                }
                event => panic!("{event:?}"),
            }
        }
    }
}

#[wasm_bindgen_test]
async fn bad_ice_servers_break_nothing() {
    let entry =
        |url: &str| IceServer { urls: vec![url.to_owned()], username: None, credential: None };
    let ice_servers = vec![entry("turn:127.0.0.1:3478"), entry("stun.example.org:3478"), entry("")];
    let mut pair = Pair::idle();
    let open = |peer, role| Command::OpenPeer { peer, role, ice_servers: ice_servers.clone() };
    pair.a.send(open(B, Role::of(A, B)));
    pair.b.send(open(A, Role::of(B, A)));
    pair.wait_open().await;
}

/// As webrtc-rs names it, or does not: candidates without the name of their section are used.
#[wasm_bindgen_test]
async fn candidates_need_not_name_their_section() {
    let mut pair = Pair::idle();
    pair.names_sections = false;
    pair.a.send(open(B, Role::of(A, B)));
    pair.b.send(open(A, Role::of(B, A)));
    pair.wait_open().await;
}

#[wasm_bindgen_test]
async fn a_server_that_is_not_there_is_told_once() {
    let mut node = PageTransport::new();
    // Port 9 is nobody's; browsers refuse it without even trying.
    for url in ["ws://127.0.0.1:9/api/v1/socket", "not an address"] {
        node.send(Command::OpenServer { url: url.to_owned() });
        node.send(Command::SendServer { message: vec![1] });
        let event = futures::select! {
            event = node.next_event().fuse() => event,
            () = sleep(HANGS).fuse() => panic!("nothing happens"),
        };
        assert!(matches!(event, Event::ServerClosed { .. }), "{event:?}");
    }
    futures::select! {
        event = node.next_event().fuse() => panic!("{event:?}"),
        () = sleep(Duration::from_millis(100)).fuse() => {}
    }
}

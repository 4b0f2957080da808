//! A path whose one end is a relay's, as its owner says, is told to the node on the other side. No relay is
//! at hand here: the peer's candidate is named one on its way.

mod pair;

use std::time::Duration;

use pair::{A, B, HANGS, Pair, open};
use potluck_net::{Command, Event, Role, Transport as _};
use potluck_protocol::server::Signal;

#[tokio::test]
async fn a_relayed_path_is_said() {
    let Pair { mut a, mut b, .. } = Pair::idle();
    a.send(open(B, Role::of(A, B)));
    b.send(open(A, Role::of(B, A)));
    let mut told = Vec::new();
    tokio::time::timeout(HANGS, async {
        while !told.contains(&Event::PeerRelayed { peer: A }) {
            tokio::select! {
                event = a.next_event() => if let Event::Signal { signal, .. } = event {
                    b.send(Command::Signal { peer: A, signal: through_relay(signal) });
                },
                event = b.next_event() => match event {
                    // A learns of B only by the packets that come through.
                    Event::Signal { signal: Signal::Candidate { .. }, .. } => {}
                    Event::Signal { signal, .. } => {
                        a.send(Command::Signal { peer: B, signal: without_candidates(signal) });
                    }
                    event => told.push(event),
                },
            }
        }
    })
    .await
    .expect("it is said");
    assert_eq!(told, [Event::PeerOpen { peer: A }, Event::PeerRelayed { peer: A }]);
}

#[tokio::test]
async fn a_direct_path_is_not() {
    let mut pair = Pair::open().await;
    let more = tokio::time::timeout(Duration::from_millis(300), pair.next()).await;
    assert!(more.is_err(), "{more:?}");
}

fn through_relay(signal: Signal) -> Signal {
    let named = |text: String| text.replace(" typ host", " typ relay raddr 127.0.0.1 rport 9");
    match signal {
        Signal::Offer { sdp } => Signal::Offer { sdp: named(sdp) },
        Signal::Answer { sdp } => Signal::Answer { sdp: named(sdp) },
        Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
            Signal::Candidate { candidate: named(candidate), sdp_mid, sdp_m_line_index }
        }
    }
}

fn without_candidates(signal: Signal) -> Signal {
    let bare = |sdp: String| {
        let lines = sdp.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("a=candidate")).collect()
    };
    match signal {
        Signal::Offer { sdp } => Signal::Offer { sdp: bare(sdp) },
        Signal::Answer { sdp } => Signal::Answer { sdp: bare(sdp) },
        other => other,
    }
}

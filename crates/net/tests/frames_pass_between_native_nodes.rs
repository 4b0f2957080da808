//! Frames of every size pass between two native nodes, in both directions, on both channels, whole
//! and in order.
#![cfg(not(target_arch = "wasm32"))]

mod pair;

use std::collections::HashMap;

use pair::{A, B, Pair};
use potluck_net::{Command, Event, Transport};
use potluck_protocol::peer::Channel;

const SIZES: [usize; 6] = [64, 4096, 1 << 20, 1, 16_384, 5];

fn frame(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 + seed * 7 + index / 251).to_le_bytes()[0]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_pass_between_native_nodes() {
    let mut pair = Pair::open().await;
    let mut expected = HashMap::new();
    for (seed, size) in SIZES.iter().cycle().take(12).copied().enumerate() {
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
    for _ in 0..12 * 2 * 2 {
        match pair.next().await {
            (at, Event::PeerFrame { channel, frame, .. }) => {
                got.entry((at, channel)).or_default().push(frame)
            }
            (at, event) => panic!("{at:?}: {event:?}"),
        }
    }
    assert!(got == expected, "frames differ");
}

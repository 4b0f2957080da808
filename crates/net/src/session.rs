//! What a peer connection is, without the connection: chunks, queues, negotiation, time-outs. No
//! I/O, no clock.
//!
//! There is one `PeerSession` a peer. It is told what happened as an `Input` and answers with
//! `Action`s, which `negotiation` carries out in order over the platform's WebRTC stack:
//!
//! ```text
//!   offers                                   answers
//!   Start → Offer ─── signal ──────────────→ Remote(offer) → Answer
//!   Remote(answer) → Accept ←─── signal ──── (its answer)
//!   Remote(candidate) → AddCandidate  ←──→   the same; kept until the description is there
//!   Found → Report(Signal)            ←──→   the same
//!   ChannelOpen → Transmit(hello) ←──→       the same, on each of two channels
//!   both heard → Report(PeerOpen)            both heard → Report(PeerOpen)
//!   Send → Transmit…                         Chunk… → Report(PeerFrame)
//! ```
//! It does not know WebRTC, sockets or JavaScript, and does not look into frames.

mod awake;
mod candidates;
mod description;
mod fragmenter;
mod greeting;
pub(crate) mod ice_servers;
mod introduction;
pub(crate) mod negotiation;
mod outbox;
#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(dead_code, reason = "only pages are asked, by people")
)]
pub(crate) mod path;
mod peer;
mod reassembler;

use core::time::Duration;

pub(crate) use candidates::Networks;
pub(crate) use introduction::{Candidate, Surroundings};
pub(crate) use peer::{Input, PathState};

/// Bytes of frames that may wait for one peer, on both channels together: six of the largest, or a
/// whole prompt of 8192 positions 1536 values wide, which a stage may have computed before its
/// connection is open. A peer that is further behind than that is not coming back in time for its
/// session, and a tab should not grow further for it.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Frames that may wait for one channel of a peer, so that tiny frames cannot make a huge queue
/// either.
pub const MAX_QUEUED_FRAMES: usize = 16 * 1024;

/// Bytes received from one peer that the node has not taken yet: a long prompt's rows that come
/// faster than a slow stage computes. A native node stops reading before that, which slows the peer
/// down; a browser cannot, so there the peer is closed.
pub const MAX_UNREAD_BYTES: usize = 32 * 1024 * 1024;

/// What a queued frame costs beside its bytes: its place in the queues, its allocation, and in a
/// browser the objects that carry it from page to worker, about 0.6 KB. Charged for each, so that a
/// million frames of a byte are not a hundred times the megabyte that they say they are.
pub const FRAME_OVERHEAD_BYTES: usize = 1024;

/// What a queued frame of so many bytes counts as.
pub(crate) fn charge(frame_bytes: usize) -> usize {
    frame_bytes + FRAME_OVERHEAD_BYTES
}

/// No more is handed to a data channel while this many bytes wait in it. Enough to fill a fast path
/// between two wake-ups; little enough that a frame on the other channel does not wait long behind
/// them.
pub const HIGH_WATER_BYTES: usize = 256 * 1024;

/// The data channel is asked to say when it has drained to this many bytes.
pub const LOW_WATER_BYTES: usize = 64 * 1024;

/// Candidates taken from one peer for one connection, those in its description included. A machine
/// with many interfaces offers about twenty.
pub const MAX_CANDIDATES: usize = 64;

/// How often a session wants to be told that time passed. A greeting that came too early is said
/// again after so long, and someone waits for it.
pub const TICK: Duration = Duration::from_millis(100);

/// How long the steps of a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first step until the peer's description is here. Whoever is there answers within
    /// about a second, and whoever waits for an answer can ask elsewhere meanwhile.
    pub answer: Duration,
    /// From the first step until both channels are open. People wait for it, and a relayed path
    /// needs about 3 s.
    pub open: Duration,
    /// Without a byte in the middle of a frame.
    pub stall: Duration,
    /// From a frame's first byte to its last. The largest take so long at 0.3 Mbit/s; slower, no
    /// model can be used.
    pub frame: Duration,
    /// Without a path to the peer. ICE itself takes 5 s to notice; a change of network is often
    /// over within 5 more.
    pub disconnected: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(5),
            open: Duration::from_secs(15),
            stall: Duration::from_secs(20),
            frame: Duration::from_secs(120),
            disconnected: Duration::from_secs(5),
        }
    }
}

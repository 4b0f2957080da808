//! Frames that overtook the server's message about their session: kept for a moment, as bytes.
//!
//! Nothing in them has been looked at but whose they are, so whoever sends them may only take so
//! much: in bytes and frames by sender, and in bytes altogether. A frame too many takes along what
//! came of its session from that sender, so that the session, which cannot work without it, fails
//! as a whole and by itself.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};

/// All of them, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct EarlyFrames {
    frames: VecDeque<EarlyFrame>,
    /// Of all frames, overhead included.
    bytes: usize,
}

#[derive(Debug)]
struct EarlyFrame {
    from: NodeId,
    session: SessionId,
    bytes: Vec<u8>,
    until: Duration,
}

/// How long they are kept; the server's message comes within a round trip.
const KEEP: Duration = Duration::from_secs(5);
/// Bytes of one sender: five windows of 256 rows, 2,048 wide, at three bytes a value.
const MAX_BYTES_PER_SENDER: usize = 8 * 1024 * 1024;
/// Frames of one sender: two steps, a whole window, of every session that a stage may have.
const MAX_FRAMES_PER_SENDER: usize = 128;
/// Bytes altogether: what four senders may have.
const MAX_BYTES: usize = 4 * MAX_BYTES_PER_SENDER;
/// What a frame costs beside its bytes: its entry here, and what an allocation takes.
const FRAME_OVERHEAD_BYTES: usize = size_of::<EarlyFrame>() + 32;

impl EarlyFrame {
    fn cost(&self) -> usize {
        self.bytes.capacity() + FRAME_OVERHEAD_BYTES
    }
}

impl EarlyFrames {
    /// Keeps a frame of a session that is not known yet, if there is room for it.
    pub(super) fn keep(&mut self, from: NodeId, session: SessionId, bytes: Vec<u8>, now: Duration) {
        let frame = EarlyFrame { from, session, bytes, until: now + KEEP };
        let of_sender = self.frames.iter().filter(|frame| frame.from == from);
        let (count, held) =
            of_sender.fold((0, 0), |(count, held), frame| (count + 1, held + frame.cost()));
        let cost = frame.cost();
        if count >= MAX_FRAMES_PER_SENDER
            || held + cost > MAX_BYTES_PER_SENDER
            || self.bytes + cost > MAX_BYTES
        {
            tracing::warn!(peer = %from.short(), %session, "too many early frames; dropped");
            self.retain(|frame| (frame.from, frame.session) != (from, session));
            return;
        }
        self.bytes += cost;
        self.frames.push_back(frame);
    }

    /// What came of a session, with its senders.
    pub(super) fn take(&mut self, session: SessionId) -> Vec<(NodeId, Vec<u8>)> {
        let (taken, kept) = std::mem::take(&mut self.frames)
            .into_iter()
            .partition::<VecDeque<_>, _>(|frame| frame.session == session);
        self.frames = kept;
        self.count_bytes();
        taken.into_iter().map(|frame| (frame.from, frame.bytes)).collect()
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.retain(|frame| now < frame.until);
    }

    fn retain(&mut self, keep: impl Fn(&EarlyFrame) -> bool) {
        self.frames.retain(keep);
        self.count_bytes();
    }

    fn count_bytes(&mut self) {
        self.bytes = self.frames.iter().map(EarlyFrame::cost).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);
    const NOW: Duration = Duration::ZERO;

    fn session(number: u8) -> SessionId {
        SessionId([number; 16])
    }

    #[test]
    fn one_sender_gets_its_share_of_bytes_and_others_theirs() {
        let mut early = EarlyFrames::default();
        let frame = vec![0; 1024 * 1024];
        for number in 0..100 {
            early.keep(HOSTILE, session(number), frame.clone(), NOW);
            assert!(early.bytes <= MAX_BYTES_PER_SENDER);
        }
        assert_eq!(early.frames.len(), 7, "each is charged more than its bytes");
        early.keep(OTHER, session(200), frame, NOW);
        assert_eq!(early.take(session(200)).len(), 1);
        early.tick(KEEP);
        assert_eq!((early.bytes, early.frames.len()), (0, 0));
    }

    #[test]
    fn tiny_frames_are_counted_and_all_senders_together_have_a_bound() {
        let mut early = EarlyFrames::default();
        for number in 0..=255 {
            early.keep(HOSTILE, session(number), vec![0], NOW);
        }
        assert_eq!(early.frames.len(), MAX_FRAMES_PER_SENDER);
        for sender in 10..100 {
            for number in 0..8 {
                let frame = vec![0; 1_000_000];
                early.keep(NodeId([sender; 32]), session(number), frame, NOW);
            }
        }
        assert!(early.bytes <= MAX_BYTES && early.bytes > MAX_BYTES - 1_100_000);
    }

    #[test]
    fn a_session_has_all_of_its_frames_or_none() {
        let mut early = EarlyFrames::default();
        early.keep(OTHER, session(1), vec![7], NOW);
        for _ in 0..MAX_FRAMES_PER_SENDER {
            early.keep(HOSTILE, session(1), vec![1], NOW);
        }
        early.keep(HOSTILE, session(1), vec![2], NOW);
        assert_eq!(early.take(session(1)), [(OTHER, vec![7])], "its sender's, not others'");
        assert_eq!(early.bytes, 0);
    }
}

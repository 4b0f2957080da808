//! Frames that wait for one channel of a peer, and how much of them the channel may have now.

use std::collections::VecDeque;

use super::fragmenter::Fragmenter;
use super::{HIGH_WATER_BYTES, MAX_QUEUED_FRAMES, charge};

/// One channel's queue.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    frames: VecDeque<Fragmenter>,
    queued_bytes: usize,
    /// Bytes handed to the channel that it has not passed on.
    buffered_bytes: usize,
}

impl Outbox {
    /// What the frames weigh that are not wholly handed over.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Frames that are not wholly handed over.
    pub(super) fn queued_frames(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= MAX_QUEUED_FRAMES
    }

    pub(super) fn push(&mut self, frame: Vec<u8>) {
        self.queued_bytes += charge(frame.len());
        self.frames.push_back(Fragmenter::new(frame));
    }

    /// What the channel says it holds.
    pub(super) fn set_buffered(&mut self, bytes: usize) {
        self.buffered_bytes = bytes;
    }

    /// The next chunk, if there is one and the channel is not full.
    pub(super) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        if self.buffered_bytes >= HIGH_WATER_BYTES {
            return None;
        }
        let front = self.frames.front_mut()?;
        let chunk = front.next_chunk()?;
        self.buffered_bytes += chunk.len();
        if front.is_done() {
            self.queued_bytes -= charge(front.frame_bytes());
            self.frames.pop_front();
        }
        Some(chunk)
    }

    /// The channel is a new one: whatever was not wholly handed to the old one goes again from its
    /// beginning.
    pub(super) fn restart(&mut self) {
        self.buffered_bytes = 0;
        if let Some(front) = self.frames.front_mut() {
            front.rewind();
        }
    }
}

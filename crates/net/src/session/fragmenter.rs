//! Frames cut into chunks, for one channel of a peer.
//!
//! What a chunk looks like is written where chunks are put together again, in
//! [`reassembler`](super::reassembler).

use super::reassembler::{FIRST, FIRST_HEADER_BYTES, LATER, LATER_HEADER_BYTES, MAX_CHUNK_BYTES};

/// A frame on its way out, cut as it goes, so that only the chunk that is being sent is copied.
#[derive(Debug)]
pub(super) struct Fragmenter {
    frame: Vec<u8>,
    sent: usize,
    begun: bool,
}

impl Fragmenter {
    /// Begins with a frame of which nothing was sent.
    #[must_use]
    pub(super) fn new(frame: Vec<u8>) -> Self {
        Self { frame, sent: 0, begun: false }
    }

    /// Length of the whole frame in bytes, headers not counted.
    #[must_use]
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    /// True once the last chunk was taken.
    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        self.begun && self.sent == self.frame.len()
    }

    /// Begins anew, for another connection.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
        self.begun = false;
    }

    /// The next chunk, at most [`MAX_CHUNK_BYTES`].
    ///
    /// A frame longer than [`MAX_PEER_FRAME_BYTES`] would be refused at the other end;
    /// [`PeerSession`](super::peer::PeerSession) does not let one in.
    pub(super) fn next_chunk(&mut self) -> Option<Vec<u8>> {
        if self.is_done() {
            return None;
        }
        let header = if self.begun { LATER_HEADER_BYTES } else { FIRST_HEADER_BYTES };
        let end = self.frame.len().min(self.sent + MAX_CHUNK_BYTES - header);
        let mut chunk = Vec::with_capacity(header + end - self.sent);
        if self.begun {
            chunk.push(LATER);
        } else {
            chunk.push(FIRST);
            chunk.extend_from_slice(
                &u32::try_from(self.frame.len()).unwrap_or(u32::MAX).to_le_bytes(),
            );
        }
        chunk.extend_from_slice(&self.frame[self.sent..end]);
        self.sent = end;
        self.begun = true;
        Some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;
    use proptest::prelude::*;

    use super::super::reassembler::{ChunkError, Reassembler};
    use super::*;

    fn cut(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut fragmenter = Fragmenter::new(frame.to_vec());
        core::iter::from_fn(|| fragmenter.next_chunk()).collect()
    }

    fn join(chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut reassembler = Reassembler::default();
        chunks.iter().filter_map(|chunk| reassembler.push(chunk).unwrap()).collect()
    }

    #[test]
    fn small_frames_take_one_chunk_and_large_ones_as_many_as_they_need() {
        for length in [1, 64, MAX_CHUNK_BYTES - 5] {
            assert_eq!(cut(&vec![7; length]).len(), 1, "{length}");
        }
        assert_eq!(cut(&vec![7; MAX_CHUNK_BYTES - 4]).len(), 2);
        assert!(cut(&vec![7; 1 << 20]).iter().all(|chunk| chunk.len() <= MAX_CHUNK_BYTES));
    }

    #[test]
    fn the_longest_frame_passes_and_one_byte_more_does_not() {
        let frame = vec![3; MAX_PEER_FRAME_BYTES];
        assert_eq!(join(&cut(&frame)), [frame]);
        let got = MAX_PEER_FRAME_BYTES + 1;
        let chunk = Fragmenter::new(vec![3; got]).next_chunk().unwrap();
        assert_eq!(Reassembler::default().push(&chunk), Err(ChunkError::FrameTooLong { got }));
    }

    #[test]
    fn a_rewound_frame_goes_out_whole_again() {
        let mut fragmenter = Fragmenter::new(vec![1; 3 * MAX_CHUNK_BYTES]);
        fragmenter.next_chunk();
        fragmenter.rewind();
        let chunks: Vec<_> = core::iter::from_fn(|| fragmenter.next_chunk()).collect();
        assert_eq!(join(&chunks), [vec![1; 3 * MAX_CHUNK_BYTES]]);
    }

    proptest! {
        #[test]
        fn what_is_cut_is_put_together(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..70_000), 0..4),
        ) {
            let chunks: Vec<_> = frames.iter().flat_map(|frame| cut(frame)).collect();
            prop_assert_eq!(join(&chunks), frames);
        }
    }
}

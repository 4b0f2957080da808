//! Frames cut into chunks, and chunks put together again.
//!
//! ```text
//! first chunk   01 | length of the whole frame, u32 little endian | bytes
//! every other   00 | bytes
//! greetings     02, 03: a chunk of one byte, which never gets here
//! ```
//! Channels are reliable and ordered, so chunks carry no number. A chunk that does not fit is an
//! error, after which the peer is closed: there is no way back into step.

use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;

use super::MAX_CHUNK_BYTES;

const FIRST: u8 = 1;
const LATER: u8 = 0;
const FIRST_HEADER_BYTES: usize = 5;
const LATER_HEADER_BYTES: usize = 1;

/// Memory reserved for a frame before its bytes are here. More comes as they do, whatever length
/// was announced.
const EARLY_RESERVE_BYTES: usize = 64 * 1024;

/// A peer sent a chunk that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Longer than any chunk.
    #[error("chunk of {got} bytes, at most {MAX_CHUNK_BYTES} allowed")]
    ChunkTooLong {
        /// Its length.
        got: usize,
    },
    /// Too short for its header, or without any of the bytes it should bring.
    #[error("chunk of {got} bytes brings nothing")]
    Empty {
        /// Its length.
        got: usize,
    },
    /// Neither a first nor a later chunk.
    #[error("unknown chunk kind {kind}")]
    UnknownKind {
        /// Its first byte.
        kind: u8,
    },
    /// It announces a frame longer than any.
    #[error("frame of {got} bytes, at most {MAX_PEER_FRAME_BYTES} allowed")]
    FrameTooLong {
        /// The announced length.
        got: usize,
    },
    /// A frame begins before the one before it is whole.
    #[error("a frame begins after {got} of {expected} bytes of the one before it")]
    Interrupted {
        /// The unfinished frame's announced length.
        expected: usize,
        /// What is there of it.
        got: usize,
    },
    /// It goes on with a frame that never began.
    #[error("a chunk goes on with no frame")]
    NoFrame,
    /// It brings more than the frame has left.
    #[error("{got} bytes for a frame of {expected}")]
    Overrun {
        /// The frame's announced length.
        expected: usize,
        /// What came.
        got: usize,
    },
}

/// Puts the chunks of one channel together.
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    length: usize,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Takes the next chunk; gives the frame if it is whole now.
    ///
    /// # Errors
    /// If the chunk cannot follow what came before. What there was of the frame is dropped.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, ChunkError> {
        let partial = self.partial.take();
        let mut partial = Self::extend(partial, chunk)?;
        if partial.bytes.len() == partial.length {
            return Ok(Some(std::mem::take(&mut partial.bytes)));
        }
        self.partial = Some(partial);
        Ok(None)
    }

    /// True in the middle of a frame.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    fn extend(partial: Option<Partial>, chunk: &[u8]) -> Result<Partial, ChunkError> {
        if chunk.len() > MAX_CHUNK_BYTES {
            return Err(ChunkError::ChunkTooLong { got: chunk.len() });
        }
        let empty = ChunkError::Empty { got: chunk.len() };
        let (mut partial, payload) = match (chunk.split_first(), partial) {
            (None, _) => return Err(empty),
            (Some((&FIRST, rest)), None) => {
                let Some((length, payload)) = rest.split_first_chunk::<4>() else {
                    return Err(empty);
                };
                let length = u32::from_le_bytes(*length) as usize;
                if length > MAX_PEER_FRAME_BYTES {
                    return Err(ChunkError::FrameTooLong { got: length });
                }
                (
                    Partial { length, bytes: Vec::with_capacity(length.min(EARLY_RESERVE_BYTES)) },
                    payload,
                )
            }
            (Some((&FIRST, _)), Some(Partial { length, bytes })) => {
                return Err(ChunkError::Interrupted { expected: length, got: bytes.len() });
            }
            (Some((&LATER, _)), None) => return Err(ChunkError::NoFrame),
            (Some((&LATER, payload)), Some(partial)) => (partial, payload),
            (Some((&kind, _)), _) => return Err(ChunkError::UnknownKind { kind }),
        };
        let got = partial.bytes.len() + payload.len();
        if got > partial.length {
            return Err(ChunkError::Overrun { expected: partial.length, got });
        }
        // Without this, chunks of nothing could keep half a frame alive for ever.
        if payload.is_empty() && partial.length > 0 {
            return Err(empty);
        }
        partial.bytes.extend_from_slice(payload);
        Ok(partial)
    }
}

/// A frame on its way out, cut as it goes so that only what is being sent is copied.
#[derive(Debug)]
pub struct Cutter {
    frame: Vec<u8>,
    sent: usize,
    begun: bool,
}

impl Cutter {
    /// A frame, nothing of it sent.
    #[must_use]
    pub fn new(frame: Vec<u8>) -> Self {
        Self { frame, sent: 0, begun: false }
    }

    /// The frame's length in bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.frame.len()
    }

    /// True once the last chunk was taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.begun && self.sent == self.frame.len()
    }

    /// Begins anew, for another connection.
    pub fn rewind(&mut self) {
        self.sent = 0;
        self.begun = false;
    }

    /// The next chunk, at most [`MAX_CHUNK_BYTES`].
    ///
    /// A frame longer than [`MAX_PEER_FRAME_BYTES`] would be refused at the other end;
    /// [`PeerSession`](super::PeerSession) does not let one in.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
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
    use proptest::prelude::*;

    use super::*;

    fn cut(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut cutter = Cutter::new(frame.to_vec());
        core::iter::from_fn(|| cutter.next_chunk()).collect()
    }

    fn first(length: usize, payload: &[u8]) -> Vec<u8> {
        let mut chunk = vec![FIRST];
        chunk.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        chunk.extend_from_slice(payload);
        chunk
    }

    fn join(chunks: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut assembler = Assembler::default();
        chunks.iter().filter_map(|chunk| assembler.push(chunk).unwrap()).collect()
    }

    #[test]
    fn small_frames_take_one_chunk_and_large_ones_as_many_as_they_need() {
        for length in [0, 1, 64, MAX_CHUNK_BYTES - 5] {
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
        assert_eq!(
            Assembler::default().push(&first(got, b"x")),
            Err(ChunkError::FrameTooLong { got })
        );
    }

    #[test]
    fn an_announced_length_reserves_little() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(&first(MAX_PEER_FRAME_BYTES, b"x")), Ok(None));
        assert!(assembler.partial.unwrap().bytes.capacity() <= EARLY_RESERVE_BYTES);
    }

    #[test]
    fn chunks_out_of_step_are_refused() {
        assert_eq!(Assembler::default().push(&[]), Err(ChunkError::Empty { got: 0 }));
        assert_eq!(Assembler::default().push(&[FIRST, 1, 0]), Err(ChunkError::Empty { got: 3 }));
        assert_eq!(Assembler::default().push(&first(9, b"")), Err(ChunkError::Empty { got: 5 }));
        assert_eq!(Assembler::default().push(&[LATER, 1]), Err(ChunkError::NoFrame));
        assert_eq!(Assembler::default().push(&[9, 1]), Err(ChunkError::UnknownKind { kind: 9 }));
        assert_eq!(
            Assembler::default().push(&first(2, b"xyz")),
            Err(ChunkError::Overrun { expected: 2, got: 3 })
        );
        let mut assembler = Assembler::default();
        assembler.push(&first(9, b"abc")).unwrap();
        assert_eq!(
            assembler.push(&first(1, b"x")),
            Err(ChunkError::Interrupted { expected: 9, got: 3 })
        );
        assert!(!assembler.is_partial());
        let long = vec![LATER; MAX_CHUNK_BYTES + 1];
        assert_eq!(
            Assembler::default().push(&long),
            Err(ChunkError::ChunkTooLong { got: long.len() })
        );
    }

    #[test]
    fn a_rewound_frame_goes_out_whole_again() {
        let mut cutter = Cutter::new(vec![1; 3 * MAX_CHUNK_BYTES]);
        cutter.next_chunk();
        cutter.rewind();
        let chunks: Vec<_> = core::iter::from_fn(|| cutter.next_chunk()).collect();
        assert_eq!(join(&chunks), [vec![1; 3 * MAX_CHUNK_BYTES]]);
    }

    proptest! {
        #[test]
        fn what_is_cut_is_put_together(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 0..4)) {
            let chunks: Vec<_> = frames.iter().flat_map(|frame| cut(frame)).collect();
            prop_assert_eq!(join(&chunks), frames);
        }

        #[test]
        fn any_other_split_is_put_together_too(frame in prop::collection::vec(any::<u8>(), 1..5000), sizes in prop::collection::vec(1..700usize, 1..50)) {
            let mut chunks = Vec::new();
            let mut rest = &frame[..];
            for size in sizes.iter().cycle() {
                let (payload, after) = rest.split_at((*size).min(rest.len()));
                chunks.push(if chunks.is_empty() { first(frame.len(), payload) } else { [&[LATER], payload].concat() });
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(join(&chunks), [frame]);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..40)), 0..40)) {
            let mut assembler = Assembler::default();
            for (kind, rest) in chunks {
                let _ = assembler.push(&[&[kind], &rest[..]].concat());
            }
        }
    }
}

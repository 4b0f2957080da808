//! Chunks as they travel, and frames put together from them.
//!
//! ```text
//! first chunk   01 | length of the whole frame, u32 little endian | bytes
//! every other   00 | bytes
//! greetings     02, 03: a chunk of one byte, which never gets here
//! ```
//! Channels are reliable and ordered, so chunks carry no number. A chunk that does not fit is an
//! error, after which the peer is closed, because nothing tells where the next frame begins.

use potluck_protocol::codec::MAX_PEER_FRAME_BYTES;

/// Bytes of one data channel message, header included. Every WebRTC stack takes 16 KiB, and larger
/// messages were measured to be slower between webrtc-rs and Chromium (64 KiB: 41 ms, with a tail
/// of 200 ms).
pub(crate) const MAX_CHUNK_BYTES: usize = 16 * 1024;

/// Kind of the chunk that a frame begins with.
pub(super) const FIRST: u8 = 1;
/// Kind of every other chunk.
pub(super) const LATER: u8 = 0;
/// Bytes before the payload of a first chunk.
pub(super) const FIRST_HEADER_BYTES: usize = 5;
/// Bytes before the payload of any other chunk.
pub(super) const LATER_HEADER_BYTES: usize = 1;

/// Memory reserved for a frame before its bytes are here, whatever length was announced; it grows
/// with the bytes that arrive.
const INITIAL_RESERVE_BYTES: usize = 64 * 1024;

/// A peer sent a chunk that cannot follow the ones before it, or that no peer may send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// The chunk is longer than any may be.
    #[error("chunk of {got} bytes, at most {MAX_CHUNK_BYTES} allowed")]
    ChunkTooLong {
        /// The chunk's length in bytes, header included.
        got: usize,
    },
    /// The chunk is too short for its header, or has no payload.
    #[error("chunk of {got} bytes brings nothing")]
    Empty {
        /// The chunk's length in bytes, header included.
        got: usize,
    },
    /// A first chunk announces a frame without bytes, which says nothing and costs as much as any.
    #[error("an empty frame")]
    EmptyFrame,
    /// The chunk is neither a first nor a later one.
    #[error("unknown chunk kind {kind}")]
    UnknownKind {
        /// The chunk's first byte.
        kind: u8,
    },
    /// A first chunk announces a frame longer than any may be.
    #[error("frame of {got} bytes, at most {MAX_PEER_FRAME_BYTES} allowed")]
    FrameTooLong {
        /// The announced length in bytes.
        got: usize,
    },
    /// A frame begins before the one before it is whole.
    #[error("a frame begins after {got} of {expected} bytes of the one before it")]
    Interrupted {
        /// The unfinished frame's announced length in bytes.
        expected: usize,
        /// How many of its bytes had arrived.
        got: usize,
    },
    /// A later chunk came although no frame had begun.
    #[error("a chunk goes on with no frame")]
    NoFrame,
    /// The chunk holds more bytes than its frame has left.
    #[error("{got} bytes for a frame of {expected}")]
    Overrun {
        /// The frame's announced length in bytes.
        expected: usize,
        /// How many bytes arrived for it.
        got: usize,
    },
}

/// Puts the frames of one channel together from its chunks.
#[derive(Debug, Default)]
pub(crate) struct Reassembler {
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    length: usize,
    bytes: Vec<u8>,
}

impl Reassembler {
    /// Adds the next chunk; the frame, if it is whole now.
    ///
    /// # Errors
    /// If the chunk cannot follow what came before. What there was of the frame is dropped.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, ChunkError> {
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
    pub(crate) fn is_partial(&self) -> bool {
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
                if length == 0 {
                    return Err(ChunkError::EmptyFrame);
                }
                if length > MAX_PEER_FRAME_BYTES {
                    return Err(ChunkError::FrameTooLong { got: length });
                }
                (
                    Partial {
                        length,
                        bytes: Vec::with_capacity(length.min(INITIAL_RESERVE_BYTES)),
                    },
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
        if payload.is_empty() {
            return Err(empty);
        }
        partial.bytes.extend_from_slice(payload);
        Ok(partial)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(length: usize, payload: &[u8]) -> Vec<u8> {
        let mut chunk = vec![FIRST];
        chunk.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        chunk.extend_from_slice(payload);
        chunk
    }

    #[test]
    fn an_announced_length_reserves_little() {
        let mut reassembler = Reassembler::default();
        assert_eq!(reassembler.push(&first(MAX_PEER_FRAME_BYTES, b"x")), Ok(None));
        assert!(reassembler.partial.unwrap().bytes.capacity() <= INITIAL_RESERVE_BYTES);
    }

    #[test]
    fn chunks_out_of_step_are_refused() {
        assert_eq!(Reassembler::default().push(&[]), Err(ChunkError::Empty { got: 0 }));
        assert_eq!(Reassembler::default().push(&[FIRST, 1, 0]), Err(ChunkError::Empty { got: 3 }));
        assert_eq!(Reassembler::default().push(&first(9, b"")), Err(ChunkError::Empty { got: 5 }));
        assert_eq!(Reassembler::default().push(&first(0, b"")), Err(ChunkError::EmptyFrame));
        assert_eq!(Reassembler::default().push(&first(0, b"x")), Err(ChunkError::EmptyFrame));
        assert_eq!(Reassembler::default().push(&[LATER, 1]), Err(ChunkError::NoFrame));
        assert_eq!(Reassembler::default().push(&[9, 1]), Err(ChunkError::UnknownKind { kind: 9 }));
        assert_eq!(
            Reassembler::default().push(&first(2, b"xyz")),
            Err(ChunkError::Overrun { expected: 2, got: 3 })
        );
        let mut reassembler = Reassembler::default();
        reassembler.push(&first(9, b"abc")).unwrap();
        assert_eq!(
            reassembler.push(&first(1, b"x")),
            Err(ChunkError::Interrupted { expected: 9, got: 3 })
        );
        assert!(!reassembler.is_partial());
        let long = vec![LATER; MAX_CHUNK_BYTES + 1];
        assert_eq!(
            Reassembler::default().push(&long),
            Err(ChunkError::ChunkTooLong { got: long.len() })
        );
    }

    proptest! {
        #[test]
        fn any_split_is_put_together(
            frame in prop::collection::vec(any::<u8>(), 1..5000),
            sizes in prop::collection::vec(1..700usize, 1..50),
        ) {
            let mut reassembler = Reassembler::default();
            let mut rest = &frame[..];
            let mut whole = None;
            for size in sizes.iter().cycle() {
                let (payload, after) = rest.split_at((*size).min(rest.len()));
                let chunk = if reassembler.is_partial() {
                    [&[LATER], payload].concat()
                } else {
                    first(frame.len(), payload)
                };
                prop_assert_eq!(&whole, &None, "whole before its last chunk");
                whole = reassembler.push(&chunk).unwrap();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(whole, Some(frame));
        }

        #[test]
        fn no_bytes_make_it_panic(
            chunks in prop::collection::vec(
                (0..4u8, prop::collection::vec(any::<u8>(), 0..40)),
                0..40,
            ),
        ) {
            let mut reassembler = Reassembler::default();
            for (kind, rest) in chunks {
                let _ = reassembler.push(&[&[kind], &rest[..]].concat());
            }
        }
    }
}

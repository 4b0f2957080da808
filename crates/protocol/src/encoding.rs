//! The one encoding of messages, signed bytes and stored sessions: postcard.
//!
//! It lies below the messages, because some of them sign their own bytes;
//! [`codec`](crate::codec), which reads messages and checks their limits, lies above them.
//! postcard numbers variants and fields by their order: `tests/wire_vectors.rs` pins the bytes.

use serde::Serialize;

/// Encodes a message of this crate.
///
/// # Panics
/// Never: these types hold no map, no float and nothing of unknown length, so encoding into memory
/// cannot fail.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).expect("the protocol's types always encode into memory")
}

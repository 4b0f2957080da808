//! Any chunks on a data channel, as strangers could send them: put together or refused, and never
//! more held than was sent.
#![no_main]

// Its file alone: the crate that it belongs to brings a WebRTC stack, which would take longer to
// build than the fuzzing lasts.
#[allow(dead_code, reason = "the crate uses more of it than the target")]
#[path = "../../crates/net/src/session/reassembler.rs"]
mod reassembler;

use reassembler::{MAX_CHUNK_BYTES, Reassembler};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut reassembler = Reassembler::default();
    let mut sent = 0;
    let mut received = 0;
    let mut rest = bytes;
    // Chunks follow each other, each after its length in two bytes.
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (chunk, after) = after.split_at(length);
        rest = after;
        sent += chunk.len();
        match reassembler.push(chunk) {
            Ok(frame) => received += frame.map_or(0, |frame| frame.len()),
            Err(_) => return, // the peer would be closed
        }
        assert!(chunk.len() <= MAX_CHUNK_BYTES, "a chunk longer than any was taken");
        assert!(received <= sent, "{received} bytes out of {sent}");
    }
});

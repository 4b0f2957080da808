//! Any bytes as every kind of message: refused, or read as one that encodes to bytes which read
//! back as the same.
#![no_main]

use potluck_protocol::codec::{
    decode_from_server, decode_peer_frame, decode_to_server, encode,
};

macro_rules! assert_reads_back {
    ($decode:ident, $bytes:expr) => {
        if let Ok(message) = $decode($bytes) {
            assert_eq!($decode(&encode(&message)), Ok(message));
        }
    };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert_reads_back!(decode_to_server, bytes);
    assert_reads_back!(decode_from_server, bytes);
    assert_reads_back!(decode_peer_frame, bytes);
});

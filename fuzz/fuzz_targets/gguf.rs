//! Any bytes as a GGUF file: read whole or refused, never a panic or memory that the bytes do not
//! account for.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What comes of it does not matter, only that something does.
    let _ = potluck_importer::read_gguf(bytes.to_vec());
});

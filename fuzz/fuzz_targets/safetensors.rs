//! Any bytes as a safetensors file: read whole or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What comes of it does not matter, only that something does.
    let _ = potluck_importer::read_safetensors(bytes.to_vec());
});

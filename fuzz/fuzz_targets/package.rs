//! Any bytes as a manifest and the blob of a small model's layer, as strangers could send them: in
//! range or refused.
#![no_main]

use potluck_model::package::{LayerWeights, Linear, Manifest, Tables};
use potluck_model::synthetic::config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What comes of it does not matter, only that something does.
    let _ = Manifest::from_bytes(bytes);
    let config = config(1, 32, 32, (1, 1, 32), 32, 8);
    let _ = LayerWeights::from_bytes(&config, 0, bytes);
    let _ = Tables::from_bytes(&config, bytes);
    let _ =
        Linear::vocabulary_from_bytes(&config, potluck_model::package::BlobRole::Embedding, bytes);
});

//! The known-answer test: a fixed computation that every backend must reproduce before it may
//! compute for others.
//!
//! One synthetic layer and head, a prompt of nine rows, a step of one, a step of three (GPUs take
//! each another way), logits: it touches every kernel. The hash of its answer is pinned; a driver
//! that gets it wrong is not used. It takes well under a second on anything, and doubles as the
//! measure of speed: see [`MACS`].

use std::ops::Range;
use std::sync::Arc;

use crate::engine::{Engine, ForwardError, Input, LoadError, Output, OutputRequest, SessionError};
use potluck_model::package::{BlobHash, BlobRole, ModelConfig};
use potluck_model::synthetic::{Synthetic, config};

/// What the answer hashes to, on every backend.
pub const EXPECTED: BlobHash = BlobHash([
    0x5f, 0xeb, 0x44, 0x4b, 0x6e, 0xd0, 0xb4, 0x98, 0x4b, 0x1c, 0xf1, 0x05, 0xb6, 0x8b, 0x8e, 0xd0,
    0x05, 0xaf, 0xef, 0xe7, 0x02, 0x02, 0x44, 0x51, 0xce, 0x46, 0x12, 0xc6, 0xb7, 0x74, 0x75, 0x7d,
]);

/// Multiply-accumulates of one run's matrices: thirteen rows through the layer and three through
/// the head.
pub const MACS: u64 = 13 * (256 * 256 * 2 + 2 * 128 * 256 + 3 * 256 * 512) + 3 * 512 * 256;

/// The test could not be run.
#[derive(Debug, thiserror::Error)]
pub enum KnownAnswerError {
    /// A part was refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A session was refused.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A step failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Runs the test; the engine's model is replaced by the test's.
///
/// # Errors
/// If the backend refuses it.
pub async fn run(engine: &mut Engine) -> Result<BlobHash, KnownAnswerError> {
    const SESSION: u128 = 0;
    const ALL: Range<u32> = 0..1;
    let model = Synthetic::new(shape(), 7);
    engine.set_model(Arc::new(model.manifest.clone()), model.blob(BlobRole::Tables))?;
    for (role, bytes) in &model.blobs {
        engine.load(*role, bytes)?;
    }
    engine.open_session(SESSION, ALL)?;
    let prompt: Vec<u32> = (0..9).map(|i| (i * 61 + 5) % 512).collect();
    let mut hasher = blake3::Hasher::new();
    for (position, tokens) in [(0, &prompt[..]), (9, &[77][..]), (10, &prompt[..3])] {
        if let Output::Logits(logits) =
            engine.forward(SESSION, position, Input::Tokens(tokens), OutputRequest::Logits).await?
        {
            hasher.update(&logits.exponent.to_le_bytes());
            for value in logits.values {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    engine.close_session(SESSION);
    Ok(BlobHash(*hasher.finalize().as_bytes()))
}

fn shape() -> ModelConfig {
    config(1, 256, 512, (8, 4, 32), 512, 64)
}

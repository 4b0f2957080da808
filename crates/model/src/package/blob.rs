//! Why a blob is refused, and the check of its length and hash.

use super::name::{BlobHash, BlobRef};

/// A blob was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not as long as it must be.
    #[error("{what} has {got} bytes, expected {expected}")]
    Length {
        /// Which blob.
        what: String,
        /// What its shape needs.
        expected: u64,
        /// What it has.
        got: u64,
    },
    /// Not the bytes that the manifest names.
    #[error("a blob has hash {got}, expected {expected}")]
    Hash {
        /// The name.
        expected: BlobHash,
        /// What the bytes hash to.
        got: BlobHash,
    },
    /// A value that the arithmetic is not defined for.
    #[error("{what} holds a value out of range")]
    Value {
        /// Which blob.
        what: String,
    },
}

/// Checks a blob's length and hash.
///
/// # Errors
/// If either is not what the manifest says.
pub fn verify_blob(blob: &BlobRef, bytes: &[u8]) -> Result<(), BlobError> {
    if bytes.len() as u64 != blob.size_bytes {
        let (expected, got) = (blob.size_bytes, bytes.len() as u64);
        return Err(BlobError::Length { what: blob.hash.to_string(), expected, got });
    }
    let got = BlobHash(*blake3::hash(bytes).as_bytes());
    if got == blob.hash { Ok(()) } else { Err(BlobError::Hash { expected: blob.hash, got }) }
}

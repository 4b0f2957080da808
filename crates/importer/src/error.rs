//! Why a model was not imported. Nothing is installed then, though blobs of it may lie about.

use std::io;
use std::path::PathBuf;

use potluck_model::package::{BlobError, ManifestError};
use potluck_model::tokenizer::TokenizerError;

/// A model could not be imported; none was installed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("{path} is not valid: {source}")]
    Json {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of weights is not one.
    #[error("the weights cannot be read: {0}")]
    Weights(String),
    /// A tensor is missing, of another shape, or holds numbers that are none.
    #[error("tensor {name}: {problem}")]
    Tensor {
        /// Which one.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Something that this build does not compute.
    #[error("{what} is not supported; supported: {supported}")]
    Unsupported {
        /// What the files have.
        what: String,
        /// What could be done.
        supported: String,
    },
    /// The tokenizer is not one.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The result is outside what the arithmetic is defined for.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The result does not read back.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

//! From the files of a model to the exact package, once. Floats end here.
//!
//! Reads a Hugging Face folder (`config.json`, safetensors whole or in shards, `tokenizer.json`,
//! ...) or a GGUF file; writes `blobs/<hash>` and `models/<name>.json`, each aside and renamed, so
//! that a crash leaves no half model. Matrices are read a few rows at a time, so that no more than
//! one layer and one matrix of floats are in memory. The same files give the same bytes on every
//! machine: rounding is written out, and sines and exponentials come from `libm`. Nothing is
//! fetched here, and nothing is computed with a model once it is written.

mod chat;
mod decoder;
pub mod encoder;
mod ends;
mod error;
mod fold;
mod install;
mod quantise;
mod rope;
pub mod source;

use std::path::Path;

use potluck_model::package::{BlobHash, is_name};

pub use error::ImportError;
pub use source::{gguf_parts, judge};
#[doc(hidden)]
pub use source::{read_gguf, read_safetensors, read_tokenizer};

/// Positions unless asked otherwise: enough for long talks, and a key-value cache that small
/// computers can hold.
pub const DEFAULT_CONTEXT: u32 = 8192;
/// Values that are read and quantised at once, 4 MB of floats.
pub const CHUNK_VALUES: usize = 1 << 20;

/// What to make of a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bits of the layers' weights, 8 or 4.
    pub weight_bits: u32,
    /// Positions at most; a model made for fewer keeps its own number.
    pub context: u32,
    /// Its name here; the folder's or file's own if left out.
    pub name: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { weight_bits: 8, context: DEFAULT_CONTEXT, name: None }
    }
}

/// Bytes of weights read so far, and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So far.
    pub read_bytes: u64,
    /// In the files.
    pub total_bytes: u64,
}

/// Imports the folder or GGUF file `source` into `destination`; returns the model's id, the BLAKE3
/// of its manifest. An encoder becomes `encoders/<name>.json`
/// ([`potluck_model::encoder::EncoderManifest`]), any other `models/<name>.json`.
///
/// # Errors
/// If a file is missing, unreadable or unsupported. No model is installed then, though blobs of it
/// may be.
pub fn import(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    if encoder::is_encoder(source) {
        return encoder::import(source, destination, options, progress);
    }
    decoder::import(source, destination, options, progress)
}

/// What a model is to be called: what the options say, or what its own folder or file is called.
fn model_name(options: &Options, own: &str) -> Result<String, ImportError> {
    let name = options.name.as_deref().unwrap_or(own);
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let supported = "letters, digits, '-', '_' and '.'; another one can be given".to_owned();
    Err(ImportError::Unsupported { what: format!("the model name {name:?}"), supported })
}

/// [`import`] as it is usually wanted, of a folder or file whose name becomes the model's.
///
/// # Errors
/// As [`import`].
pub fn import_folder(source: &Path, destination: &Path) -> Result<BlobHash, ImportError> {
    import(source, destination, &Options::default(), &mut |_| ())
}

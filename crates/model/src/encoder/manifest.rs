//! An encoder's manifest.

use serde::{Deserialize, Serialize};

use super::blobs::{LAYER_BITS, blob_bytes};
use crate::package::check::{MAX_MANIFEST_BYTES, ManifestError, check_versions, is_name};
use crate::package::config::ModelConfig;
use crate::package::manifest::MAX_TOKENIZER_BYTES;
use crate::package::{BlobRef, BlobRole};

/// The one architecture of encoders.
const ARCHITECTURE: &str = "bert";
/// Tokens around a text, at most; the family has one on each side.
const MAX_AROUND: usize = 8;
/// Bytes of a licence's name, at most.
const MAX_LICENSE_BYTES: usize = 4096;
/// Inputs of a matrix of twelve bits, at most: the sum of the lower parts of its groups must fit 32
/// bits.
const MAX_TWELVE_BIT_INPUTS: u32 = 16_384;

/// What becomes of a text's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one.
    Cls,
}

/// Everything about an encoder but its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderManifest {
    /// As [`crate::package::Manifest::format`].
    pub format: u32,
    /// As [`crate::package::Manifest::numerics`].
    pub numerics: u32,
    /// Its name, a file's name too.
    pub name: String,
    /// `bert`.
    pub architecture: String,
    /// As its card says.
    pub license: String,
    /// Shapes; `kv_heads` is `heads`, and `eps` that of all norms.
    pub config: ModelConfig,
    /// What becomes of the rows.
    pub pooling: Pooling,
    /// Whether vectors are made one long.
    pub normalised: bool,
    /// Tokens before a text.
    pub prefix: Vec<u32>,
    /// Tokens after it.
    pub suffix: Vec<u32>,
    /// Tables.
    pub tables: BlobRef,
    /// A `tokenizer.json`.
    pub tokenizer: BlobRef,
    /// Embedding.
    pub embedding: BlobRef,
    /// `[layers]`.
    pub layer_blobs: Vec<BlobRef>,
}

impl EncoderManifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// If it is none, of another version, or does not fit together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { got: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Its bytes, whose BLAKE3 is the encoder's id.
    ///
    /// # Errors
    /// None that could happen; the encoder of JSON reserves the right.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Tokens of a text, without those around it, at most.
    #[must_use]
    pub fn max_text_tokens(&self) -> usize {
        (self.config.max_positions as usize).saturating_sub(self.prefix.len() + self.suffix.len())
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_versions(self.format, self.numerics)?;
        if self.architecture != ARCHITECTURE {
            return Err(ManifestError::Architecture(self.architecture.chars().take(64).collect()));
        }
        self.config.check()?;
        let inconsistent = |what: &str| Err(ManifestError::Inconsistent(what.to_owned()));
        let ModelConfig { heads, kv_heads, weight_bits, vocab, .. } = self.config;
        if heads != kv_heads
            || weight_bits != LAYER_BITS
            || self.config.q_width() != self.config.d_model as usize
        {
            return inconsistent(
                "an encoder has as many key heads as query heads, as wide as its rows, and 12-bit weights",
            );
        }
        if self.config.d_model.max(self.config.d_ff) > MAX_TWELVE_BIT_INPUTS {
            return inconsistent(&format!(
                "an encoder's d_model and d_ff are at most {MAX_TWELVE_BIT_INPUTS}"
            ));
        }
        let around = || self.prefix.iter().chain(&self.suffix);
        if around().count() > MAX_AROUND
            || around().any(|token| *token >= vocab)
            || self.max_text_tokens() == 0
        {
            return inconsistent(
                "tokens around a text that are too many, or none of the vocabulary's",
            );
        }
        if !is_name(&self.name) || self.license.len() > MAX_LICENSE_BYTES {
            return inconsistent("a name or licence that cannot be one");
        }
        if self.layer_blobs.len() != self.config.layers as usize
            || self.tokenizer.size_bytes > MAX_TOKENIZER_BYTES
        {
            return inconsistent(
                "as many layer blobs as layers, and a tokenizer of sensible size, are needed",
            );
        }
        for (role, blob) in self.blobs() {
            if blob.size_bytes != blob_bytes(&self.config, role) {
                return inconsistent(&format!(
                    "{role} has {} bytes, which is not what its shape needs",
                    blob.size_bytes
                ));
            }
        }
        Ok(())
    }

    /// All blobs but the tokenizer.
    #[must_use]
    pub fn blobs(&self) -> Vec<(BlobRole, BlobRef)> {
        let layers =
            (0..).zip(&self.layer_blobs).map(|(index, blob)| (BlobRole::Layer(index), *blob));
        [(BlobRole::Tables, self.tables), (BlobRole::Embedding, self.embedding)]
            .into_iter()
            .chain(layers)
            .collect()
    }
}

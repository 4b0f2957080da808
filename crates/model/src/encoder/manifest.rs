//! An encoder's manifest.

use serde::{Deserialize, Serialize};

use super::blobs::{LAYER_BITS, blob_bytes};
use super::family::Family;
use crate::package::check::{MAX_MANIFEST_BYTES, ManifestError, check_versions, is_name};
use crate::package::config::ModelConfig;
use crate::package::manifest::MAX_TOKENIZER_BYTES;
use crate::package::tables::EncoderTables;
use crate::package::{BlobRef, BlobRole};

/// Tokens around a text, at most; most have one on each side.
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
    /// [`Family::name`].
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
    /// Of one that scores pairs of texts, in place of vectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Scoring>,
}

/// How pairs of texts are scored: `prefix question middle text suffix` becomes one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scoring {
    /// What makes a score of the pooled row.
    pub head: BlobRef,
    /// Tokens between question and text.
    pub middle: Vec<u32>,
    /// 2 if the embedding tells question and text apart (token types), else 1.
    pub kinds: u32,
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

    /// Whose layers it has.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::named(&self.architecture).unwrap_or_default()
    }

    /// What its tables have besides those of all.
    #[must_use]
    pub fn tables_shape(&self) -> EncoderTables {
        let (family, config) = (self.family(), &self.config);
        let turns = config.max_positions as usize * (config.head_dim as usize / 2);
        EncoderTables {
            rotations: if family.turns() { config.rotations } else { 0 },
            turns,
            // The other family's heads have GELU.
            tanh: self.score.is_some() && !family.norms_before(),
        }
    }

    /// Rows of the embedding besides its words.
    #[must_use]
    pub fn position_rows(&self) -> Option<usize> {
        let kinds = self.score.as_ref().map_or(1, |score| score.kinds as usize);
        match self.family() {
            Family::Bert => Some(kinds * self.config.max_positions as usize),
            Family::Nomic => Some(1),
            Family::Modern => None,
        }
    }

    /// Tokens of a question and a text, without those around and between them, at most.
    #[must_use]
    pub fn max_pair_tokens(&self) -> usize {
        let middle = self.score.as_ref().map_or(0, |score| score.middle.len());
        self.max_text_tokens().saturating_sub(middle)
    }

    /// Tokens of a text, without those around it, at most.
    #[must_use]
    pub fn max_text_tokens(&self) -> usize {
        (self.config.max_positions as usize).saturating_sub(self.prefix.len() + self.suffix.len())
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_versions(self.format, self.numerics)?;
        let inconsistent = |what: &str| Err(ManifestError::Inconsistent(what.to_owned()));
        let Some(family) = Family::named(&self.architecture) else {
            let got: String = self.architecture.chars().take(64).collect();
            let known = Family::ALL.map(Family::name).join(", ");
            return inconsistent(&format!("an encoder of architecture {got:?}; known: {known}"));
        };
        self.config.check()?;
        self.check_family(family)?;
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
        let middle = self.score.iter().flat_map(|score| &score.middle);
        let around = || self.prefix.iter().chain(&self.suffix).chain(middle.clone());
        if around().count() > MAX_AROUND
            || around().any(|token| *token >= vocab)
            || self.max_pair_tokens() == 0
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
            if blob.size_bytes != blob_bytes(self, role) {
                return inconsistent(&format!(
                    "{role} has {} bytes, which is not what its shape needs",
                    blob.size_bytes
                ));
            }
        }
        Ok(())
    }

    /// What a family's configuration cannot say.
    fn check_family(&self, family: Family) -> Result<(), ManifestError> {
        let inconsistent = |what: &str| Err(ManifestError::Inconsistent(what.to_owned()));
        let kinds = &self.config.layer_kinds;
        if !family.turns() && !kinds.is_empty() {
            return inconsistent("layers with windows or rotations, which this encoder has not");
        }
        if family.turns() && (kinds.is_empty() || kinds.iter().any(|it| it.rotation.is_none())) {
            return inconsistent("every layer of this encoder turns its queries and keys");
        }
        let Some(score) = &self.score else { return Ok(()) };
        let most = if family == Family::Bert { 2 } else { 1 };
        if family == Family::Nomic || self.normalised || !(1..=most).contains(&score.kinds) {
            return inconsistent("pairs are not scored so");
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
            .chain(self.score.iter().map(|score| (BlobRole::Head, score.head)))
            .collect()
    }
}

//! The manifest: what a model is made of, checked before anything of it is allocated.

use core::ops::Range;

use potluck_protocol::codec::MAX_POSITIONS;
use potluck_protocol::sampling::{NO_REPETITION_PENALTY_MILLI, Sampling};
use serde::{Deserialize, Serialize};

use super::check::{
    ARCHITECTURES, MAX_MANIFEST_BYTES, MAX_NAME_BYTES, ManifestError, check_versions, is_name,
    range,
};
use super::config::ModelConfig;
use super::name::{BlobRef, BlobRole};
use crate::chat::{ChatFormat, MAX_TEMPLATE_BYTES};

/// Bytes of a tokenizer at most.
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Bytes of any other text in a manifest.
const MAX_TEXT_BYTES: usize = 4096;
/// Tokens that end an answer, at most.
pub const MAX_END_TOKENS: usize = 16;

/// Everything about a model but its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`](super::FORMAT).
    pub format: u32,
    /// [`NUMERICS_VERSION`](potluck_protocol::NUMERICS_VERSION).
    pub numerics: u32,
    /// Its name.
    pub name: String,
    /// One of [`ARCHITECTURES`].
    pub architecture: String,
    /// Licence, as the model's card states it.
    pub license: String,
    /// Shapes and scales.
    pub config: ModelConfig,
    /// Tables.
    pub tables: BlobRef,
    /// Hugging Face `tokenizer.json`.
    pub tokenizer: BlobRef,
    /// Embedding.
    pub embedding: BlobRef,
    /// Layers, in order.
    pub layer_blobs: Vec<BlobRef>,
    /// Of every layer its experts, in order; none where it has an MLP. Left out where none has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expert_blobs: Vec<Vec<BlobRef>>,
    /// Head.
    pub head: BlobRef,
    /// How it is talked to.
    pub chat: ChatFormat,
    /// Tokens that end an answer.
    pub end_tokens: Vec<u32>,
    /// What to use where the requester says nothing.
    pub defaults: Defaults,
}

/// What to use where the requester says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Thousandths, 1..=1000.
    pub top_p_milli: u32,
    /// 0 keeps all.
    pub top_k: u32,
    /// Thousandths; left out where it is none.
    #[serde(default = "no_penalty", skip_serializing_if = "is_no_penalty")]
    pub repetition_penalty_milli: u32,
    /// Tokens of an answer.
    pub max_tokens: u32,
}

impl Defaults {
    /// The sampling that a step carries where the requester says nothing but a seed.
    #[must_use]
    pub fn sampling(&self, seed: u64) -> Sampling {
        let Self { temperature_milli, top_p_milli, top_k, repetition_penalty_milli, .. } = *self;
        Sampling { temperature_milli, top_k, top_p_milli, repetition_penalty_milli, seed }
    }
}

const fn no_penalty() -> u32 {
    NO_REPETITION_PENALTY_MILLI
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_no_penalty(milli: &u32) -> bool {
    *milli == NO_REPETITION_PENALTY_MILLI
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// If it is not of this form or version, or any number is out of range or contradicts another.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { got: bytes.len() });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest's own bytes, whose BLAKE3 names the model.
    ///
    /// # Errors
    /// Never in practice: the type holds nothing that JSON cannot.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// The blobs that a node needs to compute `layers`: tables, the embedding with the first layer,
    /// a layer's experts behind it, the head with the last. Layers that the model does not have are left out.
    #[must_use]
    pub fn blobs_for(&self, layers: Range<u32>) -> Vec<(BlobRole, BlobRef)> {
        let mut blobs = vec![(BlobRole::Tables, self.tables)];
        if layers.start == 0 {
            blobs.push((BlobRole::Embedding, self.embedding));
        }
        let held = (0..).zip(&self.layer_blobs).filter(|(index, _)| layers.contains(index));
        for (index, blob) in held {
            blobs.push((BlobRole::Layer(index), *blob));
            let experts = self.expert_blobs.get(index as usize).into_iter().flatten();
            let role = |expert| BlobRole::Expert(index, expert);
            blobs.extend((0..).zip(experts).map(|(expert, blob)| (role(expert), *blob)));
        }
        if layers.end == self.config.layers {
            blobs.push((BlobRole::Head, self.head));
        }
        blobs
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_versions(self.format, self.numerics)?;
        if !ARCHITECTURES.contains(&self.architecture.as_str()) {
            return Err(ManifestError::Architecture(self.architecture.chars().take(64).collect()));
        }
        self.config.check()?;
        let bits = self.config.weight_bits;
        if !matches!(bits, 4 | 8) {
            return Err(ManifestError::Inconsistent(format!(
                "weights of {bits} bits, 4 or 8 are known"
            )));
        }
        let inconsistent = |what: String| Err(ManifestError::Inconsistent(what));
        if self.layer_blobs.len() != self.config.layers as usize {
            return inconsistent(format!(
                "{} layer blobs for {} layers",
                self.layer_blobs.len(),
                self.config.layers
            ));
        }
        let expected = (0..self.config.layers).map(|index| self.config.experts_of(index) as usize);
        let has_experts = self.config.layer_kinds.iter().any(|kind| kind.experts);
        let listed = self.expert_blobs.iter().map(Vec::len);
        if (has_experts || !self.expert_blobs.is_empty()) && !listed.eq(expected) {
            return inconsistent("other experts in the list of blobs than layers have".to_owned());
        }
        if !is_name(&self.name) {
            let name: String = self.name.chars().take(MAX_NAME_BYTES).collect();
            return inconsistent(format!(
                "the name {name:?}: 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' and '.'"
            ));
        }
        let template = self.chat.template.as_deref().unwrap_or_default();
        for (field, text, most) in [
            ("license", self.license.as_str(), MAX_TEXT_BYTES),
            ("chat.bos", &self.chat.bos, MAX_TEXT_BYTES),
            ("chat.eos", &self.chat.eos, MAX_TEXT_BYTES),
            ("chat.template", template, MAX_TEMPLATE_BYTES),
        ] {
            if text.len() > most {
                return inconsistent(format!("{field} has {} bytes, at most {most}", text.len()));
            }
        }
        if self.end_tokens.len() > MAX_END_TOKENS
            || self.end_tokens.iter().any(|token| *token >= self.config.vocab)
        {
            return inconsistent("end tokens outside the vocabulary".to_owned());
        }
        if !self.defaults.sampling(0).is_valid() {
            let Defaults { temperature_milli, top_p_milli, repetition_penalty_milli, .. } =
                self.defaults;
            return Err(ManifestError::Sampling {
                temperature_milli,
                top_p_milli,
                repetition_penalty_milli,
            });
        }
        range("max_tokens", self.defaults.max_tokens, 1, MAX_POSITIONS)?;
        if self.tokenizer.size_bytes > MAX_TOKENIZER_BYTES {
            return inconsistent(format!("a tokenizer of {} bytes", self.tokenizer.size_bytes));
        }
        for (role, blob) in self.blobs_for(0..self.config.layers) {
            let expected = self.config.blob_bytes(role);
            if blob.size_bytes != expected {
                return inconsistent(format!(
                    "{role} has {} bytes, its shape needs {expected}",
                    blob.size_bytes
                ));
            }
        }
        Ok(())
    }
}

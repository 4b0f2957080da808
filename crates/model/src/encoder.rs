//! The package of an encoder, a model that turns a text into one vector: BERT and its family
//! (`MiniLM`, BGE, E5).
//!
//! | blob | planes |
//! |---|---|
//! | tables | `exp2`, the normal distribution function in the place of the logistic one, `rsqrt` |
//! | embedding | words and positions as [`Linear`] `[vocab, d_model]`, `[max_positions, d_model]`; a norm |
//! | layer | q, k, v, o, up, down, each a [`Linear`] and its bias; two norms |
//!
//! A norm is a gain and a bias. Weights of layers have twelve bits, which cost no more to multiply
//! than eight, and those of the embedding eight. The embedding of the one kind of text that is ever
//! asked for (token type 0) is part of the positions.

use serde::{Deserialize, Serialize};

use crate::package::blob::{Bias, BlobError, Gain, Linear, Planes, encoder_tables_bytes};
use crate::package::manifest::{
    BlobRef, BlobRole, MAX_MANIFEST_BYTES, MAX_TOKENIZER_BYTES, ManifestError, ModelConfig,
    bias_bytes, check_versions, gain_bytes, is_name, linear_bytes,
};

/// The one architecture of encoders.
const ARCHITECTURE: &str = "bert";
/// Tokens around a text, at most; the family has one on each side.
const MAX_AROUND: usize = 8;
/// Bytes of a licence's name, at most.
const MAX_LICENSE_BYTES: usize = 4096;
/// Bits of the embedding's weights.
const EMBEDDING_BITS: u32 = 8;
/// Bits of a layer's weights.
pub const LAYER_BITS: u32 = 12;
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

/// A matrix and what is added to its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Biased {
    /// `[out, in]`.
    pub weights: Linear,
    /// `[out]`.
    pub bias: Bias,
}

/// A `LayerNorm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norm {
    /// `[d_model]`.
    pub gain: Gain,
    /// `[d_model]`.
    pub bias: Bias,
}

/// From tokens to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderEmbedding {
    /// `[vocab, d_model]`.
    pub words: Linear,
    /// `[max_positions, d_model]`, the token type's added.
    pub positions: Linear,
    /// Of the sum.
    pub norm: Norm,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderLayer {
    /// Query, key, value and output projections, MLP up and down.
    pub matrices: [Biased; 6],
    /// After attention.
    pub attention_norm: Norm,
    /// After the MLP.
    pub output_norm: Norm,
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

/// Shapes of a layer's matrices: q, k, v, o, up, down.
#[must_use]
pub fn layer_shapes(config: &ModelConfig) -> [(usize, usize); 6] {
    let (d, ff) = (config.d_model as usize, config.d_ff as usize);
    [(d, d), (d, d), (d, d), (d, d), (ff, d), (d, ff)]
}

fn blob_bytes(config: &ModelConfig, role: BlobRole) -> u64 {
    let d = config.d_model as usize;
    let norm = gain_bytes(d) + bias_bytes(d);
    match role {
        BlobRole::Tables => encoder_tables_bytes(),
        BlobRole::Embedding => {
            let tables = [config.vocab, config.max_positions]
                .map(|rows| linear_bytes((rows as usize, d), EMBEDDING_BITS));
            tables.iter().sum::<u64>() + norm
        }
        BlobRole::Layer(_) => {
            let matrices = layer_shapes(config)
                .map(|shape| linear_bytes(shape, LAYER_BITS) + bias_bytes(shape.0));
            matrices.iter().sum::<u64>() + 2 * norm
        }
        BlobRole::Head => 0,
    }
}

impl EncoderEmbedding {
    /// Reads the embedding's blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn from_bytes(config: &ModelConfig, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes =
            Planes::sized(BlobRole::Embedding, blob_bytes(config, BlobRole::Embedding), bytes)?;
        let d = config.d_model as usize;
        Ok(Self {
            words: planes.linear((config.vocab as usize, d), EMBEDDING_BITS)?,
            positions: planes.linear((config.max_positions as usize, d), EMBEDDING_BITS)?,
            norm: Norm::read(&mut planes, d)?,
        })
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.words.write(&mut bytes, EMBEDDING_BITS);
        self.positions.write(&mut bytes, EMBEDDING_BITS);
        self.norm.write(&mut bytes);
        bytes
    }
}

impl EncoderLayer {
    /// Reads a layer's blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn from_bytes(config: &ModelConfig, index: u32, bytes: &[u8]) -> Result<Self, BlobError> {
        let role = BlobRole::Layer(index);
        let mut planes = Planes::sized(role, blob_bytes(config, role), bytes)?;
        let shapes = layer_shapes(config);
        let mut biased = |at: usize| {
            let weights = planes.linear(shapes[at], LAYER_BITS)?;
            Ok::<_, BlobError>(Biased { weights, bias: planes.bias(shapes[at].0)? })
        };
        let matrices = [biased(0)?, biased(1)?, biased(2)?, biased(3)?, biased(4)?, biased(5)?];
        let d = config.d_model as usize;
        Ok(Self {
            matrices,
            attention_norm: Norm::read(&mut planes, d)?,
            output_norm: Norm::read(&mut planes, d)?,
        })
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Biased { weights, bias } in &self.matrices {
            weights.write(&mut bytes, LAYER_BITS);
            bias.write(&mut bytes);
        }
        self.attention_norm.write(&mut bytes);
        self.output_norm.write(&mut bytes);
        bytes
    }
}

impl Norm {
    fn read(planes: &mut Planes<'_>, width: usize) -> Result<Self, BlobError> {
        Ok(Self { gain: planes.gain(width)?, bias: planes.bias(width)? })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        self.gain.write(bytes);
        self.bias.write(bytes);
    }
}

//! The manifest: what a model is made of, checked before anything of it is allocated.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use potluck_protocol::NUMERICS_VERSION;
use potluck_protocol::codec::{self, MAX_LAYERS, MAX_POSITIONS};
use potluck_protocol::sampling::{MAX_TEMPERATURE_MILLI, MIN_TEMPERATURE_MILLI, Sampling};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{EXP2_ENTRIES, GROUP, RSQRT_ENTRIES, SIGMOID_ENTRIES};

/// Version of the manifest's own form.
pub const FORMAT: u32 = 2;
/// Architectures that the arithmetic computes: one decoder layer, with biases on its projections or
/// norms on its heads where the config says so.
pub const ARCHITECTURES: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];
/// Width of the residual stream at most; sums of squares stay in the two words that the arithmetic
/// gives them.
pub const MAX_D_MODEL: u32 = 16_384;
const _: () =
    assert!(MAX_D_MODEL as usize == codec::MAX_D_MODEL, "a frame carries rows of any model");
/// Width of the MLP at most.
pub const MAX_D_FF: u32 = 65_536;
/// Heads at most.
pub const MAX_HEADS: u32 = 256;
/// Width of a head at most; a score's two partial sums stay in 32 bits up to here.
pub const MAX_HEAD_DIM: u32 = 256;
/// Tokens of a vocabulary at most.
pub const MAX_VOCAB: u32 = 1 << 20;
/// Bytes of a tokenizer at most.
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
/// Bytes of a manifest at most, for whoever writes, fetches or reads one: four times what the
/// deepest model's needs.
pub const MAX_MANIFEST_BYTES: usize = 256 << 10;
/// Bytes of a model's name at most; it becomes a file's name.
pub const MAX_NAME_BYTES: usize = 96;
/// Bytes of any other text in a manifest.
const MAX_TEXT_BYTES: usize = 4096;
/// Tokens that end an answer, at most.
const MAX_END_TOKENS: usize = 16;

/// BLAKE3 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

/// A blob's name and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// BLAKE3 of its bytes.
    pub hash: BlobHash,
    /// Its length, bytes.
    pub size_bytes: u64,
}

/// What part of a model a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobRole {
    /// Tables that every stage needs.
    Tables,
    /// Tokens to residual rows; with the first layer.
    Embedding,
    /// One layer.
    Layer(u32),
    /// Last norm and logits; with the last layer.
    Head,
}

/// Everything about a model but its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// [`NUMERICS_VERSION`].
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
    /// Head.
    pub head: BlobRef,
    /// How a question is wrapped.
    pub chat: ChatFormat,
    /// Tokens that end an answer.
    pub end_tokens: Vec<u32>,
    /// What to use where the asker says nothing.
    pub defaults: Defaults,
}

/// Shapes and scales of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream; a multiple of 32.
    pub d_model: u32,
    /// Width of the MLP; a multiple of 32.
    pub d_ff: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head; even.
    pub head_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// Positions.
    pub max_positions: u32,
    /// Fraction bits of the residual stream.
    pub residual_fraction_bits: u32,
    /// `round(log2(e) / sqrt(head_dim) * 2^15)`.
    pub qk_scale: u32,
    /// `eps * d_model` is `eps_mantissa * 2^eps_exponent`, with `2^23 <= eps_mantissa < 2^24`.
    pub eps_mantissa: u32,
    /// See `eps_mantissa`.
    pub eps_exponent: i32,
    /// Bits of a layer's weights: 8 or 4. Embedding and head always have 8.
    pub weight_bits: u32,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether query and key heads are normalised before they are rotated, and with what
    /// `eps * head_dim`.
    pub qk_norm: Option<Eps>,
}

/// A norm's `eps * width`, as `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eps {
    /// `2^23 <= mantissa < 2^24`.
    pub mantissa: u32,
    /// Its power of two.
    pub exponent: i32,
}

/// How a question becomes the model's input: special tokens are recognised in these two, never in
/// the question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatFormat {
    /// Before the question.
    pub prefix: String,
    /// After it.
    pub suffix: String,
}

/// What to use where the asker says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Thousandths, 1..=1000.
    pub top_p_milli: u32,
    /// 0 keeps all.
    pub top_k: u32,
    /// Tokens of an answer.
    pub max_tokens: u32,
}

impl Defaults {
    /// The sampling that a step carries where the requester says nothing but a seed.
    #[must_use]
    pub fn sampling(&self, seed: u64) -> Sampling {
        let Self { temperature_milli, top_p_milli, top_k, .. } = *self;
        Sampling { temperature_milli, top_k, top_p_milli, seed }
    }
}

/// A manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this form.
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
    /// A version this build does not speak.
    #[error("the manifest has {field} {got}; this build knows {expected}")]
    Version {
        /// Which version.
        field: &'static str,
        /// What this build knows.
        expected: u32,
        /// What it says.
        got: u32,
    },
    /// An architecture this build does not compute.
    #[error("architecture {0:?} is not supported; supported: {supported}", supported = ARCHITECTURES.join(", "))]
    Architecture(String),
    /// A number outside what the arithmetic is defined for.
    #[error("{field} is {got}, outside {low} to {high}")]
    Range {
        /// Which one.
        field: &'static str,
        /// Lowest.
        low: u64,
        /// Highest.
        high: u64,
        /// What it says.
        got: u64,
    },
    /// Defaults that no step may carry.
    #[error(
        "a temperature of {temperature_milli} and a top p of {top_p_milli} thousandths; allowed are 0 or \
         {MIN_TEMPERATURE_MILLI} to {MAX_TEMPERATURE_MILLI}, and 1 to 1000"
    )]
    Sampling {
        /// Thousandths.
        temperature_milli: u32,
        /// Thousandths.
        top_p_milli: u32,
    },
    /// Longer than any manifest needs to be.
    #[error("a manifest of {got} bytes; at most {MAX_MANIFEST_BYTES} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Numbers that do not fit together.
    #[error("the manifest does not fit together: {0}")]
    Inconsistent(String),
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
    /// the head with the last. Layers that the model does not have are left out.
    #[must_use]
    pub fn blobs_for(&self, layers: Range<u32>) -> Vec<(BlobRole, BlobRef)> {
        let mut blobs = vec![(BlobRole::Tables, self.tables)];
        if layers.start == 0 {
            blobs.push((BlobRole::Embedding, self.embedding));
        }
        let held = (0..).zip(&self.layer_blobs).filter(|(index, _)| layers.contains(index));
        blobs.extend(held.map(|(index, blob)| (BlobRole::Layer(index), *blob)));
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
        if !is_name(&self.name) {
            let name: String = self.name.chars().take(MAX_NAME_BYTES).collect();
            return inconsistent(format!(
                "the name {name:?}: 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' and '.'"
            ));
        }
        for (field, text) in [
            ("license", &self.license),
            ("chat.prefix", &self.chat.prefix),
            ("chat.suffix", &self.chat.suffix),
        ] {
            if text.len() > MAX_TEXT_BYTES {
                return inconsistent(format!(
                    "{field} has {} bytes, at most {MAX_TEXT_BYTES}",
                    text.len()
                ));
            }
        }
        if self.end_tokens.len() > MAX_END_TOKENS
            || self.end_tokens.iter().any(|token| *token >= self.config.vocab)
        {
            return inconsistent("end tokens outside the vocabulary".to_owned());
        }
        if !self.defaults.sampling(0).is_valid() {
            let Defaults { temperature_milli, top_p_milli, .. } = self.defaults;
            return Err(ManifestError::Sampling { temperature_milli, top_p_milli });
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

impl ModelConfig {
    /// Width of all query heads together.
    #[must_use]
    pub fn q_width(&self) -> usize {
        (self.heads * self.head_dim) as usize
    }

    /// Width of all key (or value) heads together.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        (self.kv_heads * self.head_dim) as usize
    }

    /// Shapes `(out, in)` of a layer's matrices: q, k, v, o, gate, up, down.
    #[must_use]
    pub fn layer_shapes(&self) -> [(usize, usize); 7] {
        let (d, ff, q, kv) =
            (self.d_model as usize, self.d_ff as usize, self.q_width(), self.kv_width());
        [(q, d), (kv, d), (kv, d), (d, q), (ff, d), (ff, d), (d, ff)]
    }

    /// Bytes of a blob of this model.
    #[must_use]
    pub fn blob_bytes(&self, role: BlobRole) -> u64 {
        let d = self.d_model as usize;
        match role {
            BlobRole::Tables => {
                let fixed = [EXP2_ENTRIES, SIGMOID_ENTRIES, RSQRT_ENTRIES]
                    .map(|entries| plane_bytes(entries as u64 * 2));
                let rope = u64::from(self.max_positions) * u64::from(self.head_dim / 2) * 2;
                fixed.iter().sum::<u64>() + 2 * plane_bytes(rope) + gain_bytes(d)
            }
            BlobRole::Embedding | BlobRole::Head => linear_bytes((self.vocab as usize, d), 8),
            BlobRole::Layer(_) => {
                let shapes = self.layer_shapes();
                let matrices =
                    shapes.iter().map(|shape| linear_bytes(*shape, self.weight_bits)).sum::<u64>();
                let biases = shapes[..3].iter().map(|(out, _)| bias_bytes(*out)).sum::<u64>();
                let norms = 2 * gain_bytes(self.head_dim as usize);
                2 * gain_bytes(d)
                    + matrices
                    + u64::from(self.qkv_bias) * biases
                    + u64::from(self.qk_norm.is_some()) * norms
            }
        }
    }

    /// Of the norms of residual rows.
    #[must_use]
    pub fn eps(&self) -> Eps {
        Eps { mantissa: self.eps_mantissa, exponent: self.eps_exponent }
    }

    /// Multiply-accumulates of one layer's matrices for one token.
    #[must_use]
    pub fn linear_macs_per_layer(&self) -> u64 {
        self.layer_shapes().iter().map(|(out, r#in)| (*out as u64) * (*r#in as u64)).sum()
    }

    /// Multiply-accumulates of one layer's attention for the token at `position`, which sees
    /// `position + 1` tokens.
    #[must_use]
    pub fn attention_macs(&self, position: u32) -> u64 {
        2 * (u64::from(position) + 1) * self.q_width() as u64
    }

    /// Multiply-accumulates of the head for one token.
    #[must_use]
    pub fn head_macs(&self) -> u64 {
        u64::from(self.vocab) * u64::from(self.d_model)
    }

    /// Whether the arithmetic and this build's limits hold for these shapes.
    ///
    /// # Errors
    /// If one of them does not.
    pub fn check(&self) -> Result<(), ManifestError> {
        range("layers", self.layers, 1, MAX_LAYERS)?;
        range("d_model", self.d_model, 32, MAX_D_MODEL)?;
        range("d_ff", self.d_ff, 32, MAX_D_FF)?;
        range("heads", self.heads, 1, MAX_HEADS)?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        range("head_dim", self.head_dim, 2, MAX_HEAD_DIM)?;
        range("vocab", self.vocab, 2, MAX_VOCAB)?;
        range("max_positions", self.max_positions, 1, MAX_POSITIONS)?;
        range("residual_fraction_bits", self.residual_fraction_bits, 1, 24)?;
        range("qk_scale", self.qk_scale, 1, 1 << 16)?;
        for eps in [Some(self.eps()), self.qk_norm].into_iter().flatten() {
            range("eps_mantissa", eps.mantissa, 1 << 23, (1 << 24) - 1)?;
            range("-eps_exponent", eps.exponent.unsigned_abs(), 0, 100)?;
        }
        let group = u32::try_from(GROUP).unwrap_or(u32::MAX);
        for (field, width) in [
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("heads * head_dim", self.heads * self.head_dim),
        ] {
            if width % group != 0 {
                return Err(ManifestError::Inconsistent(format!(
                    "{field} is {width}, not a multiple of {GROUP}"
                )));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !self.head_dim.is_multiple_of(2) {
            let heads =
                format!("{} heads, {} kv heads of {}", self.heads, self.kv_heads, self.head_dim);
            return Err(ManifestError::Inconsistent(heads));
        }
        Ok(())
    }
}

/// Whether this build knows a manifest's format and arithmetic.
pub(crate) fn check_versions(format: u32, numerics: u32) -> Result<(), ManifestError> {
    for (field, expected, got) in
        [("format", FORMAT, format), ("numerics", u32::from(NUMERICS_VERSION), numerics)]
    {
        if got != expected {
            return Err(ManifestError::Version { field, expected, got });
        }
    }
    Ok(())
}

fn range(field: &'static str, got: u32, low: u32, high: u32) -> Result<(), ManifestError> {
    if (low..=high).contains(&got) {
        return Ok(());
    }
    Err(ManifestError::Range { field, low: low.into(), high: high.into(), got: got.into() })
}

/// Planes start at multiples of 16 bytes, as GPU buffers and SIMD loads like them.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// [`padded`] in 64 bits: the sizes that a manifest claims may not fit a 32-bit `usize`, and must
/// be compared all the same.
fn plane_bytes(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

pub(crate) fn linear_bytes((out, columns): (usize, usize), bits: u32) -> u64 {
    let (out, columns) = (out as u64, columns as u64);
    plane_bytes(out * columns * u64::from(bits) / 8)
        + plane_bytes(out * (columns / GROUP as u64))
        + plane_bytes(out * 2)
        + plane_bytes(4)
}

pub(crate) fn bias_bytes(out: usize) -> u64 {
    plane_bytes(out as u64 * 4) + plane_bytes(4)
}

pub(crate) fn gain_bytes(width: usize) -> u64 {
    plane_bytes(width as u64 * 2) + plane_bytes(4)
}

/// Whether a text may be a model's name: it becomes a file's name, here and on every node.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    plain && !name.starts_with('.') && (1..=MAX_NAME_BYTES).contains(&name.len())
}

impl fmt::Display for BlobRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables => f.write_str("tables"),
            Self::Embedding => f.write_str("embedding"),
            Self::Layer(index) => write!(f, "layer {index}"),
            Self::Head => f.write_str("head"),
        }
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's hash has 64 lower-case hexadecimal digits")]
pub struct ParseHashError;

impl FromStr for BlobHash {
    type Err = ParseHashError;
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseHashError)?;
        Ok(Self(bytes.try_into().map_err(|_| ParseHashError)?))
    }
}

impl Serialize for BlobHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

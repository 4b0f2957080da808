//! Shapes and scales of a model, and what follows from them: the sizes of its blobs, and its work.

use potluck_protocol::codec::{self, MAX_LAYERS, MAX_POSITIONS};
use serde::{Deserialize, Serialize};

use super::check::{ManifestError, range};
use super::name::BlobRole;
use super::{EXP2_ENTRIES, GROUP, RSQRT_ENTRIES, SIGMOID_ENTRIES};

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

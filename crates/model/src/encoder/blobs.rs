//! An encoder's blobs as typed planes.

use crate::package::BlobRole;
use crate::package::blob::BlobError;
use crate::package::config::{ModelConfig, bias_bytes, gain_bytes, linear_bytes};
use crate::package::planes::{Bias, Gain, Linear, Planes};
use crate::package::tables::encoder_tables_bytes;

/// Bits of the embedding's weights.
const EMBEDDING_BITS: u32 = 8;
/// Bits of a layer's weights.
pub const LAYER_BITS: u32 = 12;

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

/// Shapes of a layer's matrices: q, k, v, o, up, down.
#[must_use]
pub fn layer_shapes(config: &ModelConfig) -> [(usize, usize); 6] {
    let (d, ff) = (config.d_model as usize, config.d_ff as usize);
    [(d, d), (d, d), (d, d), (d, d), (ff, d), (d, ff)]
}

/// Length of a blob of an encoder.
pub(crate) fn blob_bytes(config: &ModelConfig, role: BlobRole) -> u64 {
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
        BlobRole::Head | BlobRole::Expert(..) => 0,
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

//! An encoder's blobs as typed planes.

use super::EncoderManifest;
use super::family::Family;
use crate::package::BlobRole;
use crate::package::blob::BlobError;
use crate::package::config::{ModelConfig, bias_bytes, gain_bytes, linear_bytes};
use crate::package::planes::{Bias, Gain, Linear, Planes};

/// Bits of the embedding's weights.
const EMBEDDING_BITS: u32 = 8;
/// Bits of a layer's weights.
pub const LAYER_BITS: u32 = 12;

/// Of a bias that there is not, low enough never to be a row's.
const NO_BIAS_EXPONENT: i32 = -(1 << 20);

/// What adds nothing to so many outputs: to a row it makes no difference of a bit, so whoever computes
/// need not ask whether there is a bias.
#[must_use]
pub fn no_bias(rows: usize) -> Bias {
    Bias { mantissas: vec![0; rows], exponent: NO_BIAS_EXPONENT }
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

/// From tokens to rows, and the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderEmbedding {
    /// `[vocab, d_model]`.
    pub words: Linear,
    /// What is added to them: `[kinds * max_positions, d_model]` of BERT, the token type's added;
    /// `[1, d_model]` of Nomic, the token type alone.
    pub positions: Option<Linear>,
    /// Of the sum.
    pub norm: Norm,
    /// Of the rows behind all layers, where the layers' norms are before.
    pub last_norm: Option<Norm>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderLayer {
    /// Query, key, value and output projections, MLP up and down.
    pub matrices: [Biased; 6],
    /// What goes through the activation, where the MLP is gated; else up does.
    pub gate: Option<Biased>,
    /// After attention, or before it; of a first layer whose norms are before there is none.
    pub attention_norm: Option<Norm>,
    /// After the MLP, or before it.
    pub output_norm: Norm,
}

/// What makes a score of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreHead {
    /// `[d_model, d_model]`, before the activation.
    pub dense: Biased,
    /// After it.
    pub norm: Option<Norm>,
    /// `[1, d_model]`.
    pub out: Biased,
}

/// Shapes of a layer's matrices: q, k, v, o, up, down. A gate has that of up.
#[must_use]
pub fn layer_shapes(config: &ModelConfig) -> [(usize, usize); 6] {
    let (d, ff) = (config.d_model as usize, config.d_ff as usize);
    [(d, d), (d, d), (d, d), (d, d), (ff, d), (d, ff)]
}

/// Whether a layer normalises attention: all but the first one do, where norms are before.
fn has_attention_norm(family: Family, index: u32) -> bool {
    !family.norms_before() || index > 0
}

/// Length of a blob of an encoder.
pub(super) fn blob_bytes(manifest: &EncoderManifest, role: BlobRole) -> u64 {
    let (family, config) = (manifest.family(), &manifest.config);
    let d = config.d_model as usize;
    let norm = gain_bytes(d) + u64::from(family.norm_biases()) * bias_bytes(d);
    let matrix = |shape: (usize, usize), biased: bool| {
        linear_bytes(shape, LAYER_BITS) + u64::from(biased) * bias_bytes(shape.0)
    };
    match role {
        BlobRole::Tables => manifest.tables_shape().size_bytes(),
        BlobRole::Embedding => {
            let positions = manifest.position_rows();
            let tables = [Some(config.vocab as usize), positions]
                .into_iter()
                .flatten()
                .map(|rows| linear_bytes((rows, d), EMBEDDING_BITS));
            tables.sum::<u64>() + norm * (1 + u64::from(family.norms_before()))
        }
        BlobRole::Layer(index) => {
            let shapes = layer_shapes(config);
            let gate = family.gated().then_some(shapes[UP]);
            let matrices =
                shapes.into_iter().chain(gate).map(|shape| matrix(shape, family.biases()));
            matrices.sum::<u64>() + norm * (1 + u64::from(has_attention_norm(family, index)))
        }
        BlobRole::Head if manifest.score.is_some() => {
            let norm = if family.norms_before() { norm } else { 0 };
            matrix((d, d), family.biases()) + norm + matrix((1, d), true)
        }
        BlobRole::Head | BlobRole::Expert(..) => 0,
    }
}

/// Of up among a layer's matrices.
const UP: usize = 4;

/// Reads the parts of an encoder's blob.
struct Parts<'a, 'b> {
    family: Family,
    width: usize,
    planes: &'a mut Planes<'b>,
}

impl Parts<'_, '_> {
    fn biased(&mut self, shape: (usize, usize), is_biased: bool) -> Result<Biased, BlobError> {
        let weights = self.planes.linear(shape, LAYER_BITS)?;
        let bias = if is_biased { self.planes.bias(shape.0)? } else { no_bias(shape.0) };
        Ok(Biased { weights, bias })
    }

    fn norm(&mut self) -> Result<Norm, BlobError> {
        let gain = self.planes.gain(self.width)?;
        let has_bias = self.family.norm_biases();
        Ok(Norm {
            gain,
            bias: if has_bias { self.planes.bias(self.width)? } else { no_bias(self.width) },
        })
    }

    fn norm_if(&mut self, there: bool) -> Result<Option<Norm>, BlobError> {
        there.then(|| self.norm()).transpose()
    }
}

impl EncoderManifest {
    fn parts<'a, 'b>(&self, planes: &'a mut Planes<'b>) -> Parts<'a, 'b> {
        Parts { family: self.family(), width: self.config.d_model as usize, planes }
    }

    fn planes<'a>(&self, role: BlobRole, bytes: &'a [u8]) -> Result<Planes<'a>, BlobError> {
        Planes::sized(role, blob_bytes(self, role), bytes)
    }
}

impl EncoderEmbedding {
    /// Reads the embedding's blob.
    ///
    /// # Errors
    /// If its length is not what the manifest's shapes need, or a value is out of range.
    pub fn from_bytes(manifest: &EncoderManifest, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = manifest.planes(BlobRole::Embedding, bytes)?;
        let d = manifest.config.d_model as usize;
        let words = planes.linear((manifest.config.vocab as usize, d), EMBEDDING_BITS)?;
        let positions = manifest
            .position_rows()
            .map(|rows| planes.linear((rows, d), EMBEDDING_BITS))
            .transpose()?;
        let mut parts = manifest.parts(&mut planes);
        Ok(Self {
            words,
            positions,
            norm: parts.norm()?,
            last_norm: parts.norm_if(manifest.family().norms_before())?,
        })
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for table in [Some(&self.words), self.positions.as_ref()].into_iter().flatten() {
            table.write(&mut bytes, EMBEDDING_BITS);
        }
        for norm in [Some(&self.norm), self.last_norm.as_ref()].into_iter().flatten() {
            norm.write(&mut bytes);
        }
        bytes
    }
}

impl EncoderLayer {
    /// Reads a layer's blob.
    ///
    /// # Errors
    /// If its length is not what the manifest's shapes need, or a value is out of range.
    pub fn from_bytes(
        manifest: &EncoderManifest,
        index: u32,
        bytes: &[u8],
    ) -> Result<Self, BlobError> {
        let mut planes = manifest.planes(BlobRole::Layer(index), bytes)?;
        let (family, shapes) = (manifest.family(), layer_shapes(&manifest.config));
        let mut parts = manifest.parts(&mut planes);
        let mut biased = |at: usize| parts.biased(shapes[at], family.biases());
        let matrices = [biased(0)?, biased(1)?, biased(2)?, biased(3)?, biased(4)?, biased(5)?];
        let gate = family.gated().then(|| biased(UP)).transpose()?;
        Ok(Self {
            matrices,
            gate,
            attention_norm: parts.norm_if(has_attention_norm(family, index))?,
            output_norm: parts.norm()?,
        })
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for biased in self.matrices.iter().chain(&self.gate) {
            biased.write(&mut bytes);
        }
        for norm in self.attention_norm.iter().chain([&self.output_norm]) {
            norm.write(&mut bytes);
        }
        bytes
    }
}

impl ScoreHead {
    /// Reads the head's blob.
    ///
    /// # Errors
    /// If its length is not what the manifest's shapes need, or a value is out of range.
    pub fn from_bytes(manifest: &EncoderManifest, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = manifest.planes(BlobRole::Head, bytes)?;
        let (family, d) = (manifest.family(), manifest.config.d_model as usize);
        let mut parts = manifest.parts(&mut planes);
        Ok(Self {
            dense: parts.biased((d, d), family.biases())?,
            norm: parts.norm_if(family.norms_before())?,
            out: parts.biased((1, d), true)?,
        })
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.dense.write(&mut bytes);
        self.norm.iter().for_each(|norm| norm.write(&mut bytes));
        self.out.write(&mut bytes);
        bytes
    }
}

impl Biased {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.weights.write(bytes, LAYER_BITS);
        write_bias(&self.bias, bytes);
    }
}

impl Norm {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.gain.write(bytes);
        write_bias(&self.bias, bytes);
    }
}

/// A bias that there is not is not written either.
fn write_bias(bias: &Bias, bytes: &mut Vec<u8>) {
    if bias.exponent != NO_BIAS_EXPONENT {
        bias.write(bytes);
    }
}

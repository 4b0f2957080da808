//! The planes that blobs are made of: matrices, gains and biases, read and written.

use super::GROUP;
use super::blob::BlobError;
use super::config::{ModelConfig, NormKind, padded};
use super::name::BlobRole;

/// A matrix `[rows, columns]`: weight = `weights * group_scales * row_multipliers * 2^exponent`,
/// where a weight of twelve bits is `16 * weights + lower_bits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Outputs.
    pub rows: usize,
    /// Inputs, a multiple of 32.
    pub columns: usize,
    /// `[rows, columns]`, each within ±127; those of twelve bits are their upper eight, from -128.
    pub weights: Vec<i8>,
    /// `[rows, columns]`, the lower four of twelve bits, 0 to 15; none where weights have eight.
    pub lower_bits: Option<Vec<u8>>,
    /// `[rows, columns / 32]`, none zero.
    pub group_scales: Vec<u8>,
    /// `[rows]`, each in 1..=32,768.
    pub row_multipliers: Vec<u16>,
    /// One power of two for all.
    pub exponent: i32,
}

/// A norm's gain, times `sqrt(d_model)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gain {
    /// `[d_model]`, each within ±16,384.
    pub mantissas: Vec<i16>,
    /// One power of two for all.
    pub exponent: i32,
    /// What is added behind it: of a decoder's `LayerNorm`.
    pub bias: Option<Bias>,
}

/// What is added to a matrix's output: `mantissas * 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bias {
    /// `[out]`, each within ±2^24.
    pub mantissas: Vec<i32>,
    /// One power of two for all.
    pub exponent: i32,
}

impl Linear {
    /// Bits that weights have beyond eight.
    #[must_use]
    pub fn extra_bits(&self) -> u32 {
        if self.lower_bits.is_some() { 4 } else { 0 }
    }

    /// A weight, by its place in `[rows, columns]`.
    #[must_use]
    pub fn weight(&self, at: usize) -> i32 {
        let upper = i32::from(self.weights[at]);
        self.lower_bits.as_ref().map_or(upper, |lower| upper << 4 | i32::from(lower[at]))
    }

    /// Reads the embedding's or the head's blob, `[vocab, d_model]`.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn vocabulary_from_bytes(
        config: &ModelConfig,
        role: BlobRole,
        bytes: &[u8],
    ) -> Result<Self, BlobError> {
        let mut planes = Planes::new(config, role, bytes)?;
        planes.linear((config.vocab as usize, config.d_model as usize), 8)
    }

    /// The bytes of a blob of this matrix alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, 8);
        bytes
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>, bits: u32) {
        if bits == 4 {
            let nibble = |weight: i8| (weight + 8).cast_unsigned() & 15;
            let groups = self.weights.chunks_exact(GROUP).map(|group| group.split_at(GROUP / 2));
            let pairs = groups.flat_map(|(low, high)| low.iter().zip(high));
            write_plane(bytes, pairs.map(|(low, high)| nibble(*low) | nibble(*high) << 4));
        } else {
            write_plane(bytes, self.weights.iter().map(|weight| weight.cast_unsigned()));
        }
        if let Some(lower_bits) = &self.lower_bits {
            let groups = lower_bits.chunks_exact(GROUP).map(|group| group.split_at(GROUP / 2));
            write_plane(
                bytes,
                groups.flat_map(|(low, high)| {
                    low.iter().zip(high).map(|(low, high)| low | high << 4)
                }),
            );
        }
        write_plane(bytes, self.group_scales.iter().copied());
        write_plane(bytes, self.row_multipliers.iter().flat_map(|value| value.to_le_bytes()));
        write_plane(bytes, self.exponent.to_le_bytes().into_iter());
    }
}

impl Gain {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        write_plane(bytes, self.mantissas.iter().flat_map(|value| value.to_le_bytes()));
        write_plane(bytes, self.exponent.to_le_bytes().into_iter());
        self.bias.iter().for_each(|bias| bias.write(bytes));
    }
}

impl Bias {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        write_plane(bytes, self.mantissas.iter().flat_map(|value| value.to_le_bytes()));
        write_plane(bytes, self.exponent.to_le_bytes().into_iter());
    }
}

/// Appends a plane, padded to where the next one starts.
pub(crate) fn write_plane(bytes: &mut Vec<u8>, plane: impl Iterator<Item = u8>) {
    bytes.extend(plane);
    bytes.resize(padded(bytes.len()), 0);
}

/// Of sinks and routers' biases: scores are base-2 logarithms in Q16.
pub const SCORE_EXPONENT: i32 = -16;
/// Magnitude of an exponent at most: real ones are within ±64, and sums of a few cannot overflow.
const MAX_EXPONENT: u32 = 256;

/// A cursor over a blob whose whole length has been checked, so that no read can run out.
pub(crate) struct Planes<'a> {
    role: BlobRole,
    rest: &'a [u8],
}

impl<'a> Planes<'a> {
    /// Over a blob of a model.
    pub(crate) fn new(
        config: &ModelConfig,
        role: BlobRole,
        bytes: &'a [u8],
    ) -> Result<Self, BlobError> {
        Self::sized(role, config.blob_bytes(role), bytes)
    }

    /// Over a blob that must have `expected` bytes.
    pub(crate) fn sized(role: BlobRole, expected: u64, bytes: &'a [u8]) -> Result<Self, BlobError> {
        let got = bytes.len() as u64;
        if expected != got {
            return Err(BlobError::Length { what: role.to_string(), expected, got });
        }
        Ok(Self { role, rest: bytes })
    }

    /// Refuses the blob unless its values are `good`.
    pub(crate) fn check(&self, good: bool) -> Result<(), BlobError> {
        if good { Ok(()) } else { Err(BlobError::Value { what: self.role.to_string() }) }
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (plane, rest) = self.rest.split_at(padded(length));
        self.rest = rest;
        &plane[..length]
    }

    pub(crate) fn u16s(&mut self, count: usize) -> Vec<u16> {
        self.bytes(count * 2)
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    pub(crate) fn i16s(&mut self, count: usize) -> Vec<i16> {
        self.bytes(count * 2)
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// An exponent; bounded, so that sums of exponents cannot overflow.
    fn exponent(&mut self) -> Result<i32, BlobError> {
        let bytes = self.bytes(4);
        let exponent = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.check(exponent.unsigned_abs() <= MAX_EXPONENT)?;
        Ok(exponent)
    }

    pub(crate) fn gain(&mut self, width: usize) -> Result<Gain, BlobError> {
        let mantissas = self.i16s(width);
        let exponent = self.exponent()?;
        self.check(mantissas.iter().all(|value| value.unsigned_abs() <= 1 << 14))?;
        Ok(Gain { mantissas, exponent, bias: None })
    }

    /// The norm of a model's residual rows, with its bias where it is a `LayerNorm`.
    pub(crate) fn norm(&mut self, config: &ModelConfig) -> Result<Gain, BlobError> {
        let width = config.d_model as usize;
        let gain = self.gain(width)?;
        let bias = (config.norm == NormKind::Layer).then(|| self.bias(width)).transpose()?;
        Ok(Gain { bias, ..gain })
    }

    pub(crate) fn bias(&mut self, out: usize) -> Result<Bias, BlobError> {
        let bytes = self.bytes(out * 4).chunks_exact(4);
        let mantissas: Vec<i32> =
            bytes.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let exponent = self.exponent()?;
        self.check(mantissas.iter().all(|value| value.unsigned_abs() <= 1 << 24))?;
        Ok(Bias { mantissas, exponent })
    }

    /// The biases of an MLP of such widths, where the model has them.
    pub(crate) fn mlp_bias<const N: usize>(
        &mut self,
        config: &ModelConfig,
        widths: [usize; N],
    ) -> Result<Option<[Bias; N]>, BlobError> {
        if !config.mlp_bias {
            return Ok(None);
        }
        let biases = widths.into_iter().map(|width| self.bias(width));
        Ok(biases.collect::<Result<Vec<Bias>, BlobError>>()?.try_into().ok())
    }

    /// The sinks of a layer's heads, or a router's biases, which have the exponent of a score.
    pub(crate) fn scores(&mut self, count: usize) -> Result<Bias, BlobError> {
        let scores = self.bias(count)?;
        self.check(scores.exponent == SCORE_EXPONENT)?;
        Ok(scores)
    }

    pub(crate) fn linear(
        &mut self,
        (rows, columns): (usize, usize),
        bits: u32,
    ) -> Result<Linear, BlobError> {
        let weights: Vec<i8> = if bits == 4 {
            self.nibbles(rows * columns).map(|nibble| nibble.cast_signed() - 8).collect()
        } else {
            self.bytes(rows * columns).iter().map(|byte| byte.cast_signed()).collect()
        };
        let lower_bits: Option<Vec<u8>> =
            (bits == 12).then(|| self.nibbles(rows * columns).collect());
        let group_scales = self.bytes(rows * (columns / GROUP)).to_vec();
        let row_multipliers = self.u16s(rows);
        let exponent = self.exponent()?;
        let multipliers = row_multipliers.iter().all(|value| (1..=1 << 15).contains(value));
        let scales = group_scales.iter().all(|scale| *scale > 0);
        let above_least = |at: usize| lower_bits.as_ref().is_some_and(|lower| lower[at] > 0);
        let weights_are =
            weights.iter().enumerate().all(|(at, weight)| *weight != i8::MIN || above_least(at));
        self.check(multipliers && scales && weights_are)?;
        Ok(Linear { rows, columns, weights, lower_bits, group_scales, row_multipliers, exponent })
    }

    /// Half bytes: of a group of 32, the first 16 are the lower halves of 16 bytes.
    fn nibbles(&mut self, count: usize) -> impl Iterator<Item = u8> + use<'a> {
        self.bytes(count / 2).chunks_exact(GROUP / 2).flat_map(|group| {
            let (low, high) =
                (group.iter().map(|byte| byte & 15), group.iter().map(|byte| byte >> 4));
            low.chain(high)
        })
    }
}

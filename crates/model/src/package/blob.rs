//! Blobs as typed planes: parsed once, with an exact length check, into values that cannot be out
//! of range.

use super::manifest::{BlobRef, BlobRole, ModelConfig, padded};
use super::{EXP2, EXP2_ENTRIES, GROUP, RSQRT_ENTRIES, SIGMOID_ENTRIES};

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
}

/// What is added to a matrix's output: `mantissas * 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bias {
    /// `[out]`, each within ±2^24.
    pub mantissas: Vec<i32>,
    /// One power of two for all.
    pub exponent: i32,
}

/// The tables of `docs/numerics.md`, and the last norm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// `2^(-i/256)`, Q15, 257 entries: always those of [`EXP2`].
    pub exp2: Vec<u16>,
    /// The function that gates the MLP, Q15, 2,049 entries, rising: the logistic function of SiLU;
    /// an encoder's GELU has the normal distribution's.
    pub sigmoid: Vec<u16>,
    /// `1/sqrt`, Q15, 768 entries.
    pub rsqrt: Vec<u16>,
    /// `[max_positions, head_dim / 2]`, Q14.
    pub cos: Vec<i16>,
    /// `[max_positions, head_dim / 2]`, Q14.
    pub sin: Vec<i16>,
    /// The norm before the head; here, so that a head tied to the embedding is the embedding's
    /// blob.
    pub last_norm: Gain,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWeights {
    /// Before attention.
    pub attention_norm: Gain,
    /// Before the MLP.
    pub mlp_norm: Gain,
    /// Query projection.
    pub q: Linear,
    /// Key projection.
    pub k: Linear,
    /// Value projection.
    pub v: Linear,
    /// Output projection.
    pub o: Linear,
    /// MLP gate.
    pub gate: Linear,
    /// MLP up.
    pub up: Linear,
    /// MLP down.
    pub down: Linear,
    /// Of the query, key and value projections.
    pub qkv_bias: Option<[Bias; 3]>,
    /// Norms of query and key heads.
    pub qk_norm: Option<[Gain; 2]>,
}

/// A blob was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Not as long as it must be.
    #[error("{what} has {got} bytes, expected {expected}")]
    Length {
        /// Which blob.
        what: String,
        /// What its shape needs.
        expected: u64,
        /// What it has.
        got: u64,
    },
    /// Not the bytes that the manifest names.
    #[error("a blob has hash {got}, expected {expected}")]
    Hash {
        /// The name.
        expected: super::BlobHash,
        /// What the bytes hash to.
        got: super::BlobHash,
    },
    /// A value that the arithmetic is not defined for.
    #[error("{what} holds a value out of range")]
    Value {
        /// Which blob.
        what: String,
    },
}

/// Checks a blob's length and hash.
///
/// # Errors
/// If either is not what the manifest says.
pub fn verify_blob(blob: &BlobRef, bytes: &[u8]) -> Result<(), BlobError> {
    if bytes.len() as u64 != blob.size_bytes {
        let (expected, got) = (blob.size_bytes, bytes.len() as u64);
        return Err(BlobError::Length { what: blob.hash.to_string(), expected, got });
    }
    let got = super::BlobHash(*blake3::hash(bytes).as_bytes());
    if got == blob.hash { Ok(()) } else { Err(BlobError::Hash { expected: blob.hash, got }) }
}

impl Tables {
    /// Reads a tables blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a table would lead an index or a product out of
    /// range.
    pub fn from_bytes(config: &ModelConfig, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = Planes::new(config, BlobRole::Tables, bytes)?;
        let rope = config.max_positions as usize * (config.head_dim as usize / 2);
        let tables = Self {
            exp2: planes.u16s(EXP2_ENTRIES),
            sigmoid: planes.u16s(SIGMOID_ENTRIES),
            rsqrt: planes.u16s(RSQRT_ENTRIES),
            cos: planes.i16s(rope),
            sin: planes.i16s(rope),
            last_norm: planes.gain(config.d_model as usize)?,
        };
        tables.check(&planes)?;
        Ok(tables)
    }

    fn check(&self, planes: &Planes<'_>) -> Result<(), BlobError> {
        let tables = self;
        // The definition's, entry by entry: a sampler on the CPU has it compiled in, one on a GPU
        // reads the package's, and both must sample the same token. All other tables are read from
        // the package by every backend, so for them the arithmetic's own bounds are enough.
        let defined = tables.exp2 == EXP2;
        let rising = tables.sigmoid.windows(2).all(|pair| pair[0] <= pair[1])
            && tables.sigmoid[SIGMOID_ENTRIES - 1] <= 1 << 15;
        let small = tables.rsqrt.iter().all(|entry| (1 << 14..1 << 15).contains(entry));
        let unit =
            tables.cos.iter().chain(&tables.sin).all(|value| value.unsigned_abs() <= 1 << 14);
        planes.check(defined && rising && small && unit)
    }

    /// Reads an encoder's tables, which have no rotations and no last norm.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn encoder_from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = Planes::sized(BlobRole::Tables, encoder_tables_bytes(), bytes)?;
        let tables = Self {
            exp2: planes.u16s(EXP2_ENTRIES),
            sigmoid: planes.u16s(SIGMOID_ENTRIES),
            rsqrt: planes.u16s(RSQRT_ENTRIES),
            cos: Vec::new(),
            sin: Vec::new(),
            last_norm: Gain { mantissas: Vec::new(), exponent: 0 },
        };
        tables.check(&planes)?;
        Ok(tables)
    }

    /// The bytes of an encoder's tables.
    #[must_use]
    pub fn encoder_to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for table in [&self.exp2, &self.sigmoid, &self.rsqrt] {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for table in [&self.exp2, &self.sigmoid, &self.rsqrt] {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        for table in [&self.cos, &self.sin] {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        self.last_norm.write(&mut bytes);
        bytes
    }
}

impl LayerWeights {
    /// Reads a layer's blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn from_bytes(config: &ModelConfig, index: u32, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = Planes::new(config, BlobRole::Layer(index), bytes)?;
        let width = config.d_model as usize;
        let (attention_norm, mlp_norm) = (planes.gain(width)?, planes.gain(width)?);
        let shapes = config.layer_shapes();
        let [q, k, v, o, gate, up, down] = shapes;
        let head = config.head_dim as usize;
        let mut linear = |shape| planes.linear(shape, config.weight_bits);
        Ok(Self {
            attention_norm,
            mlp_norm,
            q: linear(q)?,
            k: linear(k)?,
            v: linear(v)?,
            o: linear(o)?,
            gate: linear(gate)?,
            up: linear(up)?,
            down: linear(down)?,
            qkv_bias: match config.qkv_bias {
                true => Some([planes.bias(q.0)?, planes.bias(k.0)?, planes.bias(v.0)?]),
                false => None,
            },
            qk_norm: match config.qk_norm {
                Some(_) => Some([planes.gain(head)?, planes.gain(head)?]),
                None => None,
            },
        })
    }

    /// The blob's bytes, for weights of `weight_bits`: 8, or 4 where all are within -8 to 7.
    #[must_use]
    pub fn to_bytes(&self, weight_bits: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for gain in [&self.attention_norm, &self.mlp_norm] {
            gain.write(&mut bytes);
        }
        for linear in [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down] {
            linear.write(&mut bytes, weight_bits);
        }
        for bias in self.qkv_bias.iter().flatten() {
            bias.write(&mut bytes);
        }
        for gain in self.qk_norm.iter().flatten() {
            gain.write(&mut bytes);
        }
        bytes
    }
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
    }
}

impl Bias {
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        write_plane(bytes, self.mantissas.iter().flat_map(|value| value.to_le_bytes()));
        write_plane(bytes, self.exponent.to_le_bytes().into_iter());
    }
}

/// Bytes of an encoder's tables.
pub(crate) fn encoder_tables_bytes() -> u64 {
    [EXP2_ENTRIES, SIGMOID_ENTRIES, RSQRT_ENTRIES]
        .into_iter()
        .map(|entries| padded(entries * 2) as u64)
        .sum()
}

fn write_plane(bytes: &mut Vec<u8>, plane: impl Iterator<Item = u8>) {
    bytes.extend(plane);
    bytes.resize(padded(bytes.len()), 0);
}

/// Magnitude of an exponent at most: real ones are within ±64, and sums of a few cannot overflow.
const MAX_EXPONENT: u32 = 256;

/// A cursor over a blob whose whole length has been checked, so that no read can run out.
pub(crate) struct Planes<'a> {
    role: BlobRole,
    rest: &'a [u8],
}

impl<'a> Planes<'a> {
    fn new(config: &ModelConfig, role: BlobRole, bytes: &'a [u8]) -> Result<Self, BlobError> {
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

    fn check(&self, good: bool) -> Result<(), BlobError> {
        if good { Ok(()) } else { Err(BlobError::Value { what: self.role.to_string() }) }
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (plane, rest) = self.rest.split_at(padded(length));
        self.rest = rest;
        &plane[..length]
    }

    fn u16s(&mut self, count: usize) -> Vec<u16> {
        self.bytes(count * 2)
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    fn i16s(&mut self, count: usize) -> Vec<i16> {
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
        Ok(Gain { mantissas, exponent })
    }

    pub(crate) fn bias(&mut self, out: usize) -> Result<Bias, BlobError> {
        let bytes = self.bytes(out * 4).chunks_exact(4);
        let mantissas: Vec<i32> =
            bytes.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let exponent = self.exponent()?;
        self.check(mantissas.iter().all(|value| value.unsigned_abs() <= 1 << 24))?;
        Ok(Bias { mantissas, exponent })
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

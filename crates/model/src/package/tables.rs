//! The tables blob.

use super::blob::BlobError;
use super::config::{ModelConfig, padded};
use super::name::BlobRole;
use super::planes::{Gain, Planes, write_plane};
use super::{EXP2, EXP2_ENTRIES, RSQRT_ENTRIES, SIGMOID_ENTRIES};

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
        // The definition's, entry by entry: a sampler on the CPU has it compiled in, one on a GPU
        // reads the package's, and both must sample the same token. All other tables are read from
        // the package by every backend, so for them the arithmetic's own bounds are enough.
        let defined = self.exp2 == EXP2;
        let rising = self.sigmoid.windows(2).all(|pair| pair[0] <= pair[1])
            && self.sigmoid[SIGMOID_ENTRIES - 1] <= 1 << 15;
        let small = self.rsqrt.iter().all(|entry| (1 << 14..1 << 15).contains(entry));
        let unit = self.cos.iter().chain(&self.sin).all(|value| value.unsigned_abs() <= 1 << 14);
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

/// Length of an encoder's tables blob.
pub(crate) fn encoder_tables_bytes() -> u64 {
    [EXP2_ENTRIES, SIGMOID_ENTRIES, RSQRT_ENTRIES]
        .into_iter()
        .map(|entries| padded(entries * 2) as u64)
        .sum()
}

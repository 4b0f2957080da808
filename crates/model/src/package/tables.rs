//! The tables blob.

use super::blob::BlobError;
use super::config::{ModelConfig, padded};
use super::name::BlobRole;
use super::planes::{Gain, Planes, write_plane};
use super::{EXP2, EXP2_ENTRIES, RSQRT_ENTRIES, SIGMOID_ENTRIES, SOFTCAP_ENTRIES};

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
    /// By which queries and keys turn.
    pub rotations: Vec<Rotation>,
    /// The norm before the head; here, so that a head tied to the embedding is the embedding's
    /// blob.
    pub last_norm: Gain,
    /// `tanh(x) / x` in steps of 1/64, Q15, 1,025 entries, falling from 32,768; none where nothing is
    /// capped.
    pub softcap: Vec<u16>,
}

/// How far every pair of a head is turned at every position. Where a model's makers scale what they
/// turn (YaRN, LongRoPE), the scale is in it; a pair that does not turn has angle 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// `[max_positions, head_dim / 2]`, Q14, below 2.
    pub cos: Vec<i16>,
    /// `[max_positions, head_dim / 2]`, Q14, below 2.
    pub sin: Vec<i16>,
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
            rotations: (0..config.rotations)
                .map(|_| Rotation { cos: planes.i16s(rope), sin: planes.i16s(rope) })
                .collect(),
            last_norm: planes.norm(config)?,
            softcap: if config.has_caps() { planes.u16s(SOFTCAP_ENTRIES) } else { Vec::new() },
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
        let turns = self.rotations.iter().flat_map(|turn| turn.cos.iter().chain(&turn.sin));
        // A sum of two products with 14-bit mantissas stays in 31 bits.
        let below_two = turns.into_iter().all(|value| *value != i16::MIN);
        let falling = self.softcap.windows(2).all(|pair| pair[0] >= pair[1])
            && self.softcap.first().is_none_or(|first| *first <= 1 << 15);
        planes.check(defined && rising && small && below_two && falling)
    }

    /// Reads an encoder's tables, which have no last norm.
    ///
    /// # Errors
    /// As [`Self::from_bytes`].
    pub fn encoder_from_bytes(shape: EncoderTables, bytes: &[u8]) -> Result<Self, BlobError> {
        let EncoderTables { rotations, turns, tanh } = shape;
        let mut planes = Planes::sized(BlobRole::Tables, shape.size_bytes(), bytes)?;
        let tables = Self {
            exp2: planes.u16s(EXP2_ENTRIES),
            sigmoid: planes.u16s(SIGMOID_ENTRIES),
            rsqrt: planes.u16s(RSQRT_ENTRIES),
            rotations: (0..rotations)
                .map(|_| Rotation { cos: planes.i16s(turns), sin: planes.i16s(turns) })
                .collect(),
            last_norm: Gain { mantissas: Vec::new(), exponent: 0, bias: None },
            softcap: if tanh { planes.u16s(SOFTCAP_ENTRIES) } else { Vec::new() },
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
        for table in self.rotations.iter().flat_map(|turn| [&turn.cos, &turn.sin]) {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        write_plane(&mut bytes, self.softcap.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// The blob's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for table in [&self.exp2, &self.sigmoid, &self.rsqrt] {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        for table in self.rotations.iter().flat_map(|turn| [&turn.cos, &turn.sin]) {
            write_plane(&mut bytes, table.iter().flat_map(|value| value.to_le_bytes()));
        }
        self.last_norm.write(&mut bytes);
        // Nothing where there is no cap.
        write_plane(&mut bytes, self.softcap.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }
}

/// What an encoder's tables have besides those of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncoderTables {
    /// Rotations.
    pub rotations: u32,
    /// Entries of each of their tables.
    pub turns: usize,
    /// Whether there is the table by which `tanh` is computed.
    pub tanh: bool,
}

impl EncoderTables {
    /// Length of the blob.
    pub(crate) fn size_bytes(self) -> u64 {
        let fixed = [EXP2_ENTRIES, SIGMOID_ENTRIES, RSQRT_ENTRIES]
            .map(|entries| padded(entries * 2) as u64)
            .iter()
            .sum::<u64>();
        let softcap = if self.tanh { padded(SOFTCAP_ENTRIES * 2) as u64 } else { 0 };
        fixed + u64::from(self.rotations) * 2 * padded(self.turns * 2) as u64 + softcap
    }
}

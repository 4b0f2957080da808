//! The blob of a layer.

use super::blob::BlobError;
use super::config::ModelConfig;
use super::name::BlobRole;
use super::planes::{Bias, Gain, Linear, Planes};

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

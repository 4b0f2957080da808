//! The blob of a layer.

use super::blob::BlobError;
use super::config::ModelConfig;
use super::name::BlobRole;
use super::planes::{Bias, Gain, Linear, Planes};

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerWeights {
    /// Before attention.
    pub attention_norm: Option<Gain>,
    /// Before the MLP.
    pub mlp_norm: Option<Gain>,
    /// After attention.
    pub attention_post_norm: Option<Gain>,
    /// After the MLP.
    pub mlp_post_norm: Option<Gain>,
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
    /// Norms of whole query and key rows.
    pub qk_row_norm: Option<[Gain; 2]>,
    /// Of the output projection.
    pub output_bias: Option<Bias>,
    /// Of gate, up and down.
    pub mlp_bias: Option<[Bias; 3]>,
    /// The heads' sinks: scores as base-2 logarithms in Q16, all with exponent -16.
    pub sinks: Option<Bias>,
}

impl LayerWeights {
    /// Reads a layer's blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn from_bytes(config: &ModelConfig, index: u32, bytes: &[u8]) -> Result<Self, BlobError> {
        let mut planes = Planes::new(config, BlobRole::Layer(index), bytes)?;
        let width = config.d_model as usize;
        let mut gain = |there: bool| there.then(|| planes.gain(width)).transpose();
        let (before, after) = (config.norms.before(), config.norms.after());
        let (attention_norm, mlp_norm) = (gain(before)?, gain(before)?);
        let (attention_post_norm, mlp_post_norm) = (gain(after)?, gain(after)?);
        let shapes = config.layer_shapes();
        let [q, k, v, o, gate, up, down] = shapes;
        let head = config.head_dim as usize;
        let mut linear = |shape| planes.linear(shape, config.weight_bits);
        Ok(Self {
            attention_norm,
            mlp_norm,
            attention_post_norm,
            mlp_post_norm,
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
            qk_row_norm: match config.qk_row_norm {
                Some(_) => Some([planes.gain(q.0)?, planes.gain(k.0)?]),
                None => None,
            },
            output_bias: config.output_bias.then(|| planes.bias(o.0)).transpose()?,
            mlp_bias: match config.mlp_bias {
                true => Some([planes.bias(gate.0)?, planes.bias(up.0)?, planes.bias(down.0)?]),
                false => None,
            },
            sinks: config.sinks.then(|| planes.sinks(config.heads as usize)).transpose()?,
        })
    }

    /// The blob's bytes, for weights of `weight_bits`: 8, or 4 where all are within -8 to 7.
    #[must_use]
    pub fn to_bytes(&self, weight_bits: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let norms =
            [&self.attention_norm, &self.mlp_norm, &self.attention_post_norm, &self.mlp_post_norm];
        for gain in norms.into_iter().flatten() {
            gain.write(&mut bytes);
        }
        for linear in [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down] {
            linear.write(&mut bytes, weight_bits);
        }
        for bias in self.qkv_bias.iter().flatten() {
            bias.write(&mut bytes);
        }
        for gain in self.qk_norm.iter().chain(&self.qk_row_norm).flatten() {
            gain.write(&mut bytes);
        }
        let biases = self.output_bias.iter().chain(self.mlp_bias.iter().flatten());
        for bias in biases.chain(&self.sinks) {
            bias.write(&mut bytes);
        }
        bytes
    }
}

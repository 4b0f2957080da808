//! The blob of a layer.

use super::blob::BlobError;
use super::config::{ModelConfig, ROUTER_BITS};
use super::name::BlobRole;
use super::planes::{Bias, Gain, Linear, Planes};

/// What comes after attention in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// One MLP for every token.
    Dense(Box<MlpWeights>),
    /// One without a gate.
    Ungated(Box<UngatedWeights>),
    /// What chooses experts.
    Routed(Box<Router>),
}

/// What chooses experts by scores, which are base-2 logarithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// `[scores, d_model]`, one of every expert and one of those that are shared: scores are the sum of
    /// both products.
    pub matrices: [Linear; 2],
    /// Of the scores of those that are chosen from, `[experts]`, in Q16.
    pub bias: Option<Bias>,
}

/// An MLP, or an expert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlpWeights {
    /// Goes through the activation.
    pub gate: Linear,
    /// Is multiplied by it.
    pub up: Linear,
    /// Back to the residual stream.
    pub down: Linear,
    /// Of gate, up and down.
    pub bias: Option<[Bias; 3]>,
}

/// An MLP without a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UngatedWeights {
    /// Goes through the activation.
    pub up: Linear,
    /// Back to the residual stream.
    pub down: Linear,
    /// Of both.
    pub bias: Option<[Bias; 2]>,
}

/// One layer, without its experts.
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
    /// What comes after attention.
    pub mlp: Mlp,
    /// Of the query, key and value projections.
    pub qkv_bias: Option<[Bias; 3]>,
    /// Norms of query and key heads.
    pub qk_norm: Option<[Gain; 2]>,
    /// Norms of whole query and key rows.
    pub qk_row_norm: Option<[Gain; 2]>,
    /// Of the output projection.
    pub output_bias: Option<Bias>,
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
        let mut gain = |there: bool| there.then(|| planes.norm(config)).transpose();
        let (before, after) = (config.norms.before(), config.norms.after());
        let (attention_norm, mlp_norm) = (gain(before)?, gain(before)?);
        let (attention_post_norm, mlp_post_norm) = (gain(after)?, gain(after)?);
        let ([q, k, v, o], [up, down]) = (config.attention_shapes(), config.mlp_shapes());
        let head = config.head_dim as usize;
        let mut linear = |shape| planes.linear(shape, config.weight_bits);
        let [q_weights, k_weights, v_weights, o_weights] =
            [linear(q)?, linear(k)?, linear(v)?, linear(o)?];
        let router = config.router_shape().filter(|_| config.layer_kind(index).experts);
        // Its biases come later.
        let mlp = match router {
            Some(router) => {
                let mut linear = || planes.linear(router, ROUTER_BITS);
                let matrices = [linear()?, linear()?];
                Mlp::Routed(Box::new(Router { matrices, bias: None }))
            }
            None if config.ungated => {
                let [up, down] = [linear(up)?, linear(down)?];
                Mlp::Ungated(Box::new(UngatedWeights { up, down, bias: None }))
            }
            None => {
                let [gate, up, down] = [linear(up)?, linear(up)?, linear(down)?];
                Mlp::Dense(Box::new(MlpWeights { gate, up, down, bias: None }))
            }
        };
        let mut layer = Self {
            attention_norm,
            mlp_norm,
            attention_post_norm,
            mlp_post_norm,
            q: q_weights,
            k: k_weights,
            v: v_weights,
            o: o_weights,
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
            mlp,
            sinks: None,
        };
        match &mut layer.mlp {
            Mlp::Dense(mlp) => mlp.bias = planes.mlp_bias(config, [up.0, up.0, down.0])?,
            Mlp::Ungated(mlp) => mlp.bias = planes.mlp_bias(config, [up.0, down.0])?,
            Mlp::Routed(router) => {
                let biased = config.experts.filter(|experts| experts.router_bias);
                let bias = biased.map(|experts| planes.scores(experts.count as usize));
                router.bias = bias.transpose()?;
            }
        }
        layer.sinks = config.sinks.then(|| planes.scores(config.heads as usize)).transpose()?;
        Ok(layer)
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
        for linear in [&self.q, &self.k, &self.v, &self.o] {
            linear.write(&mut bytes, weight_bits);
        }
        let mlp_bias: &[Bias] = match &self.mlp {
            Mlp::Dense(mlp) => {
                let MlpWeights { gate, up, down, bias } = &**mlp;
                [gate, up, down].into_iter().for_each(|it| it.write(&mut bytes, weight_bits));
                bias.as_ref().map_or(&[], |all| all)
            }
            Mlp::Ungated(mlp) => {
                let UngatedWeights { up, down, bias } = &**mlp;
                [up, down].into_iter().for_each(|it| it.write(&mut bytes, weight_bits));
                bias.as_ref().map_or(&[], |all| all)
            }
            Mlp::Routed(router) => {
                router.matrices.iter().for_each(|matrix| matrix.write(&mut bytes, ROUTER_BITS));
                router.bias.as_slice()
            }
        };
        for bias in self.qkv_bias.iter().flatten() {
            bias.write(&mut bytes);
        }
        for gain in self.qk_norm.iter().chain(&self.qk_row_norm).flatten() {
            gain.write(&mut bytes);
        }
        let biases = self.output_bias.iter().chain(mlp_bias);
        for bias in biases.chain(&self.sinks) {
            bias.write(&mut bytes);
        }
        bytes
    }
}

impl MlpWeights {
    /// Reads an expert's blob.
    ///
    /// # Errors
    /// If its length is not what `config` needs, or a value is out of range.
    pub fn expert_from_bytes(
        config: &ModelConfig,
        (layer, index): (u32, u32),
        bytes: &[u8],
    ) -> Result<Self, BlobError> {
        let mut planes = Planes::new(config, BlobRole::Expert(layer, index), bytes)?;
        let [gate, up, down] = config.expert_shapes().unwrap_or_default();
        let mut linear = |shape| planes.linear(shape, config.weight_bits);
        Ok(Self {
            gate: linear(gate)?,
            up: linear(up)?,
            down: linear(down)?,
            bias: planes.mlp_bias(config, [gate.0, up.0, down.0])?,
        })
    }

    /// The bytes of an expert's blob, for weights of `weight_bits`.
    #[must_use]
    pub fn to_bytes(&self, weight_bits: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for matrix in [&self.gate, &self.up, &self.down] {
            matrix.write(&mut bytes, weight_bits);
        }
        for bias in self.bias.iter().flatten() {
            bias.write(&mut bytes);
        }
        bytes
    }
}

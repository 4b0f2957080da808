//! A decoder's shape as its files say it, in floats: what the import turns into integers, and what the
//! definition in `f64` computes from.

use potluck_model::package::{Experts, LayerKind, NormKind, NormPlaces};

use crate::error::ImportError;

/// The decoder's shape, in floats where the files have floats.
#[derive(Clone, Debug)]
pub struct Shape {
    /// One of [`potluck_model::package::ARCHITECTURES`].
    pub architecture: &'static str,
    /// How many.
    pub layers: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Width of the MLP.
    pub d_ff: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// Positions that it was made for.
    pub max_positions: u32,
    /// Added to the mean square of every norm.
    pub eps: f64,
    /// Whether the embedding is the head too.
    pub tied: bool,
    /// What the layers are; none: each sees all, and turns by the first rotation.
    pub kinds: Vec<LayerKind>,
    /// What layers have in place of an MLP whose kind says so.
    pub experts: Option<Experts>,
    /// By which queries and keys turn; all of as many pairs.
    pub rotations: Vec<Rotation>,
    /// Where a layer's norms are.
    pub norms: NormPlaces,
    /// What the norms of residual rows are.
    pub norm: NormKind,
    /// What is added to the gains in the files.
    pub gain_offset: f64,
    /// Whether queries and keys are normalised.
    pub qk_norm: QkNorm,
    /// Which projections have biases.
    pub biases: Biases,
    /// Whether every head has a sink.
    pub sinks: bool,
    /// Holds an MLP's gate from above, and its up projection on both sides, to which 1 is added then.
    pub mlp_limit: Option<f64>,
    /// Of the MLP's gate, or of up where there is none.
    pub activation: Activation,
    /// Whether the MLP has no gate.
    pub ungated: bool,
    /// Of products of queries and keys, of embeddings, of what layers add, and of logits.
    pub scales: Scales,
    /// Bounds attention's scores.
    pub attention_cap: Option<f64>,
    /// Bounds the logits.
    pub logit_cap: Option<f64>,
}

/// Factors of a model.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    /// Of a query's product with a key.
    pub score: f64,
    /// Of the embedding's rows, where they enter the first layer.
    pub embedding: f64,
    /// Of what attention and the MLP add.
    pub residual: f64,
    /// Of the logits.
    pub logit: f64,
}

impl Scales {
    /// Those of a model that speaks of none.
    pub(crate) fn plain(head_dim: u32) -> Self {
        Self {
            score: 1.0 / libm::sqrt(f64::from(head_dim)),
            embedding: 1.0,
            residual: 1.0,
            logit: 1.0,
        }
    }
}

/// Whether queries and keys are normalised before they turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// Not.
    None,
    /// Head by head.
    Heads,
    /// All heads of a token at once.
    Rows,
}

/// Which projections have biases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// Attention's output.
    pub output: bool,
    /// Gate, where there is one, up and down.
    pub mlp: bool,
}

/// What the gate goes through, or up where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x` times the normal distribution function, approximated by `tanh`.
    GeluTanh,
    /// `x` times the normal distribution function.
    Gelu,
    /// `x * sigmoid(1.702 x)`, which GELU is near to.
    QuickGelu,
}

/// Of [`Activation::QuickGelu`].
pub const QUICK_GELU_SLOPE: f64 = 1.702;

/// How fast the pairs of a head turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Radians a position, of the pairs that turn.
    pub(crate) frequencies: Vec<f64>,
    /// Others, for contexts of more positions than this.
    pub(crate) long: Option<(u32, Vec<f64>)>,
    /// Of cosine and sine.
    pub scale: f64,
}

impl Rotation {
    /// Radians a position, of the pairs that turn in a context of so many positions.
    #[must_use]
    pub fn frequencies(&self, context: u32) -> &[f64] {
        match &self.long {
            Some((original, long)) if context > *original => long,
            _ => &self.frequencies,
        }
    }
}

/// What the norms of a layer are called, where it has them.
#[derive(Clone, Copy, Debug)]
pub struct NormNames {
    /// Before attention and before the MLP.
    pub before: Option<[&'static str; 2]>,
    /// After each.
    pub after: Option<[&'static str; 2]>,
}

/// Into how many experts of a width a shared MLP is cut.
pub(crate) fn shared_experts(width: u32, d_ff: u32) -> Result<u32, ImportError> {
    if width == 0 || d_ff == 0 || !width.is_multiple_of(d_ff) {
        let what = format!("a shared expert of width {width} beside experts of {d_ff}");
        return Err(ImportError::Unsupported { what, supported: "a multiple of it".to_owned() });
    }
    Ok(width / d_ff)
}

impl Shape {
    /// What a layer is.
    #[must_use]
    pub fn kind(&self, layer: u32) -> LayerKind {
        self.kinds.get(layer as usize).copied().unwrap_or(LayerKind::PLAIN)
    }

    /// What a layer's norms are called.
    #[must_use]
    pub fn norm_names(&self) -> NormNames {
        let after = Some(["post_attention_layernorm", "post_feedforward_layernorm"]);
        match self.norms {
            NormPlaces::Before => {
                let before = Some(["input_layernorm", "post_attention_layernorm"]);
                NormNames { before, after: None }
            }
            NormPlaces::After => NormNames { before: None, after },
            NormPlaces::Both => {
                let before = Some(["input_layernorm", "pre_feedforward_layernorm"]);
                NormNames { before, after }
            }
        }
    }

    /// Sets what the layers are; of plain ones nothing is kept, and no rotation that none turns by.
    pub(crate) fn set_layers(&mut self, kinds: Vec<LayerKind>, mut rotations: Vec<Rotation>) {
        let mut kinds = kinds;
        if rotations.len() == 2 && rotations[0] == rotations[1] {
            rotations.truncate(1);
            kinds.iter_mut().for_each(|kind| kind.rotation = kind.rotation.map(|_| 0));
        }
        if !kinds.iter().any(|kind| kind.rotation == Some(1)) {
            rotations.truncate(1);
        }
        if kinds.iter().all(|kind| *kind == LayerKind::PLAIN) {
            kinds.clear();
        }
        (self.kinds, self.rotations) = (kinds, rotations);
    }
}

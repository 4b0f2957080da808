//! Shapes and scales of a model, and what follows from them: the sizes of its blobs, and its work.

use core::ops::Range;

use potluck_protocol::codec::{self, MAX_LAYERS, MAX_POSITIONS};
use serde::{Deserialize, Serialize};

use super::check::{ManifestError, range};
use super::name::BlobRole;
use super::{EXP2_ENTRIES, GROUP, RSQRT_ENTRIES, SIGMOID_ENTRIES, SOFTCAP_ENTRIES};

/// Width of the residual stream at most; sums of squares stay in the two words that the arithmetic
/// gives them.
pub const MAX_D_MODEL: u32 = 16_384;
const _: () =
    assert!(MAX_D_MODEL as usize == codec::MAX_D_MODEL, "a frame carries rows of any model");
/// Width of the MLP at most.
pub const MAX_D_FF: u32 = 65_536;
/// Heads at most.
pub const MAX_HEADS: u32 = 256;
/// Width of a head at most; a score's two partial sums stay in 32 bits up to here.
pub const MAX_HEAD_DIM: u32 = 256;
/// Tokens of a vocabulary at most.
pub const MAX_VOCAB: u32 = 1 << 20;
/// Experts of a layer at most.
pub const MAX_EXPERTS: u32 = 512;
/// Experts that a token goes through at most, of those that are chosen and of those that are shared.
pub const MAX_EXPERTS_USED: u32 = 16;
/// Rotations at most: one of layers that see all, one of those with a window, and two to spare.
pub const MAX_ROTATIONS: u32 = 4;
/// Bits of each of the two matrices of a router.
pub(crate) const ROUTER_BITS: u32 = 8;
/// Fraction bits of an MLP's limit, and of what is held by it.
pub const LIMIT_BITS: u32 = 26;
/// A limit of an MLP at most: with the 1 that is added it is below what `rescale` gives out.
const MAX_MLP_LIMIT: u32 = 15 << LIMIT_BITS;
/// The largest power of two in a cap: scores beyond it saturate by themselves.
pub const MAX_CAP_EXPONENT: u32 = 12;

/// Shapes and scales of a model. What a plain model does not have is left out of a manifest's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream; a multiple of 32.
    pub d_model: u32,
    /// Width of the MLP; a multiple of 32.
    pub d_ff: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Width of a head; even.
    pub head_dim: u32,
    /// Tokens.
    pub vocab: u32,
    /// Positions.
    pub max_positions: u32,
    /// Fraction bits of the residual stream.
    pub residual_fraction_bits: u32,
    /// `round(log2(e) / sqrt(head_dim) * 2^15)`.
    pub qk_scale: u32,
    /// `eps * d_model` is `eps_mantissa * 2^eps_exponent`, with `2^23 <= eps_mantissa < 2^24`.
    pub eps_mantissa: u32,
    /// See `eps_mantissa`.
    pub eps_exponent: i32,
    /// Bits of a layer's weights: 8 or 4. Embedding and head always have 8.
    pub weight_bits: u32,
    /// Whether the query, key and value projections have biases.
    pub qkv_bias: bool,
    /// Whether query and key heads are normalised before they are rotated, and with what
    /// `eps * head_dim`.
    pub qk_norm: Option<Eps>,
    /// What the layers are, one after the other; none: every one sees all positions, and turns by the
    /// first rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layer_kinds: Vec<LayerKind>,
    /// Rotations in the tables.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub rotations: u32,
    /// Whether the query and key rows are normalised before they are cut into heads, and with what
    /// `eps * width`: of the queries, and of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qk_row_norm: Option<[Eps; 2]>,
    /// Where a layer's norms are.
    #[serde(default, skip_serializing_if = "NormPlaces::is_usual")]
    pub norms: NormPlaces,
    /// Whether the output projection of attention has a bias.
    #[serde(default, skip_serializing_if = "is_false")]
    pub output_bias: bool,
    /// Whether the MLP's projections have biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mlp_bias: bool,
    /// Holds an MLP's gate from above and its up projection on both sides, to which 1 is added then
    /// (`docs/numerics.md`, "MLP"); `round(limit * 2^26)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlp_limit: Option<u32>,
    /// Bounds attention's scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_cap: Option<SoftCap>,
    /// Bounds the logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logit_cap: Option<SoftCap>,
    /// Whether every head has a sink: a score beside those of the positions, which has no value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sinks: bool,
    /// What the layers have in place of an MLP whose kind says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experts: Option<Experts>,
    /// What the norms of residual rows are: those of layers, and the last.
    #[serde(default, skip_serializing_if = "NormKind::is_usual")]
    pub norm: NormKind,
    /// Whether the MLP has no gate: up goes through the activation itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ungated: bool,
}

/// MLPs of a layer, of which a token goes through a few: a router chooses them and weighs what they
/// give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experts {
    /// A layer's.
    pub count: u32,
    /// Those that a token goes through.
    pub used: u32,
    /// Width of each; a multiple of 32.
    pub d_ff: u32,
    /// Whether the weights of those that are chosen sum to one; else those of all do.
    pub renormalised: bool,
    /// Whether the router's scores have biases.
    #[serde(default, skip_serializing_if = "is_false")]
    pub router_bias: bool,
    /// Experts that every token goes through besides, behind the others: parts of one shared MLP, which
    /// have one score and one weight together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared: u32,
}

impl Experts {
    /// All of a layer's, the shared ones with them.
    #[must_use]
    pub fn all(&self) -> u32 {
        self.count + self.shared
    }

    /// Those that a token goes through.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.used + self.shared
    }

    /// A router's scores: of every expert that it chooses from, and one of the shared ones.
    #[must_use]
    pub fn scores(&self) -> u32 {
        self.count + u32::from(self.shared > 0)
    }
}

/// What one layer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerKind {
    /// Positions that a token sees, its own among them; none: all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Which of the tables' rotations queries and keys turn by; none: they do not turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<u32>,
    /// Whether it has [`Experts`] in place of an MLP.
    #[serde(default, skip_serializing_if = "is_false")]
    pub experts: bool,
}

impl LayerKind {
    /// One that sees all, turns by the first rotation and has an MLP.
    pub const PLAIN: Self = Self { window: None, rotation: Some(0), experts: false };
}

/// Where a layer's norms are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormPlaces {
    /// Before attention and before the MLP.
    #[default]
    Before,
    /// After each, before it is added to the residual stream.
    After,
    /// Both.
    Both,
}

impl NormPlaces {
    /// Whether attention's and the MLP's input is normalised.
    #[must_use]
    pub fn before(self) -> bool {
        self != Self::After
    }

    /// Whether their output is.
    #[must_use]
    pub fn after(self) -> bool {
        self != Self::Before
    }

    fn is_usual(&self) -> bool {
        *self == Self::Before
    }
}

/// What a norm of residual rows is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// The row over its root mean square, times a gain.
    #[default]
    Rms,
    /// The same of the row less its mean, plus a bias.
    Layer,
}

impl NormKind {
    fn is_usual(&self) -> bool {
        *self == Self::Rms
    }
}

/// A bound that scores come near to and do not pass: `cap * tanh(x / cap)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftCap {
    /// `round(2^(16 + exponent) / cap)`, from `2^15` to `2^16`.
    pub inverse: u32,
    /// The largest power of two that is not above the cap: `2^exponent <= cap`.
    pub exponent: i32,
}

/// What a manifest leaves out.
fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_one(value: &u32) -> bool {
    *value == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// A norm's `eps * width`, as `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eps {
    /// `2^23 <= mantissa < 2^24`.
    pub mantissa: u32,
    /// Its power of two.
    pub exponent: i32,
}

impl ModelConfig {
    /// Width of all query heads together.
    #[must_use]
    pub fn q_width(&self) -> usize {
        (self.heads * self.head_dim) as usize
    }

    /// Width of all key (or value) heads together.
    #[must_use]
    pub fn kv_width(&self) -> usize {
        (self.kv_heads * self.head_dim) as usize
    }

    /// Shapes `(out, in)` of an expert's matrices: gate, up, down; none where there are none.
    #[must_use]
    pub fn expert_shapes(&self) -> Option<[(usize, usize); 3]> {
        let Experts { d_ff, .. } = self.experts?;
        let (d, ff) = (self.d_model as usize, d_ff as usize);
        Some([(ff, d), (ff, d), (d, ff)])
    }

    /// How many experts a layer has; 0 where it has an MLP.
    #[must_use]
    pub fn experts_of(&self, layer: u32) -> u32 {
        let experts = self.experts.filter(|_| self.layer_kind(layer).experts);
        experts.map_or(0, |experts| experts.all())
    }

    /// Shape `(out, in)` of each of the two matrices that a router is the sum of.
    #[must_use]
    pub fn router_shape(&self) -> Option<(usize, usize)> {
        Some((self.experts?.scores() as usize, self.d_model as usize))
    }

    /// Shapes `(out, in)` of attention's matrices: q, k, v, o.
    #[must_use]
    pub fn attention_shapes(&self) -> [(usize, usize); 4] {
        let (d, q, kv) = (self.d_model as usize, self.q_width(), self.kv_width());
        [(q, d), (kv, d), (kv, d), (d, q)]
    }

    /// Shapes `(out, in)` of an MLP's matrices: up, whose shape the gate has too where there is one, and
    /// down.
    #[must_use]
    pub fn mlp_shapes(&self) -> [(usize, usize); 2] {
        let (d, ff) = (self.d_model as usize, self.d_ff as usize);
        [(ff, d), (d, ff)]
    }

    /// What a layer is.
    #[must_use]
    pub fn layer_kind(&self, index: u32) -> LayerKind {
        self.layer_kinds.get(index as usize).copied().unwrap_or(LayerKind::PLAIN)
    }

    /// Whether scores or logits are bounded, for which there is a table.
    #[must_use]
    pub fn has_caps(&self) -> bool {
        self.attention_cap.is_some() || self.logit_cap.is_some()
    }

    /// Bytes of a blob of this model.
    #[must_use]
    pub fn blob_bytes(&self, role: BlobRole) -> u64 {
        let d = self.d_model as usize;
        match role {
            BlobRole::Tables => {
                let fixed = [EXP2_ENTRIES, SIGMOID_ENTRIES, RSQRT_ENTRIES]
                    .map(|entries| plane_bytes(entries as u64 * 2));
                let rope = u64::from(self.max_positions) * u64::from(self.head_dim / 2) * 2;
                let softcap =
                    if self.has_caps() { plane_bytes(SOFTCAP_ENTRIES as u64 * 2) } else { 0 };
                let rotations = u64::from(self.rotations) * 2 * plane_bytes(rope);
                fixed.iter().sum::<u64>() + rotations + self.norm_bytes() + softcap
            }
            BlobRole::Embedding | BlobRole::Head => linear_bytes((self.vocab as usize, d), 8),
            BlobRole::Expert(..) => self.mlp_bytes(&self.expert_shapes().unwrap_or_default()),
            BlobRole::Layer(index) => {
                let shapes = self.attention_shapes();
                let mlp = match self.router_shape().filter(|_| self.layer_kind(index).experts) {
                    Some(router) => {
                        2 * linear_bytes(router, ROUTER_BITS) + self.router_bias_bytes()
                    }
                    None => self.mlp_bytes(&self.dense_shapes()),
                };
                let matrices =
                    shapes.iter().map(|shape| linear_bytes(*shape, self.weight_bits)).sum::<u64>();
                let biases = |which: Range<usize>| {
                    shapes[which].iter().map(|(out, _)| bias_bytes(*out)).sum::<u64>()
                };
                let norms = 2 * gain_bytes(self.head_dim as usize);
                let row_norms = gain_bytes(self.q_width()) + gain_bytes(self.kv_width());
                let places = u64::from(self.norms.before()) + u64::from(self.norms.after());
                2 * places * self.norm_bytes()
                    + matrices
                    + mlp
                    + u64::from(self.qkv_bias) * biases(0..3)
                    + u64::from(self.qk_norm.is_some()) * norms
                    + u64::from(self.qk_row_norm.is_some()) * row_norms
                    + u64::from(self.output_bias) * biases(3..4)
                    + u64::from(self.sinks) * bias_bytes(self.heads as usize)
            }
        }
    }

    fn router_bias_bytes(&self) -> u64 {
        let biased = self.experts.filter(|experts| experts.router_bias);
        biased.map_or(0, |experts| bias_bytes(experts.count as usize))
    }

    fn mlp_bytes(&self, shapes: &[(usize, usize)]) -> u64 {
        let biases = shapes.iter().map(|(out, _)| bias_bytes(*out)).sum::<u64>();
        shapes.iter().map(|shape| linear_bytes(*shape, self.weight_bits)).sum::<u64>()
            + u64::from(self.mlp_bias) * biases
    }

    /// Of all of an MLP's matrices: gate, where there is one, up and down.
    fn dense_shapes(&self) -> Vec<(usize, usize)> {
        let [up, down] = self.mlp_shapes();
        if self.ungated { vec![up, down] } else { vec![up, up, down] }
    }

    /// Of a norm of residual rows.
    fn norm_bytes(&self) -> u64 {
        let width = self.d_model as usize;
        let bias = if self.norm == NormKind::Layer { bias_bytes(width) } else { 0 };
        gain_bytes(width) + bias
    }

    /// Of the norms of residual rows.
    #[must_use]
    pub fn eps(&self) -> Eps {
        Eps { mantissa: self.eps_mantissa, exponent: self.eps_exponent }
    }

    /// Multiply-accumulates of one layer's matrices for one token, of layers of several kinds the mean.
    #[must_use]
    pub fn linear_macs_per_layer(&self) -> u64 {
        let macs = |shapes: &[(usize, usize)]| {
            shapes.iter().map(|(out, r#in)| (*out as u64) * (*r#in as u64)).sum::<u64>()
        };
        let attention = macs(&self.attention_shapes());
        let dense = macs(&self.dense_shapes());
        let expert = self.expert_shapes().map_or(0, |shapes| macs(&shapes));
        let used = self.experts.map_or(0, |experts| u64::from(experts.active()));
        let router = 2 * self.router_shape().map_or(0, |router| macs(&[router]));
        let layers = (0..self.layers).map(|index| match self.layer_kind(index).experts {
            true => attention + router + used * expert,
            false => attention + dense,
        });
        layers.sum::<u64>() / u64::from(self.layers.max(1))
    }

    /// Multiply-accumulates of a layer's attention for each position that a token sees, itself included.
    #[must_use]
    pub fn attention_macs_per_seen_position(&self) -> u64 {
        2 * self.q_width() as u64
    }

    /// Multiply-accumulates of the head for one token.
    #[must_use]
    pub fn head_macs(&self) -> u64 {
        u64::from(self.vocab) * u64::from(self.d_model)
    }

    /// Whether the arithmetic and this build's limits hold for these shapes.
    ///
    /// # Errors
    /// If one of them does not.
    pub fn check(&self) -> Result<(), ManifestError> {
        range("layers", self.layers, 1, MAX_LAYERS)?;
        range("d_model", self.d_model, 32, MAX_D_MODEL)?;
        range("d_ff", self.d_ff, 32, MAX_D_FF)?;
        range("heads", self.heads, 1, MAX_HEADS)?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        range("head_dim", self.head_dim, 2, MAX_HEAD_DIM)?;
        range("vocab", self.vocab, 2, MAX_VOCAB)?;
        range("max_positions", self.max_positions, 1, MAX_POSITIONS)?;
        range("residual_fraction_bits", self.residual_fraction_bits, 1, 24)?;
        range("qk_scale", self.qk_scale, 1, 1 << 16)?;
        let row_norms = self.qk_row_norm.map_or([None; 2], |norms| norms.map(Some));
        let [q, k] = row_norms;
        for eps in [Some(self.eps()), self.qk_norm, q, k].into_iter().flatten() {
            range("eps_mantissa", eps.mantissa, 1 << 23, (1 << 24) - 1)?;
            range("-eps_exponent", eps.exponent.unsigned_abs(), 0, 100)?;
        }
        let group = u32::try_from(GROUP).unwrap_or(u32::MAX);
        for (field, width) in [
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("heads * head_dim", self.heads * self.head_dim),
        ] {
            if width % group != 0 {
                return Err(ManifestError::Inconsistent(format!(
                    "{field} is {width}, not a multiple of {GROUP}"
                )));
            }
        }
        self.check_kinds()?;
        self.check_experts()?;
        if self.norm == NormKind::Layer && self.norms.after() {
            let after = "a LayerNorm after attention and the MLP".to_owned();
            return Err(ManifestError::Inconsistent(after));
        }
        for cap in [self.attention_cap, self.logit_cap].into_iter().flatten() {
            range("a cap's inverse", cap.inverse, 1 << 15, 1 << 16)?;
            range("a cap's exponent", cap.exponent.cast_unsigned(), 0, MAX_CAP_EXPONENT)?;
        }
        if let Some(limit) = self.mlp_limit {
            range("mlp_limit", limit, 1, MAX_MLP_LIMIT)?;
            if self.ungated {
                let both = "a limit of gates, and MLPs without one".to_owned();
                return Err(ManifestError::Inconsistent(both));
            }
        }
        if self.qk_norm.is_some() && self.qk_row_norm.is_some() {
            let twice = "queries and keys that are normalised twice".to_owned();
            return Err(ManifestError::Inconsistent(twice));
        }
        if !self.heads.is_multiple_of(self.kv_heads) || !self.head_dim.is_multiple_of(2) {
            let heads =
                format!("{} heads, {} kv heads of {}", self.heads, self.kv_heads, self.head_dim);
            return Err(ManifestError::Inconsistent(heads));
        }
        Ok(())
    }

    fn check_experts(&self) -> Result<(), ManifestError> {
        let has_some = self.layer_kinds.iter().any(|kind| kind.experts);
        let Some(Experts { count, used, d_ff, shared, .. }) = self.experts else {
            return if has_some {
                Err(ManifestError::Inconsistent("layers with experts, and no experts".to_owned()))
            } else {
                Ok(())
            };
        };
        range("experts", count, 1, MAX_EXPERTS)?;
        range("experts used", used, 1, count.min(MAX_EXPERTS_USED))?;
        range("shared experts", shared, 0, MAX_EXPERTS_USED)?;
        range("an expert's d_ff", d_ff, 32, MAX_D_FF)?;
        let group = u32::try_from(GROUP).unwrap_or(u32::MAX);
        if !d_ff.is_multiple_of(group) {
            let width = format!("an expert's d_ff is {d_ff}, not a multiple of {GROUP}");
            return Err(ManifestError::Inconsistent(width));
        }
        if self.ungated {
            let both = "experts, which have gates, and MLPs without one".to_owned();
            return Err(ManifestError::Inconsistent(both));
        }
        // What they give is added one by one; a norm would need the sum.
        if has_some && self.norms.after() {
            let after = "experts with a norm after them".to_owned();
            return Err(ManifestError::Inconsistent(after));
        }
        Ok(())
    }

    fn check_kinds(&self) -> Result<(), ManifestError> {
        range("rotations", self.rotations, 0, MAX_ROTATIONS)?;
        let listed = self.layer_kinds.len();
        if listed != 0 && listed != self.layers as usize {
            let kinds = format!("{listed} kinds for {} layers", self.layers);
            return Err(ManifestError::Inconsistent(kinds));
        }
        for kind in (0..self.layers).map(|index| self.layer_kind(index)) {
            if let Some(window) = kind.window {
                range("a layer's window", window, 1, MAX_POSITIONS)?;
            }
            if kind.rotation.is_some_and(|rotation| rotation >= self.rotations) {
                let missing =
                    format!("a layer turns by a rotation that is none of {}", self.rotations);
                return Err(ManifestError::Inconsistent(missing));
            }
        }
        Ok(())
    }
}

/// Planes start at multiples of 16 bytes, as GPU buffers and SIMD loads like them.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(16)
}

/// [`padded`] in 64 bits: the sizes that a manifest claims may not fit a 32-bit `usize`, and must
/// be compared all the same.
fn plane_bytes(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

pub(crate) fn linear_bytes((out, columns): (usize, usize), bits: u32) -> u64 {
    let (out, columns) = (out as u64, columns as u64);
    plane_bytes(out * columns * u64::from(bits) / 8)
        + plane_bytes(out * (columns / GROUP as u64))
        + plane_bytes(out * 2)
        + plane_bytes(4)
}

pub(crate) fn bias_bytes(out: usize) -> u64 {
    plane_bytes(out as u64 * 4) + plane_bytes(4)
}

pub(crate) fn gain_bytes(width: usize) -> u64 {
    plane_bytes(width as u64 * 2) + plane_bytes(4)
}

//! Models made of random numbers, of any shape: for the known-answer test, tests and
//! benchmarks.
//!
//! Everything is integer, from one seed, so the same model comes out on every machine. The weights
//! mean nothing; the ranges are those of real ones.

use potluck_protocol::NUMERICS_VERSION;

use crate::chat::ChatFormat;
use crate::package::{
    Bias, BlobHash, BlobRef, BlobRole, Defaults, EXP2, FORMAT, GROUP, Gain, LayerWeights, Linear,
    Manifest, Mlp, MlpWeights, ModelConfig, NormKind, NormPlaces, RSQRT_ENTRIES, Rotation, Router,
    SCORE_EXPONENT, SIGMOID_ENTRIES, SOFTCAP_ENTRIES, Tables, UngatedWeights,
};

/// A synthetic model: manifest and blobs.
#[derive(Clone, Debug)]
pub struct Synthetic {
    /// Its manifest; the tokenizer it names does not exist.
    pub manifest: Manifest,
    /// Every blob.
    pub blobs: Vec<(BlobRole, Vec<u8>)>,
}

/// A small, fast generator of integers (splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..=high`.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        let span = (i64::from(high) - i64::from(low) + 1).unsigned_abs();
        let offset = i64::try_from(self.bits() % span).unwrap_or(0);
        i32::try_from(i64::from(low) + offset).unwrap_or(low)
    }
}

/// A config of the shape given, with the scales of a small real model.
#[must_use]
pub fn config(
    layers: u32,
    d_model: u32,
    d_ff: u32,
    heads: (u32, u32, u32),
    vocab: u32,
    max_positions: u32,
) -> ModelConfig {
    let (heads, kv_heads, head_dim) = heads;
    ModelConfig {
        layers,
        d_model,
        d_ff,
        heads,
        kv_heads,
        head_dim,
        vocab,
        max_positions,
        residual_fraction_bits: 14,
        // log2(e) / sqrt(32) in Q15; near enough for any head here.
        qk_scale: 8357,
        // 2^-9: about 1e-5 times 192.
        eps_mantissa: 1 << 23,
        eps_exponent: -32,
        weight_bits: 8,
        qkv_bias: false,
        qk_norm: None,
        layer_kinds: Vec::new(),
        rotations: 1,
        qk_row_norm: None,
        norms: NormPlaces::Before,
        output_bias: false,
        mlp_bias: false,
        mlp_limit: None,
        attention_cap: None,
        logit_cap: None,
        sinks: false,
        experts: None,
        norm: NormKind::Rms,
        ungated: false,
    }
}

impl Synthetic {
    /// A model of shape `config` from `seed`.
    #[must_use]
    pub fn new(config: ModelConfig, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut blobs = vec![(BlobRole::Tables, tables(&config, &mut random).to_bytes())];
        let vocabulary = linear(&mut random, config.vocab as usize, config.d_model as usize, -30);
        blobs.push((BlobRole::Embedding, vocabulary.to_bytes()));
        for index in 0..config.layers {
            blobs.push((
                BlobRole::Layer(index),
                layer(&mut random, &config, index).to_bytes(config.weight_bits),
            ));
            for expert in 0..config.experts_of(index) {
                let bytes = expert_weights(&mut random, &config).to_bytes(config.weight_bits);
                blobs.push((BlobRole::Expert(index, expert), bytes));
            }
        }
        let head = linear(&mut random, config.vocab as usize, config.d_model as usize, -32);
        blobs.push((BlobRole::Head, head.to_bytes()));
        let manifest = manifest(config, &blobs);
        Self { manifest, blobs }
    }

    /// One part of a model too large to hold twice, made from `seed` and nothing else; not a part
    /// of [`Synthetic::new`]'s.
    #[must_use]
    pub fn part(config: &ModelConfig, seed: u64, role: BlobRole) -> Vec<u8> {
        let place = match role {
            BlobRole::Tables => 0,
            BlobRole::Embedding => 1,
            BlobRole::Head => 2,
            BlobRole::Layer(index) => 3 + u64::from(index),
            BlobRole::Expert(layer, index) => (u64::from(layer) + 1) << 16 | u64::from(index),
        };
        let mut random = Random::new(seed ^ (place << 32));
        let (vocab, width) = (config.vocab as usize, config.d_model as usize);
        match role {
            BlobRole::Tables => tables(config, &mut random).to_bytes(),
            BlobRole::Embedding => linear(&mut random, vocab, width, -30).to_bytes(),
            BlobRole::Head => linear(&mut random, vocab, width, -32).to_bytes(),
            BlobRole::Layer(index) => {
                layer(&mut random, config, index).to_bytes(config.weight_bits)
            }
            BlobRole::Expert(..) => {
                expert_weights(&mut random, config).to_bytes(config.weight_bits)
            }
        }
    }

    /// The manifest of a model of shape `config` whose blobs are not hashed: an engine does not
    /// look at their names.
    #[must_use]
    pub fn nameless(config: ModelConfig) -> Manifest {
        manifest(config, &[])
    }

    /// The bytes of a part.
    #[must_use]
    pub fn blob(&self, role: BlobRole) -> &[u8] {
        part_of(&self.blobs, role)
    }
}

pub(crate) fn part_of(blobs: &[(BlobRole, Vec<u8>)], role: BlobRole) -> &[u8] {
    blobs.iter().find(|(of, _)| *of == role).map_or(&[], |(_, bytes)| bytes)
}

pub(crate) fn named(blobs: &[(BlobRole, Vec<u8>)], role: BlobRole) -> BlobRef {
    let bytes = part_of(blobs, role);
    BlobRef { hash: BlobHash(*blake3::hash(bytes).as_bytes()), size_bytes: bytes.len() as u64 }
}

fn manifest(config: ModelConfig, blobs: &[(BlobRole, Vec<u8>)]) -> Manifest {
    let named = |role| named(blobs, role);
    Manifest {
        format: FORMAT,
        numerics: u32::from(NUMERICS_VERSION),
        name: "synthetic".to_owned(),
        architecture: "llama".to_owned(),
        license: "none".to_owned(),
        tables: named(BlobRole::Tables),
        tokenizer: BlobRef { hash: BlobHash([0; 32]), size_bytes: 0 },
        embedding: named(BlobRole::Embedding),
        layer_blobs: (0..config.layers).map(|index| named(BlobRole::Layer(index))).collect(),
        expert_blobs: expert_blobs(&config, named),
        head: named(BlobRole::Head),
        config,
        chat: ChatFormat::default(),
        end_tokens: Vec::new(),
        defaults: Defaults {
            temperature_milli: 0,
            top_p_milli: 1000,
            top_k: 0,
            repetition_penalty_milli: 1000,
            max_tokens: 16,
        },
    }
}

/// A random matrix whose weights are `±127 · 1..=255 · 16384..=32768 · 2^exponent`.
#[must_use]
pub fn linear(random: &mut Random, rows: usize, columns: usize, exponent: i32) -> Linear {
    Linear {
        rows,
        columns,
        weights: (0..rows * columns).map(|_| narrow(random.within(-127, 127))).collect(),
        lower_bits: None,
        group_scales: (0..rows * (columns / GROUP))
            .map(|_| narrow(random.within(1, 255)))
            .collect(),
        row_multipliers: (0..rows).map(|_| narrow(random.within(16_384, 32_768))).collect(),
        exponent,
    }
}

/// [`linear`] with four more bits a weight, whose exponent is as much lower.
#[must_use]
pub fn twelve_bits(random: &mut Random, rows: usize, columns: usize, exponent: i32) -> Linear {
    let mut matrix = linear(random, rows, columns, exponent - 4);
    matrix.lower_bits = Some((0..rows * columns).map(|_| narrow(random.within(0, 15))).collect());
    matrix
}

pub(crate) fn gain(random: &mut Random, width: usize) -> Gain {
    Gain {
        mantissas: (0..width).map(|_| narrow(random.within(-16_384, 16_384))).collect(),
        exponent: -10,
        bias: None,
    }
}

/// Of residual rows.
fn norm(random: &mut Random, config: &ModelConfig) -> Gain {
    let width = config.d_model as usize;
    let gain = gain(random, width);
    let bias = (config.norm == NormKind::Layer).then(|| bias(random, width));
    Gain { bias, ..gain }
}

fn layer(random: &mut Random, config: &ModelConfig, index: u32) -> LayerWeights {
    let mut norms = |there: bool| [there; 2].map(|there| there.then(|| norm(random, config)));
    let [attention_norm, mlp_norm] = norms(config.norms.before());
    let [attention_post_norm, mlp_post_norm] = norms(config.norms.after());
    let [up, down] = config.mlp_shapes();
    let [q, k, v, o] = config.attention_shapes().map(|shape| layer_matrix(random, config, shape));
    let router = config.router_shape().filter(|_| config.layer_kind(index).experts);
    let mut mlp = match router {
        // The second adds what the first leaves: less than a unit of its last place.
        Some((rows, columns)) => {
            let first = linear(random, rows, columns, -32);
            let matrices = [first, linear(random, rows, columns, -39)];
            Mlp::Routed(Box::new(Router { matrices, bias: None }))
        }
        None if config.ungated => {
            let [up, down] = [up, down].map(|shape| layer_matrix(random, config, shape));
            Mlp::Ungated(Box::new(UngatedWeights { up, down, bias: None }))
        }
        None => {
            let [gate, up, down] = [up, up, down].map(|shape| layer_matrix(random, config, shape));
            Mlp::Dense(Box::new(MlpWeights { gate, up, down, bias: None }))
        }
    };
    let qkv_bias = config.qkv_bias.then(|| [q.rows, k.rows, v.rows].map(|rows| bias(random, rows)));
    let qk_norm = config.qk_norm.map(|_| [0; 2].map(|_| gain(random, config.head_dim as usize)));
    let qk_row_norm = config.qk_row_norm.map(|_| [q.rows, k.rows].map(|width| gain(random, width)));
    let output_bias = config.output_bias.then(|| bias(random, o.rows));
    match &mut mlp {
        Mlp::Dense(mlp) => mlp.bias = mlp_biases(random, config, [&mlp.gate, &mlp.up, &mlp.down]),
        Mlp::Ungated(mlp) => mlp.bias = mlp_biases(random, config, [&mlp.up, &mlp.down]),
        Mlp::Routed(router) => {
            let biased = config.experts.filter(|experts| experts.router_bias);
            router.bias = biased.map(|experts| scores(random, experts.count as usize));
        }
    }
    let sinks = config.sinks.then(|| scores(random, config.heads as usize));
    LayerWeights {
        attention_norm,
        mlp_norm,
        attention_post_norm,
        mlp_post_norm,
        q,
        k,
        v,
        o,
        mlp,
        qkv_bias,
        qk_norm,
        qk_row_norm,
        output_bias,
        sinks,
    }
}

fn layer_matrix(
    random: &mut Random,
    config: &ModelConfig,
    (rows, columns): (usize, usize),
) -> Linear {
    let mut matrix = linear(random, rows, columns, -32);
    if config.weight_bits == 4 {
        matrix.weights.iter_mut().for_each(|weight| *weight >>= 4);
    }
    matrix
}

fn expert_weights(random: &mut Random, config: &ModelConfig) -> MlpWeights {
    let shapes = config.expert_shapes().unwrap_or_default();
    let [gate, up, down] = shapes.map(|shape| layer_matrix(random, config, shape));
    let bias = mlp_biases(random, config, [&gate, &up, &down]);
    MlpWeights { gate, up, down, bias }
}

fn mlp_biases<const N: usize>(
    random: &mut Random,
    config: &ModelConfig,
    matrices: [&Linear; N],
) -> Option<[Bias; N]> {
    config.mlp_bias.then(|| matrices.map(|matrix| bias(random, matrix.rows)))
}

fn expert_blobs(config: &ModelConfig, named: impl Fn(BlobRole) -> BlobRef) -> Vec<Vec<BlobRef>> {
    if !config.layer_kinds.iter().any(|kind| kind.experts) {
        return Vec::new();
    }
    let of = |layer| (0..config.experts_of(layer)).map(move |at| BlobRole::Expert(layer, at));
    (0..config.layers).map(|layer| of(layer).map(&named).collect()).collect()
}

/// Sinks, or a router's biases, as strong as a score may be that decides nothing alone: within ±4.
fn scores(random: &mut Random, count: usize) -> Bias {
    let most = 4 << 16;
    let mantissas = (0..count).map(|_| random.within(-most, most)).collect();
    Bias { mantissas, exponent: SCORE_EXPONENT }
}

pub(crate) fn bias(random: &mut Random, rows: usize) -> Bias {
    let most = 1 << 24;
    Bias { mantissas: (0..rows).map(|_| random.within(-most, most)).collect(), exponent: -24 }
}

pub(crate) fn tables(config: &ModelConfig, random: &mut Random) -> Tables {
    let rope = config.max_positions as usize * (config.head_dim as usize / 2);
    Tables {
        exp2: EXP2.to_vec(),
        sigmoid: (0..SIGMOID_ENTRIES).map(|i| narrow(i32::try_from(i * 16).unwrap_or(0))).collect(),
        rsqrt: (0..RSQRT_ENTRIES as u64)
            .map(|i| {
                narrow(
                    i32::try_from(((1_u64 << 39) / (2 * i + 513)).isqrt()).unwrap_or(0).min(32_767),
                )
            })
            .collect(),
        rotations: (0..config.rotations)
            .map(|_| {
                let mut turns =
                    || (0..rope).map(|_| narrow(random.within(-16_384, 16_384))).collect();
                Rotation { cos: turns(), sin: turns() }
            })
            .collect(),
        last_norm: norm(random, config),
        softcap: if config.has_caps() { softcap() } else { Vec::new() },
    }
}

/// `1 / (1 + x^2 / 3)` in place of `tanh(x) / x`, which it is near to: the table is made without floats.
pub(crate) fn softcap() -> Vec<u16> {
    let entry = |i: i32| narrow(32_768 * 12_288 / (12_288 + i * i));
    (0..SOFTCAP_ENTRIES).map(|i| entry(i32::try_from(i).unwrap_or(0))).collect()
}

fn narrow<T: TryFrom<i32> + Default>(value: i32) -> T {
    T::try_from(value).unwrap_or_default()
}

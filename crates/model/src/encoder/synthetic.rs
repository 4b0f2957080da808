//! Encoders made of random numbers, for tests and benchmarks.

use potluck_protocol::NUMERICS_VERSION;

use super::{
    Biased, EncoderEmbedding, EncoderLayer, EncoderManifest, Family, LAYER_BITS, Norm, Pooling,
    ScoreHead, Scoring, layer_shapes, no_bias,
};
use crate::package::{Bias, BlobHash, BlobRef, BlobRole, FORMAT, LayerKind, ModelConfig, Tables};
use crate::synthetic::{Random, bias, gain, linear, named, part_of, softcap, tables, twelve_bits};

/// A synthetic encoder: manifest and blobs.
#[derive(Clone, Debug)]
pub struct SyntheticEncoder {
    /// Its manifest; the tokenizer it names does not exist.
    pub manifest: EncoderManifest,
    /// Every blob.
    pub blobs: Vec<(BlobRole, Vec<u8>)>,
}

impl SyntheticEncoder {
    /// A BERT of shape `config`, whose `kv_heads` are its `heads`, from `seed`; its weights' bits are
    /// an encoder's.
    #[must_use]
    pub fn new(config: ModelConfig, pooling: Pooling, seed: u64) -> Self {
        Self::of(Family::Bert, config, pooling, None, seed)
    }

    /// One of a family, which scores pairs of so many kinds of text, or makes vectors. Where its layers
    /// turn and `config` does not say how, all do by the first rotation.
    #[must_use]
    pub fn of(
        family: Family,
        config: ModelConfig,
        pooling: Pooling,
        kinds: Option<u32>,
        seed: u64,
    ) -> Self {
        let mut config =
            ModelConfig { weight_bits: LAYER_BITS, qkv_bias: family.biases(), ..config };
        if family.turns() && config.layer_kinds.is_empty() {
            config.layer_kinds = vec![LayerKind::PLAIN; config.layers as usize];
        }
        let mut random = Random::new(seed);
        let nothing = BlobRef { hash: BlobHash([0; 32]), size_bytes: 0 };
        let mut manifest = EncoderManifest {
            format: FORMAT,
            numerics: u32::from(NUMERICS_VERSION),
            name: "synthetic".to_owned(),
            architecture: family.name().to_owned(),
            license: "none".to_owned(),
            pooling,
            normalised: kinds.is_none(),
            prefix: Vec::new(),
            suffix: Vec::new(),
            tables: nothing,
            tokenizer: nothing,
            embedding: nothing,
            layer_blobs: Vec::new(),
            score: kinds.map(|kinds| Scoring { head: nothing, middle: Vec::new(), kinds }),
            config,
        };
        let config = &manifest.config;
        let width = config.d_model as usize;
        let mut made = tables(config, &mut random);
        let shape = manifest.tables_shape();
        if shape.rotations == 0 {
            made.rotations = Vec::new();
        }
        let softcap = if shape.tanh { softcap() } else { Vec::new() };
        let tables = Tables { softcap, ..made };
        let embedding = EncoderEmbedding {
            words: linear(&mut random, config.vocab as usize, width, -30),
            positions: manifest.position_rows().map(|rows| linear(&mut random, rows, width, -30)),
            norm: norm(&mut random, family, width),
            last_norm: family.norms_before().then(|| norm(&mut random, family, width)),
        };
        let mut blobs = vec![
            (BlobRole::Tables, tables.encoder_to_bytes()),
            (BlobRole::Embedding, embedding.to_bytes()),
        ];
        for index in 0..config.layers {
            let layer = encoder_layer(&mut random, family, config, index);
            blobs.push((BlobRole::Layer(index), layer.to_bytes()));
        }
        if manifest.score.is_some() {
            let head = ScoreHead {
                dense: biased(&mut random, (width, width), family.biases()),
                norm: family.norms_before().then(|| norm(&mut random, family, width)),
                out: biased(&mut random, (1, width), true),
            };
            blobs.push((BlobRole::Head, head.to_bytes()));
        }
        let named = |role| named(&blobs, role);
        manifest.tables = named(BlobRole::Tables);
        manifest.embedding = named(BlobRole::Embedding);
        let layers = 0..manifest.config.layers;
        manifest.layer_blobs = layers.map(|index| named(BlobRole::Layer(index))).collect();
        if let Some(score) = &mut manifest.score {
            score.head = named(BlobRole::Head);
        }
        Self { manifest, blobs }
    }

    /// The bytes of a part.
    #[must_use]
    pub fn blob(&self, role: BlobRole) -> &[u8] {
        part_of(&self.blobs, role)
    }
}

fn encoder_layer(
    random: &mut Random,
    family: Family,
    config: &ModelConfig,
    index: u32,
) -> EncoderLayer {
    let width = config.d_model as usize;
    let shapes = layer_shapes(config);
    let matrices = core::array::from_fn(|at| biased(random, shapes[at], family.biases()));
    let gate = family.gated().then(|| biased(random, shapes[4], family.biases()));
    let has_first = !family.norms_before() || index > 0;
    EncoderLayer {
        matrices,
        gate,
        attention_norm: has_first.then(|| norm(random, family, width)),
        output_norm: norm(random, family, width),
    }
}

fn biased(random: &mut Random, (rows, columns): (usize, usize), is_biased: bool) -> Biased {
    Biased {
        weights: twelve_bits(random, rows, columns, -32),
        bias: bias_if(random, rows, is_biased),
    }
}

fn norm(random: &mut Random, family: Family, width: usize) -> Norm {
    Norm { gain: gain(random, width), bias: bias_if(random, width, family.norm_biases()) }
}

fn bias_if(random: &mut Random, rows: usize, there: bool) -> Bias {
    if there { bias(random, rows) } else { no_bias(rows) }
}

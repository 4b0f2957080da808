//! Encoders made of random numbers, for tests and benchmarks.

use potluck_protocol::NUMERICS_VERSION;

use super::{
    Biased, EncoderEmbedding, EncoderLayer, EncoderManifest, LAYER_BITS, Norm, Pooling,
    layer_shapes,
};
use crate::package::{BlobHash, BlobRef, BlobRole, FORMAT, ModelConfig, Tables};
use crate::synthetic::{Random, bias, gain, linear, named, part_of, tables, twelve_bits};

/// A synthetic encoder: manifest and blobs.
#[derive(Clone, Debug)]
pub struct SyntheticEncoder {
    /// Its manifest; the tokenizer it names does not exist.
    pub manifest: EncoderManifest,
    /// Every blob.
    pub blobs: Vec<(BlobRole, Vec<u8>)>,
}

impl SyntheticEncoder {
    /// An encoder of shape `config`, whose `kv_heads` are its `heads`, from `seed`; its weights'
    /// bits are an encoder's.
    #[must_use]
    pub fn new(config: ModelConfig, pooling: Pooling, seed: u64) -> Self {
        let config = ModelConfig { weight_bits: LAYER_BITS, qkv_bias: true, ..config };
        let mut random = Random::new(seed);
        let width = config.d_model as usize;
        let tables = Tables { rotations: Vec::new(), ..tables(&config, &mut random) };
        let embedding = EncoderEmbedding {
            words: linear(&mut random, config.vocab as usize, width, -30),
            positions: linear(&mut random, config.max_positions as usize, width, -30),
            norm: norm(&mut random, width),
        };
        let mut blobs = vec![
            (BlobRole::Tables, tables.encoder_to_bytes()),
            (BlobRole::Embedding, embedding.to_bytes()),
        ];
        for index in 0..config.layers {
            blobs.push((BlobRole::Layer(index), encoder_layer(&mut random, &config).to_bytes()));
        }
        let named = |role| named(&blobs, role);
        let manifest = EncoderManifest {
            format: FORMAT,
            numerics: u32::from(NUMERICS_VERSION),
            name: "synthetic".to_owned(),
            architecture: "bert".to_owned(),
            license: "none".to_owned(),
            pooling,
            normalised: true,
            prefix: Vec::new(),
            suffix: Vec::new(),
            tables: named(BlobRole::Tables),
            tokenizer: BlobRef { hash: BlobHash([0; 32]), size_bytes: 0 },
            embedding: named(BlobRole::Embedding),
            layer_blobs: (0..config.layers).map(|index| named(BlobRole::Layer(index))).collect(),
            config,
        };
        Self { manifest, blobs }
    }

    /// The bytes of a part.
    #[must_use]
    pub fn blob(&self, role: BlobRole) -> &[u8] {
        part_of(&self.blobs, role)
    }
}

fn encoder_layer(random: &mut Random, config: &ModelConfig) -> EncoderLayer {
    let width = config.d_model as usize;
    let shapes = layer_shapes(config);
    let matrices = core::array::from_fn(|at| {
        let (rows, columns) = shapes[at];
        Biased { weights: twelve_bits(random, rows, columns, -32), bias: bias(random, rows) }
    });
    EncoderLayer { matrices, attention_norm: norm(random, width), output_norm: norm(random, width) }
}

fn norm(random: &mut Random, width: usize) -> Norm {
    Norm { gain: gain(random, width), bias: bias(random, width) }
}

//! Encoders of the BERT family: a Hugging Face folder, with what `sentence-transformers` puts
//! beside it, to an encoder's package.

mod source;

use std::fs;
use std::path::Path;

use potluck_model::encoder::{
    Biased, EncoderEmbedding, EncoderLayer, EncoderManifest, Norm, layer_shapes,
};
use potluck_model::package::{BlobHash, FORMAT, Linear};
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::NUMERICS_VERSION;
use serde::Deserialize;

use crate::error::ImportError;
use crate::install::{install, make_folder, put_blob};
use crate::{Options, Progress, model_name, quantise};

pub use source::{EncoderSource, MATRICES};

/// What such a folder names as its architecture.
const ARCHITECTURE: &str = "BertModel";

impl EncoderSource {
    fn norm(&self, name: &str) -> Result<Norm, ImportError> {
        let width = [self.config.d_model as usize];
        Ok(Norm {
            gain: quantise::gain(&self.tensor(&format!("{name}.weight"), &width)?),
            bias: quantise::bias(&self.tensor(&format!("{name}.bias"), &width)?),
        })
    }

    fn layer(&self, index: u32) -> Result<EncoderLayer, ImportError> {
        let shapes = layer_shapes(&self.config);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let weights = |at: usize| {
            let (rows, columns) = shapes[at];
            self.tensor(&name(&format!("{}.weight", MATRICES[at])), &[rows, columns])
        };
        let biased = |at: usize| {
            let bias = self.tensor(&name(&format!("{}.bias", MATRICES[at])), &[shapes[at].0])?;
            Ok::<_, ImportError>(Biased {
                weights: matrix(&weights(at)?, shapes[at], self.config.weight_bits),
                bias: quantise::bias(&bias),
            })
        };
        let matrices = [biased(0)?, biased(1)?, biased(2)?, biased(3)?, biased(4)?, biased(5)?];
        Ok(EncoderLayer {
            matrices,
            attention_norm: self.norm(&name("attention.output.LayerNorm"))?,
            output_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }
}

fn matrix(values: &[f32], (rows, columns): (usize, usize), bits: u32) -> Linear {
    let mut quantiser = quantise::Quantiser::new(rows, columns, bits);
    quantiser.push(values);
    quantiser.finish().0
}

/// Imports the folder of an encoder into `destination`, as `encoders/<name>.json`; returns its id.
pub(super) fn import(
    path: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    let source = EncoderSource::open(path)?;
    let name = model_name(options, &source.name)?;
    // One that cannot be read would be missed by whoever asks first.
    Tokenizer::from_bytes(&source.tokenizer)?;
    let config = source.config.clone();
    config.check()?;
    // Everything that may be missing is read before anything is written; an encoder is small.
    let (vocab, width) = (config.vocab as usize, config.d_model as usize);
    let words = source.tensor("embeddings.word_embeddings.weight", &[vocab, width])?;
    let positions = source.positions()?;
    let embedding = EncoderEmbedding {
        words: matrix(&words, (vocab, width), quantise::VOCABULARY_BITS),
        positions: matrix(
            &positions,
            (config.max_positions as usize, width),
            quantise::VOCABULARY_BITS,
        ),
        norm: source.norm("embeddings.LayerNorm")?,
    };
    let mut layers = Vec::new();
    for index in 0..config.layers {
        layers.push(source.layer(index)?.to_bytes());
        let (read_bytes, total_bytes) = source.tensors.progress();
        progress(Progress { read_bytes, total_bytes });
    }
    let blobs = destination.join("blobs");
    make_folder(&blobs)?;
    make_folder(&destination.join("encoders"))?;
    let layer_blobs =
        layers.iter().map(|layer| put_blob(&blobs, layer)).collect::<Result<_, _>>()?;
    let manifest = EncoderManifest {
        format: FORMAT,
        numerics: u32::from(NUMERICS_VERSION),
        name,
        architecture: "bert".to_owned(),
        license: source.license.clone(),
        config,
        pooling: source.pooling,
        normalised: source.normalised,
        prefix: source.prefix.clone(),
        suffix: source.suffix.clone(),
        tables: put_blob(&blobs, &quantise::encoder_tables().encoder_to_bytes())?,
        tokenizer: put_blob(&blobs, &source.tokenizer)?,
        embedding: put_blob(&blobs, &embedding.to_bytes())?,
        layer_blobs,
    };
    let bytes = manifest.to_bytes()?;
    EncoderManifest::from_bytes(&bytes)?;
    install(destination, "encoders", &manifest.name, &bytes)
}

/// Whether a folder is an encoder's.
pub(super) fn is_encoder(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        architectures: Vec<String>,
    }
    let config = fs::read(path.join("config.json")).unwrap_or_default();
    let named: Option<Named> = serde_json::from_slice(&config).ok();
    named.is_some_and(|named| named.architectures == [ARCHITECTURE])
}

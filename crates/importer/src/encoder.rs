//! Encoders: a Hugging Face folder, with what `sentence-transformers` puts beside it, or a GGUF file, to
//! an encoder's package.

mod around;
mod folder;
mod names;
mod source;

use std::path::Path;

use potluck_model::encoder::{
    Biased, EncoderEmbedding, EncoderLayer, EncoderManifest, Norm, ScoreHead, Scoring,
    layer_shapes, no_bias,
};
use potluck_model::package::{BlobHash, FORMAT, Linear};
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::NUMERICS_VERSION;

use crate::error::ImportError;
use crate::install::{install, make_folder, put_blob};
use crate::source::{Activation, encoder_in_gguf};
use crate::{Options, Progress, model_name, quantise};

pub(crate) use around::Around;
pub(crate) use folder::modern_kind;
pub(crate) use names::gguf_name;
pub(crate) use source::{Description, Opened};
pub use source::{EncoderSource, MATRICES, UP};

impl EncoderSource {
    fn norm(&self, name: &str) -> Result<Norm, ImportError> {
        let width = self.config.d_model as usize;
        let bias = match self.family.norm_biases() {
            true => quantise::bias(&self.tensor(&format!("{name}.bias"), &[width])?),
            false => no_bias(width),
        };
        let gain = self.tensor(&format!("{name}.weight"), &[width])?;
        Ok(Norm { gain: quantise::gain(&gain), bias })
    }

    /// A matrix, and its bias where it has one.
    fn biased(
        &self,
        name: &str,
        shape: (usize, usize),
        is_biased: bool,
    ) -> Result<Biased, ImportError> {
        let bias = match is_biased {
            true => quantise::bias(&self.tensor(&format!("{name}.bias"), &[shape.0])?),
            false => no_bias(shape.0),
        };
        let weights = self.tensor(&format!("{name}.weight"), &[shape.0, shape.1])?;
        Ok(Biased { weights: matrix(&weights, shape, self.config.weight_bits), bias })
    }

    fn layer(&self, index: u32) -> Result<EncoderLayer, ImportError> {
        let shapes = layer_shapes(&self.config);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        let is_biased = self.family.biases();
        let biased = |at: usize| self.biased(&name(MATRICES[at]), shapes[at], is_biased);
        let matrices = [biased(0)?, biased(1)?, biased(2)?, biased(3)?, biased(4)?, biased(5)?];
        let gate = || self.biased(&name("intermediate.gate"), shapes[UP], is_biased);
        let norm = || self.norm(&name("attention.output.LayerNorm"));
        Ok(EncoderLayer {
            matrices,
            gate: self.family.gated().then(gate).transpose()?,
            attention_norm: self.has_attention_norm(index).then(norm).transpose()?,
            output_norm: self.norm(&name("output.LayerNorm"))?,
        })
    }

    fn embedding(&self) -> Result<EncoderEmbedding, ImportError> {
        let (vocab, width) = (self.config.vocab as usize, self.config.d_model as usize);
        let words = self.tensor("embeddings.word_embeddings.weight", &[vocab, width])?;
        let positions = self.positions()?.map(|positions| {
            let rows = positions.len() / width;
            matrix(&positions, (rows, width), quantise::VOCABULARY_BITS)
        });
        let last_norm = || self.norm("final_norm");
        Ok(EncoderEmbedding {
            words: matrix(&words, (vocab, width), quantise::VOCABULARY_BITS),
            positions,
            norm: self.norm("embeddings.LayerNorm")?,
            last_norm: self.family.norms_before().then(last_norm).transpose()?,
        })
    }

    fn head(&self) -> Result<ScoreHead, ImportError> {
        let width = self.config.d_model as usize;
        let norm = || self.norm("score.norm");
        Ok(ScoreHead {
            dense: self.biased("score.dense", (width, width), self.family.biases())?,
            norm: self.family.norms_before().then(norm).transpose()?,
            out: self.biased("score.out", (1, width), true)?,
        })
    }
}

fn matrix(values: &[f32], (rows, columns): (usize, usize), bits: u32) -> Linear {
    let mut quantiser = quantise::Quantiser::new(rows, columns, bits);
    quantiser.push(values);
    quantiser.finish().0
}

/// Imports an encoder into `destination`, as `encoders/<name>.json`; returns its id.
pub(super) fn import(
    path: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    let mut source = EncoderSource::open(path)?;
    source.config.max_positions = source.config.max_positions.min(options.context);
    let name = model_name(options, &source.name)?;
    // One that cannot be read would be missed by whoever asks first.
    Tokenizer::from_bytes(&source.tokenizer)?;
    let config = source.config.clone();
    config.check()?;
    // Everything that may be missing is read before anything is written; an encoder is small.
    let embedding = source.embedding()?;
    let head = source.scores().then(|| source.head()).transpose()?;
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
    let tanh = head.is_some() && !source.family.norms_before();
    let tables = quantise::encoder_tables(&config, &source.rotations, source.activation, tanh);
    let score = match &head {
        Some(head) => Some(Scoring {
            head: put_blob(&blobs, &head.to_bytes())?,
            middle: source.around.middle.clone(),
            kinds: source.kinds,
        }),
        None => None,
    };
    let manifest = EncoderManifest {
        format: FORMAT,
        numerics: u32::from(NUMERICS_VERSION),
        name,
        architecture: source.family.name().to_owned(),
        license: source.license.clone(),
        config,
        pooling: source.pooling,
        normalised: source.normalised,
        prefix: source.around.prefix.clone(),
        suffix: source.around.suffix.clone(),
        tables: put_blob(&blobs, &tables.encoder_to_bytes())?,
        tokenizer: put_blob(&blobs, &source.tokenizer)?,
        embedding: put_blob(&blobs, &embedding.to_bytes())?,
        layer_blobs,
        score,
    };
    let bytes = manifest.to_bytes()?;
    EncoderManifest::from_bytes(&bytes)?;
    install(destination, "encoders", &manifest.name, &bytes)
}

/// Whether a folder or file is an encoder's.
pub(super) fn is_encoder(path: &Path) -> bool {
    if path.is_dir() { folder::is_one(path) } else { encoder_in_gguf(path) }
}

/// Judges an encoder's folder by its small files.
///
/// # Errors
/// What cannot be imported, by name.
pub(super) fn judge(path: &Path) -> Result<(), ImportError> {
    let (_, tokenizer, _) = folder::described(path)?;
    Ok(Tokenizer::from_bytes(&tokenizer).map(drop)?)
}

/// The activation of this name.
pub(crate) fn activation(name: &str, known: &[Activation]) -> Result<Activation, ImportError> {
    let named = match name {
        "gelu" => Some(Activation::Gelu),
        "silu" | "swiglu" => Some(Activation::Silu),
        _ => None,
    };
    named.filter(|it| known.contains(it)).ok_or_else(|| ImportError::Unsupported {
        what: format!("activation {:?}", name.chars().take(64).collect::<String>()),
        supported: "gelu in BERT, silu in Nomic, both in ModernBERT".to_owned(),
    })
}

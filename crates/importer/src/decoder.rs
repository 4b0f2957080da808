//! A decoder's files, read matrix by matrix, to its blobs and its manifest.

use std::path::{Path, PathBuf};

use potluck_model::chat::ChatFormat;
use potluck_model::package::{
    BlobHash, BlobRef, Defaults, FORMAT, Gain, LayerWeights, Linear, MAX_POSITIONS, Manifest,
    ModelConfig,
};
use potluck_model::tokenizer::Tokenizer;
use potluck_protocol::NUMERICS_VERSION;

use crate::error::ImportError;
use crate::install::{install, make_folder, put_blob};
use crate::source::Source;
use crate::{CHUNK_VALUES, Options, Progress, chat, ends, model_name, quantise};

/// Imports a folder or GGUF file into `destination`, as `models/<name>.json`; returns its id.
pub(crate) fn import(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    let source = Source::open(source)?;
    let name = model_name(options, &source.name)?;
    let config = model_config(&source, options);
    config.check()?;
    let tokenizer = Tokenizer::from_bytes(&source.tokenizer)?;
    let chat = chat::format(&source.chat)?;
    let end_tokens = ends::tokens(&source, &tokenizer, &chat)?;
    drop(tokenizer);
    let needed = tensors_needed(&config, source.shape.tied);
    for (name, shape) in &needed {
        source.expect(name, shape)?;
    }
    // One that is left out would be missed by nobody, and heard in every answer.
    if let Some(name) = source.other_than(needed.iter().map(|(name, _)| name.as_str())) {
        let name: String = name.chars().take(200).collect();
        let what = format!(
            "tensor {name}, which architecture {:?} does not have",
            source.shape.architecture
        );
        let supported = "files whose tensors are all computed with".to_owned();
        return Err(ImportError::Unsupported { what, supported });
    }
    let mut import = Import { source, config, blobs: destination.join("blobs"), progress };
    make_folder(&import.blobs)?;
    make_folder(&destination.join("models"))?;
    let manifest = import.run(name, chat, end_tokens)?;
    let bytes = manifest.to_bytes()?;
    Manifest::from_bytes(&bytes)?;
    install(destination, "models", &manifest.name, &bytes)
}

fn model_config(source: &Source, options: &Options) -> ModelConfig {
    let shape = &source.shape;
    let eps = quantise::eps(shape.eps, shape.d_model);
    ModelConfig {
        layers: shape.layers,
        d_model: shape.d_model,
        d_ff: shape.d_ff,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        vocab: shape.vocab,
        // A longer context is cut: the arithmetic's sums hold no more.
        max_positions: shape.max_positions.min(options.context).min(MAX_POSITIONS),
        // Known once the embedding was read.
        residual_fraction_bits: quantise::MAX_FRACTION_BITS,
        qk_scale: quantise::qk_scale(shape.head_dim),
        eps_mantissa: eps.mantissa,
        eps_exponent: eps.exponent,
        weight_bits: options.weight_bits,
        qkv_bias: shape.qkv_bias(),
        qk_norm: shape.qk_norm().then(|| quantise::eps(shape.eps, shape.head_dim)),
    }
}

/// Names and shapes of all tensors that will be read: what is missing is missed now, not after an
/// hour of work.
fn tensors_needed(config: &ModelConfig, tied: bool) -> Vec<(String, Vec<usize>)> {
    let (vocab, d_model, head_dim) =
        (config.vocab as usize, config.d_model as usize, config.head_dim as usize);
    let shapes = config.layer_shapes();
    let mut needed = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocab, d_model]),
        ("model.norm.weight".to_owned(), vec![d_model]),
    ];
    if !tied {
        needed.push(("lm_head.weight".to_owned(), vec![vocab, d_model]));
    }
    for index in 0..config.layers {
        let mut need = |part: &str, shape: &[usize]| {
            needed.push((format!("model.layers.{index}.{part}"), shape.to_vec()));
        };
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            need(&format!("{norm}.weight"), &[d_model]);
        }
        for (part, (rows, columns)) in MATRICES.iter().zip(shapes) {
            need(&format!("{part}.weight"), &[rows, columns]);
        }
        if config.qkv_bias {
            for (part, (rows, _)) in MATRICES.iter().zip(shapes).take(3) {
                need(&format!("{part}.bias"), &[rows]);
            }
        }
        if config.qk_norm.is_some() {
            for norm in ["q_norm", "k_norm"] {
                need(&format!("self_attn.{norm}.weight"), &[head_dim]);
            }
        }
    }
    needed
}

/// A layer's matrices, in the order of [`ModelConfig::layer_shapes`].
const MATRICES: [&str; 7] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
];

/// An import under way.
struct Import<'a> {
    source: Source,
    config: ModelConfig,
    blobs: PathBuf,
    progress: &'a mut dyn FnMut(Progress),
}

impl Import<'_> {
    fn run(
        &mut self,
        name: String,
        chat: ChatFormat,
        end_tokens: Vec<u32>,
    ) -> Result<Manifest, ImportError> {
        let (vocab, d_model) = (self.config.vocab as usize, self.config.d_model as usize);
        let (embedding, largest) =
            self.linear("model.embed_tokens.weight", (vocab, d_model), quantise::VOCABULARY_BITS)?;
        self.config.residual_fraction_bits = quantise::residual_fraction_bits(largest);
        let embedding = self.put(&embedding.to_bytes())?;
        let last_norm = self.gain("model.norm.weight", d_model)?;
        let tables = quantise::tables(&self.config, &self.source.shape.frequencies, last_norm);
        let tables = self.put(&tables.to_bytes())?;
        let tokenizer = self.put(&self.source.tokenizer)?;
        let mut layer_blobs = Vec::new();
        for index in 0..self.config.layers {
            let layer = self.layer(index)?;
            layer_blobs.push(self.put(&layer.to_bytes(self.config.weight_bits))?);
        }
        let head = if self.source.shape.tied {
            embedding
        } else {
            let (head, _) =
                self.linear("lm_head.weight", (vocab, d_model), quantise::VOCABULARY_BITS)?;
            self.put(&head.to_bytes())?
        };
        let generation = &self.source.generation;
        Ok(Manifest {
            format: FORMAT,
            numerics: u32::from(NUMERICS_VERSION),
            name,
            architecture: self.source.shape.architecture.to_owned(),
            license: self.source.license.clone(),
            config: self.config,
            tables,
            tokenizer,
            embedding,
            layer_blobs,
            head,
            chat,
            end_tokens,
            defaults: Defaults {
                temperature_milli: generation.temperature_milli(),
                top_p_milli: generation.top_p_milli(),
                top_k: generation.top_k.unwrap_or(0),
                repetition_penalty_milli: generation.repetition_penalty_milli(),
                // An answer ends where the model ends it; where its makers set no limit, the context is one.
                max_tokens: generation
                    .max_new_tokens
                    .unwrap_or(self.config.max_positions)
                    .clamp(1, self.config.max_positions),
            },
        })
    }

    fn layer(&mut self, index: u32) -> Result<LayerWeights, ImportError> {
        let ModelConfig { d_model, head_dim, weight_bits, qkv_bias, qk_norm, .. } = self.config;
        let shapes = self.config.layer_shapes();
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let mut matrix = |at: usize| {
            let name = name(&format!("{}.weight", MATRICES[at]));
            Ok::<_, ImportError>(self.linear(&name, shapes[at], weight_bits)?.0)
        };
        let [q, k, v, o, gate, up, down] =
            [matrix(0)?, matrix(1)?, matrix(2)?, matrix(3)?, matrix(4)?, matrix(5)?, matrix(6)?];
        let mut gain = |part: &str, width: u32| self.gain(&name(part), width as usize);
        let attention_norm = gain("input_layernorm.weight", d_model)?;
        let mlp_norm = gain("post_attention_layernorm.weight", d_model)?;
        let qk_norm = match qk_norm {
            Some(_) => Some([
                gain("self_attn.q_norm.weight", head_dim)?,
                gain("self_attn.k_norm.weight", head_dim)?,
            ]),
            None => None,
        };
        let mut bias = |at: usize| {
            let values = self.vector(&name(&format!("{}.bias", MATRICES[at])), shapes[at].0)?;
            Ok::<_, ImportError>(quantise::bias(&values))
        };
        let qkv_bias = if qkv_bias { Some([bias(0)?, bias(1)?, bias(2)?]) } else { None };
        Ok(LayerWeights { attention_norm, mlp_norm, q, k, v, o, gate, up, down, qkv_bias, qk_norm })
    }

    fn linear(
        &mut self,
        name: &str,
        shape: (usize, usize),
        bits: u32,
    ) -> Result<(Linear, f64), ImportError> {
        let (rows, columns) = shape;
        let mut quantiser = quantise::Quantiser::new(rows, columns, bits);
        let step = (CHUNK_VALUES / columns.max(1)).max(1);
        for start in (0..rows).step_by(step) {
            let end = (start + step).min(rows);
            quantiser.push(&self.source.rows(name, &[rows, columns], start..end)?);
            self.report();
        }
        Ok(quantiser.finish())
    }

    fn gain(&mut self, name: &str, width: usize) -> Result<Gain, ImportError> {
        Ok(quantise::gain(&self.vector(name, width)?))
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Vec<f32>, ImportError> {
        let values = self.source.rows(name, &[width], 0..width)?;
        self.report();
        Ok(values)
    }

    fn report(&mut self) {
        let (read_bytes, total_bytes) = self.source.progress();
        (self.progress)(Progress { read_bytes, total_bytes });
    }

    fn put(&self, bytes: &[u8]) -> Result<BlobRef, ImportError> {
        put_blob(&self.blobs, bytes)
    }
}

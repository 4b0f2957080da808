//! From a Hugging Face folder to the exact package, once. Floats end here.
//!
//! Reads `config.json`, `model.safetensors` (F32, F16, BF16), `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`; writes
//! `blobs/<hash>` and `models/<name>.json`, each aside and renamed, so that a crash leaves no half model. The same folder gives the same
//! bytes on every machine: rounding is written out, and sines and exponentials come from `libm`.

mod quantise;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use crate::package::{
    BlobError, BlobHash, BlobRef, ChatFormat, Defaults, FORMAT, LayerWeights, MAX_POSITIONS, Manifest, ManifestError,
    ModelConfig, NUMERICS,
};
use source::Source;

/// A folder could not be imported; no model was installed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("{path} is not valid: {source}")]
    Json {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The weights file is not one.
    #[error("model.safetensors cannot be read: {0}")]
    Weights(String),
    /// A tensor is missing, of another shape, or holds numbers that are none.
    #[error("tensor {name}: {problem}")]
    Tensor {
        /// Which one.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Something that this build does not compute.
    #[error("{what} is not supported; supported: {supported}")]
    Unsupported {
        /// What the folder has.
        what: String,
        /// What could be done.
        supported: &'static str,
    },
    /// The result is outside what the arithmetic is defined for.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The result does not read back.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Imports `source` into `destination`; returns the model's id, the BLAKE3 of its manifest.
///
/// # Errors
/// If a file is missing, unreadable or unsupported. No model is installed then, though blobs of it may be.
pub fn import_folder(source: &Path, destination: &Path) -> Result<BlobHash, ImportError> {
    let model = Source::open(source)?;
    let mut config = model_config(&model)?;
    config.check()?;
    let (vocab, d_model) = (config.vocab as usize, config.d_model as usize);
    let embedding = model.tensor("model.embed_tokens.weight", &[vocab, d_model])?;
    config.residual_fraction_bits = quantise::residual_fraction_bits(&embedding);
    let embedding = quantise::linear(&embedding, vocab, d_model);
    let (chat, end_tokens) = (chat(&model)?, model.end_tokens()?);

    let blobs = destination.join("blobs");
    make_folder(&blobs)?;
    make_folder(&destination.join("models"))?;
    let put = |bytes: &[u8]| put_blob(&blobs, bytes);

    let last_norm = quantise::gain(&model.tensor("model.norm.weight", &[d_model])?);
    let tables = put(&quantise::tables(&config, model.config.theta(), last_norm).to_bytes())?;
    let tokenizer = put(&model.tokenizer)?;
    let embedding_blob = put(&embedding.to_bytes())?;
    let mut layer_blobs = Vec::new();
    for index in 0..config.layers {
        layer_blobs.push(put(&layer(&model, &config, index)?.to_bytes(config.weight_bits))?);
    }
    let head = if model.config.tie_word_embeddings {
        embedding_blob
    } else {
        put(&quantise::linear(&model.tensor("lm_head.weight", &[vocab, d_model])?, vocab, d_model).to_bytes())?
    };
    let manifest = Manifest {
        format: FORMAT,
        numerics: NUMERICS,
        name: model.name.clone(),
        architecture: "llama".to_owned(),
        license: model.license.clone(),
        config,
        tables,
        tokenizer,
        embedding: embedding_blob,
        layer_blobs,
        head,
        chat,
        end_tokens,
        defaults: Defaults {
            temperature_milli: model.generation.temperature_milli(),
            top_p_milli: model.generation.top_p_milli(),
            top_k: model.generation.top_k(),
            max_tokens: model.generation.max_new_tokens.unwrap_or(256).clamp(1, config.max_positions),
        },
    };
    let bytes = manifest.to_bytes()?;
    Manifest::from_bytes(&bytes)?;
    let id = put(&bytes)?.hash;
    write_aside(&destination.join("models").join(format!("{}.json", manifest.name)), &bytes)?;
    Ok(id)
}

fn model_config(model: &Source) -> Result<ModelConfig, ImportError> {
    let c = &model.config;
    let heads = c.num_attention_heads;
    let head_dim = c.head_dim.unwrap_or(c.hidden_size / heads.max(1));
    let (eps_mantissa, eps_exponent) = quantise::eps(c.rms_norm_eps, c.hidden_size);
    Ok(ModelConfig {
        layers: c.num_hidden_layers,
        d_model: c.hidden_size,
        d_ff: c.intermediate_size,
        heads,
        kv_heads: c.num_key_value_heads.unwrap_or(heads),
        head_dim,
        vocab: c.vocab_size,
        // A longer context is cut: the arithmetic's sums hold no more.
        max_positions: c.max_position_embeddings.min(MAX_POSITIONS),
        // Known once the embedding was read.
        residual_fraction_bits: quantise::MAX_FRACTION_BITS,
        qk_scale: quantise::qk_scale(head_dim),
        eps_mantissa,
        eps_exponent,
        weight_bits: 8,
        qkv_bias: false,
        qk_norm: None,
    })
}

fn layer(model: &Source, config: &ModelConfig, index: u32) -> Result<LayerWeights, ImportError> {
    let d_model = config.d_model as usize;
    let name = |part: &str| format!("model.layers.{index}.{part}.weight");
    let gain = |part: &str| Ok::<_, ImportError>(quantise::gain(&model.tensor(&name(part), &[d_model])?));
    let [q, k, v, o, gate, up, down] = config.layer_shapes();
    let linear = |part: &str, (rows, columns): (usize, usize)| {
        Ok::<_, ImportError>(quantise::linear(&model.tensor(&name(part), &[rows, columns])?, rows, columns))
    };
    Ok(LayerWeights {
        attention_norm: gain("input_layernorm")?,
        mlp_norm: gain("post_attention_layernorm")?,
        q: linear("self_attn.q_proj", q)?,
        k: linear("self_attn.k_proj", k)?,
        v: linear("self_attn.v_proj", v)?,
        o: linear("self_attn.o_proj", o)?,
        gate: linear("mlp.gate_proj", gate)?,
        up: linear("mlp.up_proj", up)?,
        down: linear("mlp.down_proj", down)?,
        qkv_bias: None,
        qk_norm: None,
    })
}

/// Recognises ChatML, the one chat format so far.
fn chat(model: &Source) -> Result<ChatFormat, ImportError> {
    if model.chat_template.contains("<|im_start|>") && model.chat_template.contains("<|im_end|>") {
        return Ok(ChatFormat {
            prefix: "<|im_start|>user\n".to_owned(),
            suffix: "<|im_end|>\n<|im_start|>assistant\n".to_owned(),
        });
    }
    Err(ImportError::Unsupported { what: "this chat template".to_owned(), supported: "ChatML (<|im_start|>)" })
}

fn put_blob(folder: &Path, bytes: &[u8]) -> Result<BlobRef, ImportError> {
    let hash = BlobHash(*blake3::hash(bytes).as_bytes());
    let path = folder.join(hash.to_string());
    if !path.exists() {
        write_aside(&path, bytes)?;
    }
    Ok(BlobRef { hash, size_bytes: bytes.len() as u64 })
}

fn make_folder(path: &Path) -> Result<(), ImportError> {
    fs::create_dir_all(path).map_err(|source| ImportError::File { path: path.to_owned(), source })
}

fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let aside = path.with_extension(format!("{}.part", std::process::id()));
    fs::write(&aside, bytes).map_err(failed)?;
    fs::rename(&aside, path).map_err(failed)
}

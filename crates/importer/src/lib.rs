//! From the files of a model to the exact package, once. Floats end here.
//!
//! Reads a Hugging Face folder (`config.json`, safetensors whole or in shards, `tokenizer.json`,
//! ...) or a GGUF file; writes `blobs/<hash>` and `models/<name>.json`, each aside and renamed, so
//! that a crash leaves no half model. Matrices are read a few rows at a time, so that no more than
//! one layer and one matrix of floats are in memory. The same files give the same bytes on every
//! machine: rounding is written out, and sines and exponentials come from `libm`.

mod chat;
pub mod encoder;
mod quantise;
mod rope;
pub mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use potluck_model::package::{
    BlobError, BlobHash, BlobRef, Defaults, FORMAT, Gain, LayerWeights, Linear, MAX_POSITIONS,
    Manifest, ManifestError, ModelConfig, is_name,
};
use potluck_protocol::NUMERICS_VERSION;
use source::Source;

#[doc(hidden)]
pub use source::{read_gguf, read_safetensors};

/// Positions unless asked otherwise: enough for long talks, and a key-value cache that small
/// computers can hold.
pub const DEFAULT_CONTEXT: u32 = 8192;
/// Values that are read and quantised at once, 4 MB of floats.
pub const CHUNK_VALUES: usize = 1 << 20;

/// What to make of a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bits of the layers' weights, 8 or 4.
    pub weight_bits: u32,
    /// Positions at most; a model made for fewer keeps its own number.
    pub context: u32,
    /// Its name here; the folder's or file's own if left out.
    pub name: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { weight_bits: 8, context: DEFAULT_CONTEXT, name: None }
    }
}

/// Bytes of weights read so far, and of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// So far.
    pub read_bytes: u64,
    /// In the files.
    pub total_bytes: u64,
}

/// A model could not be imported; none was installed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("{path} is not valid: {source}")]
    Json {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of weights is not one.
    #[error("the weights cannot be read: {0}")]
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
        /// What the files have.
        what: String,
        /// What could be done.
        supported: String,
    },
    /// The tokenizer is not one.
    #[error(transparent)]
    Tokenizer(#[from] potluck_model::tokenizer::TokenizerError),
    /// The result is outside what the arithmetic is defined for.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The result does not read back.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Imports the folder or GGUF file `source` into `destination`; returns the model's id, the BLAKE3
/// of its manifest. An encoder's folder becomes `encoders/<name>.json`
/// ([`potluck_model::encoder::EncoderManifest`]), any other `models/<name>.json`.
///
/// # Errors
/// If a file is missing, unreadable or unsupported. No model is installed then, though blobs of it
/// may be.
pub fn import(
    source: &Path,
    destination: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<BlobHash, ImportError> {
    if encoder::is_encoder(source) {
        return encoder::import(source, destination, options, progress);
    }
    let source = Source::open(source)?;
    let name = model_name(options, &source.name)?;
    if source.end_tokens.is_empty() {
        let supported = "eos_token_id in config.json or generation_config.json".to_owned();
        return Err(ImportError::Unsupported {
            what: "a model without an end token".to_owned(),
            supported,
        });
    }
    let config = model_config(&source, options);
    config.check()?;
    check_tokenizer(&source.tokenizer)?;
    let chat = chat::format(&source.chat)?;
    for (name, shape) in tensors_needed(&config, source.shape.tied) {
        source.expect(&name, &shape)?;
    }
    let mut import = Import { source, config, blobs: destination.join("blobs"), progress };
    make_folder(&import.blobs)?;
    make_folder(&destination.join("models"))?;
    let manifest = import.run(name, chat)?;
    let bytes = manifest.to_bytes()?;
    Manifest::from_bytes(&bytes)?;
    install(destination, "models", &manifest.name, &bytes)
}

/// What a model is to be called: as the asker says, or as its own folder or file.
fn model_name(options: &Options, own: &str) -> Result<String, ImportError> {
    let name = options.name.as_deref().unwrap_or(own);
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let supported = "letters, digits, '-', '_' and '.'; another one can be given".to_owned();
    Err(ImportError::Unsupported { what: format!("the model name {name:?}"), supported })
}

/// Puts a manifest, which has been read back, where it is found: last of all, since from then on
/// the model is there.
fn install(
    destination: &Path,
    kind: &str,
    name: &str,
    manifest: &[u8],
) -> Result<BlobHash, ImportError> {
    let id = put_blob(&destination.join("blobs"), manifest)?.hash;
    write_aside(&destination.join(kind).join(format!("{name}.json")), manifest)?;
    Ok(id)
}

/// [`import`] as it is usually wanted, of a folder or file whose name becomes the model's.
///
/// # Errors
/// As [`import`].
pub fn import_folder(source: &Path, destination: &Path) -> Result<BlobHash, ImportError> {
    import(source, destination, &Options::default(), &mut |_| ())
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

/// Reads a tokenizer and forgets it: one that cannot be read would be missed by whoever asks first.
fn check_tokenizer(bytes: &[u8]) -> Result<(), ImportError> {
    potluck_model::tokenizer::Tokenizer::from_bytes(bytes)?;
    Ok(())
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
        chat: potluck_model::package::ChatFormat,
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
            end_tokens: self.source.end_tokens.clone(),
            defaults: Defaults {
                temperature_milli: generation.temperature_milli(),
                top_p_milli: generation.top_p_milli(),
                top_k: generation.top_k.unwrap_or(0),
                max_tokens: generation
                    .max_new_tokens
                    .unwrap_or(256)
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
            self.tell();
        }
        Ok(quantiser.finish())
    }

    fn gain(&mut self, name: &str, width: usize) -> Result<Gain, ImportError> {
        Ok(quantise::gain(&self.vector(name, width)?))
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Vec<f32>, ImportError> {
        let values = self.source.rows(name, &[width], 0..width)?;
        self.tell();
        Ok(values)
    }

    fn tell(&mut self) {
        let (read_bytes, total_bytes) = self.source.progress();
        (self.progress)(Progress { read_bytes, total_bytes });
    }

    fn put(&self, bytes: &[u8]) -> Result<BlobRef, ImportError> {
        put_blob(&self.blobs, bytes)
    }
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
    let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // A full disk should not stay full of what nobody will use.
        let _ = fs::remove_file(&aside);
    }
    written.map_err(failed)
}

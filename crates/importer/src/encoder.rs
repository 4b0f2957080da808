//! Encoders of the BERT family: a Hugging Face folder, with what `sentence-transformers` puts
//! beside it, to an encoder's package.

use std::fs;
use std::path::Path;

use potluck_protocol::NUMERICS_VERSION;
use serde::Deserialize;
use serde_json::Value;

use super::source::{Tensors, folder, open_safetensors};
use super::{
    ImportError, Options, Progress, check_tokenizer, install, make_folder, model_name, put_blob,
    quantise,
};
use potluck_model::encoder::{
    Biased, EncoderEmbedding, EncoderLayer, EncoderManifest, LAYER_BITS, Norm, Pooling,
};
use potluck_model::package::{BlobHash, FORMAT, Linear, MAX_POSITIONS, ModelConfig};

/// What such a folder names as its architecture.
pub(super) const ARCHITECTURE: &str = "BertModel";
/// Largest value of the residual: rows are normalised, and real models are known for single
/// channels of some dozens.
const LARGEST_RESIDUAL: f64 = 2048.0;

/// `config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    hidden_act: String,
    max_position_embeddings: u32,
    layer_norm_eps: f64,
    #[serde(default)]
    position_embedding_type: Option<String>,
    type_vocab_size: u32,
}

/// `1_Pooling/config.json`.
#[derive(Debug, Default, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

/// One of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<u32>,
}

/// An opened folder.
#[derive(Debug)]
pub struct EncoderSource {
    name: String,
    license: String,
    /// Shapes and scales.
    pub config: ModelConfig,
    /// Added to the variance of every norm.
    pub eps: f64,
    /// What becomes of the rows.
    pub pooling: Pooling,
    /// Whether vectors have length one.
    pub normalised: bool,
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
    tokenizer: Vec<u8>,
    tensors: Tensors,
    /// What stands before every tensor's name in some files.
    root: &'static str,
}

/// The tensors of a layer: matrices in the order of [`EncoderLayer::matrices`].
pub const MATRICES: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];

impl EncoderSource {
    /// Opens a folder.
    ///
    /// # Errors
    /// If it is not that of an encoder that can be imported.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let config: Config = folder::json(&path.join("config.json"))?;
        let unsupported = |what: String, supported: &str| {
            Err(ImportError::Unsupported { what, supported: supported.to_owned() })
        };
        if config.hidden_act != "gelu" {
            return unsupported(format!("activation {}", config.hidden_act), "gelu in encoders");
        }
        if config.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute")
            || config.type_vocab_size == 0
        {
            return unsupported(
                "this kind of positions".to_owned(),
                "absolute positions with token types",
            );
        }
        if config.num_attention_heads == 0 || !(0.0..=1.0).contains(&config.layer_norm_eps) {
            return unsupported(
                "no heads, or such a layer_norm_eps".to_owned(),
                "at least one head; 0 to 1",
            );
        }
        let pooling: PoolingConfig = folder::optional_json(&path.join("1_Pooling/config.json"))?;
        let pooling = match (pooling.pooling_mode_mean_tokens, pooling.pooling_mode_cls_token) {
            (true, false) => Pooling::Mean,
            (false, true) => Pooling::Cls,
            _ => {
                return unsupported(
                    "this folder's pooling (1_Pooling/config.json)".to_owned(),
                    "mean, cls",
                );
            }
        };
        let modules: Vec<Module> = folder::optional_json(&path.join("modules.json"))?;
        let sentence: SentenceConfig =
            folder::optional_json(&path.join("sentence_bert_config.json"))?;
        let (tokenizer, prefix, suffix) = tokenizer(&path.join("tokenizer.json"))?;
        let tensors = open_safetensors(path)?;
        let root = if tensors.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
        let head_dim = config.hidden_size / config.num_attention_heads;
        let eps = quantise::eps(config.layer_norm_eps, config.hidden_size);
        Ok(Self {
            name: folder::folder_name(path)?,
            license: folder::license(path)?,
            config: ModelConfig {
                layers: config.num_hidden_layers,
                d_model: config.hidden_size,
                d_ff: config.intermediate_size,
                heads: config.num_attention_heads,
                kv_heads: config.num_attention_heads,
                head_dim,
                vocab: config.vocab_size,
                max_positions: config
                    .max_position_embeddings
                    .min(sentence.max_seq_length.unwrap_or(u32::MAX))
                    .min(MAX_POSITIONS),
                residual_fraction_bits: quantise::fraction_bits_below(LARGEST_RESIDUAL),
                qk_scale: quantise::qk_scale(head_dim),
                eps_mantissa: eps.mantissa,
                eps_exponent: eps.exponent,
                weight_bits: LAYER_BITS,
                qkv_bias: true,
                qk_norm: None,
            },
            eps: config.layer_norm_eps,
            pooling,
            normalised: modules.iter().any(|module| module.kind.ends_with(".Normalize")),
            prefix,
            suffix,
            tokenizer,
            tensors,
            root,
        })
    }

    /// A tensor as numbers; positions are cut to those that are used.
    ///
    /// # Errors
    /// If it is missing, or has another shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        let name = format!("{}{name}", self.root);
        self.tensors.first_rows(&name, shape)
    }

    /// Positions with the embedding of token type 0 added.
    ///
    /// # Errors
    /// If one of the two is missing, or has another shape.
    pub fn positions(&self) -> Result<Vec<f32>, ImportError> {
        let width = self.config.d_model as usize;
        let mut rows = self.tensor(
            "embeddings.position_embeddings.weight",
            &[self.config.max_positions as usize, width],
        )?;
        let kind = self.tensor("embeddings.token_type_embeddings.weight", &[1, width])?;
        for row in rows.chunks_exact_mut(width) {
            row.iter_mut().zip(&kind).for_each(|(position, kind)| *position += kind);
        }
        Ok(rows)
    }

    fn norm(&self, name: &str) -> Result<Norm, ImportError> {
        let width = [self.config.d_model as usize];
        Ok(Norm {
            gain: quantise::gain(&self.tensor(&format!("{name}.weight"), &width)?),
            bias: quantise::bias(&self.tensor(&format!("{name}.bias"), &width)?),
        })
    }

    fn layer(&self, index: u32) -> Result<EncoderLayer, ImportError> {
        let shapes = potluck_model::encoder::layer_shapes(&self.config);
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
    check_tokenizer(&source.tokenizer)?;
    let config = source.config;
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

/// A `tokenizer.json`, and the tokens before and after a text.
type Around = (Vec<u8>, Vec<u32>, Vec<u32>);

/// The tokenizer without its own padding and cutting, and the ids that it puts before and after a
/// text.
fn tokenizer(path: &Path) -> Result<Around, ImportError> {
    let mut json: Value = folder::json(path)?;
    for field in ["truncation", "padding"] {
        json[field] = Value::Null;
    }
    let unsupported = || ImportError::Unsupported {
        what: "this tokenizer's way to put tokens around a text".to_owned(),
        supported: "TemplateProcessing and BertProcessing".to_owned(),
    };
    let post = &json["post_processor"];
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
    match post["type"].as_str() {
        Some("TemplateProcessing") => {
            let mut side = &mut prefix;
            for piece in post["single"].as_array().ok_or_else(unsupported)? {
                if piece.get("Sequence").is_some() {
                    side = &mut suffix;
                    continue;
                }
                let name = piece["SpecialToken"]["id"].as_str().ok_or_else(unsupported)?;
                let ids = post["special_tokens"][name]["ids"].as_array().ok_or_else(unsupported)?;
                side.extend(ids.iter().filter_map(id));
            }
        }
        Some("BertProcessing") => {
            prefix.push(id(&post["cls"][1]).ok_or_else(unsupported)?);
            suffix.push(id(&post["sep"][1]).ok_or_else(unsupported)?);
        }
        _ => return Err(unsupported()),
    }
    let bytes = serde_json::to_vec(&json)
        .map_err(|source| ImportError::Json { path: path.to_owned(), source })?;
    Ok((bytes, prefix, suffix))
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

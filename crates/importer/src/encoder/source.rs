//! What the folder of an encoder says: its shape, how rows become a vector, what stands around a
//! text, and its tensors.

use std::path::Path;

use potluck_model::encoder::{LAYER_BITS, Pooling};
use potluck_model::package::{MAX_POSITIONS, ModelConfig, NormPlaces};
use serde::Deserialize;
use serde_json::Value;

use crate::error::ImportError;
use crate::quantise;
use crate::source::json::{json, optional_json};
use crate::source::{Tensors, folder, open_safetensors};

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
    pub(super) name: String,
    pub(super) license: String,
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
    pub(super) tokenizer: Vec<u8>,
    pub(super) tensors: Tensors,
    /// What stands before every tensor's name in some files.
    root: &'static str,
}

/// The tensors of a layer: matrices in the order of
/// [`EncoderLayer::matrices`](potluck_model::encoder::EncoderLayer::matrices).
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
        let config: Config = json(&path.join("config.json"))?;
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
        let pooling: PoolingConfig = optional_json(&path.join("1_Pooling/config.json"))?;
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
        let modules: Vec<Module> = optional_json(&path.join("modules.json"))?;
        let sentence: SentenceConfig = optional_json(&path.join("sentence_bert_config.json"))?;
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
                layer_kinds: Vec::new(),
                rotations: 1,
                qk_row_norm: None,
                norms: NormPlaces::Before,
                output_bias: false,
                mlp_bias: false,
                attention_cap: None,
                logit_cap: None,
                sinks: false,
                experts: None,
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
}

/// A `tokenizer.json`, and the tokens before and after a text.
type Around = (Vec<u8>, Vec<u32>, Vec<u32>);

/// The tokenizer without its own padding and cutting, and the ids that it puts before and after a
/// text.
fn tokenizer(path: &Path) -> Result<Around, ImportError> {
    let mut json: Value = json(path)?;
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

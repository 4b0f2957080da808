//! A Hugging Face folder: `config.json`, its neighbours, and safetensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::json::{json, optional_json, read};
use super::llama_tokenizer::{self, Llama};
use super::neutral::{neutral, slides};
use super::{Chat, Generation, Shape, Source, Specials, safetensors};
use crate::error::ImportError;
use crate::rope::{self, Llama3};

/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;
/// Lines of a model card in which its licence is looked for.
const CARD_LINES: usize = 60;

/// `config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    vocab_size: u32,
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    hidden_act: String,
    max_position_embeddings: u32,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    /// Where newer files keep both of the above.
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<serde_json::Value>,
    sliding_window: Option<u32>,
    use_sliding_window: Option<bool>,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    eos_token_id: Option<Tokens>,
    #[serde(flatten)]
    others: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// As it was spelled before; many files have both.
    #[serde(rename = "type")]
    old_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
}

/// `generation_config.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Tokens>,
    #[serde(default)]
    do_sample: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    repetition_penalty: Option<f64>,
    max_new_tokens: Option<u32>,
}

/// `tokenizer_config.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Templates>,
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    tokenizer_class: Option<String>,
    legacy: Option<bool>,
    add_prefix_space: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Described { content: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(u32),
    Several(Vec<u32>),
}

impl Tokens {
    fn list(self) -> Vec<u32> {
        match self {
            Self::One(token) => vec![token],
            Self::Several(tokens) => tokens,
        }
    }
}

/// Opens a folder.
pub(super) fn open(folder: &Path) -> Result<Source, ImportError> {
    let config: Config = json(&folder.join("config.json"))?;
    let mut shape = config.shape()?;
    let tensors = safetensors::open(folder)?;
    // A file without a head uses the embedding as one, unless it says otherwise.
    shape.tied = config.tie_word_embeddings.unwrap_or(!tensors.has("lm_head.weight"));
    let generation: GenerationConfig = optional_json(&folder.join("generation_config.json"))?;
    let (tokenizer, chat) = tokenizer(folder)?;
    Ok(Source {
        name: folder_name(folder)?,
        license: license(folder)?,
        shape,
        tokenizer,
        chat,
        end_tokens: [generation.eos_token_id, config.eos_token_id]
            .into_iter()
            .flatten()
            .flat_map(Tokens::list)
            .collect(),
        generation: Generation {
            do_sample: generation.do_sample,
            temperature: generation.temperature,
            top_p: generation.top_p,
            top_k: generation.top_k,
            repetition_penalty: generation.repetition_penalty,
            max_new_tokens: generation.max_new_tokens,
        },
        tensors,
    })
}

/// What a folder's configuration says of its model.
pub(super) fn shape(folder: &Path) -> Result<Shape, ImportError> {
    let config: Config = json(&folder.join("config.json"))?;
    config.shape()
}

/// A folder's tokenizer, and how its model is talked to.
pub(super) fn tokenizer(folder: &Path) -> Result<(Vec<u8>, Chat), ImportError> {
    let config: TokenizerConfig = optional_json(&folder.join("tokenizer_config.json"))?;
    let mut tokenizer = read(&folder.join("tokenizer.json"))?;
    if llama_tokenizer::is_one(config.tokenizer_class.as_deref()) {
        let llama = Llama {
            legacy: config.legacy.unwrap_or(false),
            add_prefix_space: config.add_prefix_space.unwrap_or(true),
        };
        tokenizer = llama_tokenizer::as_loaded(tokenizer, llama)?;
    }
    let jinja = folder.join("chat_template.jinja");
    let template = if jinja.exists() {
        Some(String::from_utf8_lossy(&read(&jinja)?).into_owned())
    } else {
        config.chat_template.and_then(Templates::usual)
    };
    let specials = Specials { bos: text(config.bos_token), eos: text(config.eos_token) };
    Ok((tokenizer, Chat { template, specials }))
}

impl Config {
    fn shape(&self) -> Result<Shape, ImportError> {
        let unsupported = |what: String, supported: &str| {
            Err(ImportError::Unsupported { what, supported: supported.to_owned() })
        };
        let named = match self.architectures.as_slice() {
            [one] => one.as_str(),
            _ => "",
        };
        let known = [
            ("LlamaForCausalLM", "llama"),
            ("MistralForCausalLM", "mistral"),
            ("Qwen2ForCausalLM", "qwen2"),
            ("Qwen3ForCausalLM", "qwen3"),
        ];
        let Some((_, architecture)) = known.into_iter().find(|(name, _)| *name == named) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            let got: String = self.architectures.join(", ").chars().take(200).collect();
            return unsupported(format!("architecture {got:?}"), &names.join(", "));
        };
        if self.hidden_act != "silu" {
            return unsupported(format!("activation {}", self.hidden_act), "silu");
        }
        if self.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return unsupported("partial_rotary_factor".to_owned(), "heads that are rotated whole");
        }
        if self.quantization_config.as_ref().is_some_and(|quantization| !quantization.is_null()) {
            return unsupported(
                "a quantized folder".to_owned(),
                "weights as F32, F16 or BF16, or a GGUF file",
            );
        }
        if (self.attention_bias && architecture != "qwen2") || self.mlp_bias {
            return unsupported(
                "biases".to_owned(),
                "matrices without biases, but for Qwen2's queries, keys and values",
            );
        }
        neutral(&self.others)?;
        let heads = self.num_attention_heads;
        if heads == 0 {
            return unsupported("a model without heads".to_owned(), "at least one attention head");
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        // Within the window a windowed model is a plain one, so its context ends there. Qwen names
        // a window that it does not use.
        let windowed =
            self.use_sliding_window.unwrap_or(architecture == "mistral") || slides(&self.others);
        let window = self.sliding_window.filter(|_| windowed).unwrap_or(u32::MAX);
        Ok(Shape {
            architecture,
            layers: self.num_hidden_layers,
            d_model: self.hidden_size,
            d_ff: self.intermediate_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim,
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings.min(window),
            eps: self.rms_norm_eps,
            frequencies: self.frequencies(head_dim)?,
            tied: self.tie_word_embeddings.unwrap_or(false),
        })
    }

    fn frequencies(&self, head_dim: u32) -> Result<Vec<f64>, ImportError> {
        let unsupported = |what: String| {
            let supported = "plain RoPE, and rope_type \"llama3\" with its four numbers".to_owned();
            Err(ImportError::Unsupported { what, supported })
        };
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta =
            rope.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(DEFAULT_THETA);
        let plain = rope::frequencies(theta, head_dim)?;
        let Some(rope) = rope else { return Ok(plain) };
        let kind = match (&rope.rope_type, &rope.old_type) {
            (Some(new), Some(old)) if new != old => {
                let said: String = format!("{new} and {old}").chars().take(64).collect();
                return unsupported(format!("a RoPE of two types at once ({said})"));
            }
            (new, old) => new.as_deref().or(old.as_deref()),
        };
        match kind {
            Some("default") => Ok(plain),
            None if rope.factor.is_none() => Ok(plain),
            Some("llama3") => {
                let numbers = (
                    rope.factor,
                    rope.low_freq_factor,
                    rope.high_freq_factor,
                    rope.original_max_position_embeddings.map(f64::from),
                );
                let (Some(factor), Some(low), Some(high), Some(original)) = numbers else {
                    return unsupported(
                        "a llama3 RoPE that leaves out one of its numbers".to_owned(),
                    );
                };
                rope::llama3(plain, Llama3 { factor, low, high, original })
            }
            other => {
                let other: String = other.unwrap_or("none").chars().take(64).collect();
                unsupported(format!("rope_type {other}"))
            }
        }
    }
}

impl Templates {
    /// The one that chats; others are for tools or retrieval.
    fn usual(self) -> Option<String> {
        match self {
            Self::One(template) => Some(template),
            Self::Several(all) => {
                all.into_iter().find(|named| named.name == "default").map(|named| named.template)
            }
        }
    }
}

fn text(special: Option<Special>) -> String {
    match special {
        Some(Special::Text(text) | Special::Described { content: text }) => text,
        None => String::new(),
    }
}

/// The folder's own name, until the caller has a better one.
pub(crate) fn folder_name(folder: &Path) -> Result<String, ImportError> {
    let failed = |source| ImportError::File { path: folder.to_owned(), source };
    let full = fs::canonicalize(folder).map_err(failed)?;
    Ok(full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// The card's `license:` line.
pub(crate) fn license(folder: &Path) -> Result<String, ImportError> {
    let card = folder.join("README.md");
    let card = if card.exists() { read(&card)? } else { Vec::new() };
    let card = String::from_utf8_lossy(&card);
    let line = card.lines().take(CARD_LINES).find_map(|line| line.strip_prefix("license:"));
    let text = line.map(|text| text.trim().trim_matches(['[', ']']).chars().take(200).collect());
    Ok(text.unwrap_or_else(|| "unknown".to_owned()))
}

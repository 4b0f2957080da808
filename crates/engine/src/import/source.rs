//! The files of a Hugging Face folder, read and checked for what this build can compute.

use std::fs;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ImportError;
use crate::package::is_name;

/// An opened folder.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) license: String,
    pub(super) config: Config,
    pub(super) generation: Generation,
    pub(super) tokenizer: Vec<u8>,
    pub(super) chat_template: String,
    weights: Vec<u8>,
}

/// `config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    pub(super) vocab_size: u32,
    pub(super) hidden_size: u32,
    pub(super) intermediate_size: u32,
    pub(super) num_hidden_layers: u32,
    pub(super) num_attention_heads: u32,
    pub(super) num_key_value_heads: Option<u32>,
    pub(super) head_dim: Option<u32>,
    hidden_act: String,
    pub(super) max_position_embeddings: u32,
    pub(super) rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<serde_json::Value>,
    /// Where newer files keep both of the above.
    rope_parameters: Option<RopeParameters>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<serde_json::Value>,
    #[serde(default)]
    pub(super) tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    eos_token_id: Option<Tokens>,
}

#[derive(Debug, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

/// `generation_config.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Generation {
    eos_token_id: Option<Tokens>,
    #[serde(default)]
    do_sample: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    pub(super) max_new_tokens: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(u32),
    Several(Vec<u32>),
}

/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;

impl Source {
    pub(super) fn open(folder: &Path) -> Result<Self, ImportError> {
        let config: Config = json(&folder.join("config.json"))?;
        config.check()?;
        let optional = |name: &str| folder.join(name).exists().then(|| folder.join(name));
        let generation =
            optional("generation_config.json").map_or_else(|| Ok(Generation::default()), |path| json(&path))?;
        let tokenizer_config: TokenizerConfig =
            optional("tokenizer_config.json").map_or_else(|| Ok(TokenizerConfig::default()), |path| json(&path))?;
        let card = optional("README.md").map_or_else(|| Ok(Vec::new()), |path| read(&path))?;
        if folder.join("model.safetensors.index.json").exists() {
            let supported = "all weights in one model.safetensors";
            return Err(ImportError::Unsupported { what: "a model cut into several files".to_owned(), supported });
        }
        let weights = read(&folder.join("model.safetensors"))?;
        SafeTensors::deserialize(&weights).map_err(|error| ImportError::Weights(error.to_string()))?;
        Ok(Self {
            name: name(folder)?,
            license: license(&String::from_utf8_lossy(&card)),
            config,
            generation,
            tokenizer: read(&folder.join("tokenizer.json"))?,
            chat_template: tokenizer_config.chat_template,
            weights,
        })
    }

    /// A tensor as `f32`, row-major.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ImportError> {
        let problem = |problem: String| ImportError::Tensor { name: name.to_owned(), problem };
        let tensors =
            SafeTensors::deserialize(&self.weights).map_err(|error| ImportError::Weights(error.to_string()))?;
        let tensor = tensors.tensor(name).map_err(|_| problem("missing".to_owned()))?;
        if tensor.shape() != shape {
            return Err(problem(format!("shape {:?}, expected {shape:?}", tensor.shape())));
        }
        let bytes = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            other => return Err(problem(format!("type {other:?} is not supported; supported: F32, F16, BF16"))),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(problem("holds a value that is not a number".to_owned()));
        }
        Ok(values)
    }

    pub(super) fn end_tokens(&self) -> Result<Vec<u32>, ImportError> {
        match self.generation.eos_token_id.as_ref().or(self.config.eos_token_id.as_ref()) {
            Some(Tokens::One(token)) => Ok(vec![*token]),
            Some(Tokens::Several(tokens)) => Ok(tokens.clone()),
            None => Err(ImportError::Unsupported {
                what: "a model without an end token".to_owned(),
                supported: "eos_token_id in config.json or generation_config.json",
            }),
        }
    }
}

impl Config {
    /// The base of the rotations' frequencies.
    pub(super) fn theta(&self) -> f64 {
        let newer = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        newer.or(self.rope_theta).unwrap_or(DEFAULT_THETA)
    }

    fn check(&self) -> Result<(), ImportError> {
        let unsupported = |what: String, supported| Err(ImportError::Unsupported { what, supported });
        match self.architectures.as_slice() {
            [one] if one == "LlamaForCausalLM" => {}
            other => return unsupported(format!("architecture {}", other.join(", ")), "LlamaForCausalLM"),
        }
        if self.hidden_act != "silu" {
            return unsupported(format!("activation {}", self.hidden_act), "silu");
        }
        if self.rope_scaling.as_ref().is_some_and(|scaling| !scaling.is_null()) {
            return unsupported("rope_scaling".to_owned(), "plain RoPE");
        }
        let rope_type = self.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref());
        if rope_type.is_some_and(|rope_type| rope_type != "default") {
            return unsupported(format!("rope_type {}", rope_type.unwrap_or_default()), "plain RoPE");
        }
        if self.partial_rotary_factor.is_some_and(|factor| factor != 1.0) {
            return unsupported("partial_rotary_factor".to_owned(), "heads that are rotated whole");
        }
        if !(self.theta().is_finite() && self.theta() >= 1.0) {
            return unsupported(format!("rope_theta {}", self.theta()), "a base of 1 or more");
        }
        if !(self.rms_norm_eps.is_finite() && (0.0..=1.0).contains(&self.rms_norm_eps)) {
            return unsupported(format!("rms_norm_eps {}", self.rms_norm_eps), "0 to 1");
        }
        if self.quantization_config.as_ref().is_some_and(|quantization| !quantization.is_null()) {
            return unsupported("a quantized model".to_owned(), "weights as F32, F16 or BF16");
        }
        if self.attention_bias || self.mlp_bias {
            return unsupported("biases".to_owned(), "matrices without biases");
        }
        if self.num_attention_heads == 0 {
            return unsupported("a model without heads".to_owned(), "at least one attention head");
        }
        Ok(())
    }
}

impl Generation {
    pub(super) fn temperature_milli(&self) -> u32 {
        if self.do_sample { thousandths(self.temperature.unwrap_or(1.0)).clamp(50, 5000) } else { 0 }
    }

    pub(super) fn top_p_milli(&self) -> u32 {
        thousandths(self.top_p.unwrap_or(1.0)).clamp(1, 1000)
    }

    pub(super) fn top_k(&self) -> u32 {
        self.top_k.unwrap_or(0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped by the callers")]
fn thousandths(value: f64) -> u32 {
    libm::round(value * 1000.0) as u32
}

/// The folder's own name is the model's.
fn name(folder: &Path) -> Result<String, ImportError> {
    let failed = |source| ImportError::File { path: folder.to_owned(), source };
    let full = fs::canonicalize(folder).map_err(failed)?;
    let name: String = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if is_name(&name) {
        return Ok(name);
    }
    Err(ImportError::Unsupported {
        what: format!("the folder name {name:?}"),
        supported: "names of letters, digits, '-', '_' and '.', as it becomes the model's",
    })
}

/// The card's `license:` line.
fn license(card: &str) -> String {
    let line = card.lines().take(40).find_map(|line| line.strip_prefix("license:"));
    line.map_or_else(|| "unknown".to_owned(), |text| text.trim().trim_matches(['[', ']']).chars().take(200).collect())
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ImportError> {
    serde_json::from_slice(&read(path)?).map_err(|source| ImportError::Json { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, ImportError> {
    fs::read(path).map_err(|source| ImportError::File { path: path.to_owned(), source })
}

//! `config.json` to a decoder's shape.

use std::collections::BTreeMap;

use potluck_model::package::{Experts, NormPlaces};
use serde::Deserialize;
use serde_json::Value;

use super::Tokens;
use super::layers::layers;
use super::rope::{Rope, rotations};
use crate::error::ImportError;
use crate::source::neutral::neutral;
use crate::source::{Activation, Biases, QkNorm, Scales, Shape};

/// `config.json`, as far as it matters.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    architectures: Vec<String>,
    pub(super) vocab_size: u32,
    pub(super) hidden_size: u32,
    pub(super) intermediate_size: u32,
    pub(super) num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    hidden_act: Option<String>,
    /// What Gemma goes by.
    hidden_activation: Option<String>,
    pub(super) max_position_embeddings: u32,
    pub(super) original_max_position_embeddings: Option<u32>,
    rms_norm_eps: f64,
    pub(super) rope_theta: Option<f64>,
    pub(super) rope_local_base_freq: Option<f64>,
    pub(super) rope_scaling: Option<Rope>,
    /// Where newer files keep both of the above; of some models by kind of layer.
    pub(super) rope_parameters: Option<BTreeMap<String, Value>>,
    pub(super) partial_rotary_factor: Option<f64>,
    quantization_config: Option<Value>,
    pub(super) sliding_window: Option<u32>,
    pub(super) use_sliding_window: Option<bool>,
    #[serde(alias = "_sliding_window_pattern")]
    pub(super) sliding_window_pattern: Option<u32>,
    pub(super) max_window_layers: Option<u32>,
    pub(super) layer_types: Option<Vec<String>>,
    /// Of Qwen3-MoE: every so manieth layer has experts.
    pub(super) decoder_sparse_step: Option<u32>,
    /// And these have none.
    pub(super) mlp_only_layers: Option<Vec<u32>>,
    moe_intermediate_size: Option<u32>,
    norm_topk_prob: Option<bool>,
    pub(super) tie_word_embeddings: Option<bool>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    pub(super) eos_token_id: Option<Tokens>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// What a folder names as its architecture, and what it is called here.
const KNOWN: [(&str, &str); 14] = [
    ("LlamaForCausalLM", "llama"),
    ("MistralForCausalLM", "mistral"),
    ("Qwen2ForCausalLM", "qwen2"),
    ("Qwen3ForCausalLM", "qwen3"),
    ("Gemma2ForCausalLM", "gemma2"),
    ("Gemma3ForCausalLM", "gemma3"),
    ("Phi3ForCausalLM", "phi3"),
    ("Olmo2ForCausalLM", "olmo2"),
    ("Olmo3ForCausalLM", "olmo3"),
    ("SmolLM3ForCausalLM", "smollm3"),
    ("GraniteForCausalLM", "granite"),
    ("MixtralForCausalLM", "mixtral"),
    ("Qwen3MoeForCausalLM", "qwen3moe"),
    ("OlmoeForCausalLM", "olmoe"),
];
/// Heads of Gemma, where the file does not say.
const GEMMA_HEAD_DIM: u32 = 256;

pub(super) fn unsupported<T>(what: String, supported: &str) -> Result<T, ImportError> {
    Err(ImportError::Unsupported { what, supported: supported.to_owned() })
}

/// Keys that an architecture computes with, and others do not have.
fn used(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "gemma2" => &["query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"],
        "gemma3" => &["query_pre_attn_scalar", "final_logit_softcapping"],
        "granite" => &[
            "logits_scaling",
            "embedding_multiplier",
            "residual_multiplier",
            "attention_multiplier",
        ],
        "smollm3" => &["no_rope_layers", "no_rope_layer_interval"],
        "mixtral" => &["num_local_experts", "num_experts", "num_experts_per_tok"],
        "qwen3moe" | "olmoe" => &["num_experts", "num_local_experts", "num_experts_per_tok"],
        _ => &[],
    }
}

impl Config {
    fn architecture(&self) -> Result<&'static str, ImportError> {
        let named = match self.architectures.as_slice() {
            [one] => one.as_str(),
            _ => "",
        };
        match KNOWN.into_iter().find(|(name, _)| *name == named) {
            Some((_, architecture)) => Ok(architecture),
            None => {
                let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
                let got: String = self.architectures.join(", ").chars().take(200).collect();
                unsupported(format!("architecture {got:?}"), &names.join(", "))
            }
        }
    }

    pub(super) fn shape(&self) -> Result<Shape, ImportError> {
        let architecture = self.architecture()?;
        if self.quantization_config.as_ref().is_some_and(|quantization| !quantization.is_null()) {
            return unsupported(
                "a quantized folder".to_owned(),
                "weights as F32, F16 or BF16, or a GGUF file",
            );
        }
        neutral(&self.others, used(architecture))?;
        let heads = self.num_attention_heads;
        if heads == 0 {
            return unsupported("a model without heads".to_owned(), "at least one attention head");
        }
        let is_gemma = architecture.starts_with("gemma");
        let own = if is_gemma { GEMMA_HEAD_DIM } else { self.hidden_size / heads };
        let head_dim = self.head_dim.unwrap_or(own);
        let is_olmo = matches!(architecture, "olmo2" | "olmo3");
        let mut shape = Shape {
            architecture,
            layers: self.num_hidden_layers,
            d_model: self.hidden_size,
            d_ff: self.intermediate_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim,
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings,
            eps: self.rms_norm_eps,
            tied: self.tie_word_embeddings.unwrap_or(false),
            kinds: Vec::new(),
            experts: self.experts(architecture)?,
            rotations: Vec::new(),
            norms: match () {
                () if is_gemma => NormPlaces::Both,
                () if is_olmo => NormPlaces::After,
                () => NormPlaces::Before,
            },
            gain_offset: if is_gemma { 1.0 } else { 0.0 },
            qk_norm: match architecture {
                "qwen3" | "qwen3moe" | "gemma3" => QkNorm::Heads,
                "olmo2" | "olmo3" | "olmoe" => QkNorm::Rows,
                _ => QkNorm::None,
            },
            biases: self.biases(architecture)?,
            activation: self.activation(is_gemma)?,
            scales: self.scales(architecture, head_dim),
            attention_cap: self.number("attn_logit_softcapping").filter(|_| is_gemma),
            logit_cap: self.number("final_logit_softcapping").filter(|_| is_gemma),
        };
        let kinds = layers(self, architecture)?;
        shape.set_layers(kinds, rotations(self, architecture, head_dim)?);
        Ok(shape)
    }

    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.others.get(key).and_then(Value::as_f64)
    }

    fn biases(&self, architecture: &str) -> Result<Biases, ImportError> {
        let whole = matches!(architecture, "llama" | "granite" | "smollm3");
        let attention = whole
            || matches!(architecture, "qwen2" | "qwen3" | "qwen3moe" | "olmo2" | "olmo3" | "olmoe")
            || architecture.starts_with("gemma");
        if (self.attention_bias && !attention) || (self.mlp_bias && !whole) {
            let what = format!("biases in architecture {architecture:?}");
            return unsupported(what, "biases in Llama, Granite and SmolLM3, and of attention");
        }
        let qkv = architecture == "qwen2" || self.attention_bias;
        let output = architecture != "qwen2" && self.attention_bias;
        Ok(Biases { qkv, output, mlp: self.mlp_bias })
    }

    /// What some architectures have in place of MLPs. Left out of a file is what Hugging Face takes for
    /// it.
    fn experts(&self, architecture: &str) -> Result<Option<Experts>, ImportError> {
        let (count, used, d_ff, renormalised) = match architecture {
            "mixtral" => (8, 2, self.intermediate_size, true),
            "qwen3moe" => (128, 8, self.moe_intermediate_size.unwrap_or(768), false),
            "olmoe" => (64, 8, self.intermediate_size, false),
            _ => return Ok(None),
        };
        let keys = ["num_experts", "num_local_experts"];
        let listed = keys.iter().filter_map(|key| self.others.get(*key)).find(|it| !it.is_null());
        let number = |value: Option<&Value>, usual: u32| match value {
            None => Ok(usual),
            Some(value) => match value.as_u64().and_then(|it| u32::try_from(it).ok()) {
                Some(number @ 1..) => Ok(number),
                _ => {
                    let value: String = value.to_string().chars().take(64).collect();
                    unsupported(format!("{value} experts"), "at least one expert")
                }
            },
        };
        Ok(Some(Experts {
            count: number(listed, count)?,
            used: number(self.others.get("num_experts_per_tok"), used)?,
            d_ff,
            renormalised: renormalised || self.norm_topk_prob.unwrap_or(false),
        }))
    }

    fn activation(&self, is_gemma: bool) -> Result<Activation, ImportError> {
        let named = match is_gemma {
            // Its first files name another one in `hidden_act`, which nothing reads.
            true => self.hidden_activation.as_deref().unwrap_or("gelu_pytorch_tanh"),
            false => self.hidden_act.as_deref().unwrap_or("silu"),
        };
        match named {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
            "gelu" => Ok(Activation::Gelu),
            other => {
                let other: String = other.chars().take(64).collect();
                unsupported(format!("activation {other}"), "silu, gelu and gelu_pytorch_tanh")
            }
        }
    }

    fn scales(&self, architecture: &str, head_dim: u32) -> Scales {
        let plain = Scales::plain(head_dim);
        let number = |key: &str| self.number(key).unwrap_or(1.0);
        match architecture {
            "gemma2" | "gemma3" => Scales {
                score: 1.0 / libm::sqrt(self.number("query_pre_attn_scalar").unwrap_or(256.0)),
                embedding: libm::sqrt(f64::from(self.hidden_size)),
                ..plain
            },
            "granite" => Scales {
                score: number("attention_multiplier"),
                embedding: number("embedding_multiplier"),
                residual: number("residual_multiplier"),
                logit: 1.0 / number("logits_scaling"),
            },
            _ => plain,
        }
    }
}

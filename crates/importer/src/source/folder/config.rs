//! `config.json` to a decoder's shape.

use std::collections::BTreeMap;

use potluck_model::package::{Experts, NormKind, NormPlaces};
use serde::Deserialize;
use serde_json::Value;

use super::Tokens;
use super::layers::layers;
use super::rope::{Rope, rotations};
use crate::error::ImportError;
use crate::source::neutral::neutral;
use crate::source::{Activation, Biases, QUICK_GELU_SLOPE, QkNorm, Scales, Shape, shared_experts};

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
    rms_norm_eps: Option<f64>,
    /// What `StarCoder2` goes by.
    norm_epsilon: Option<f64>,
    use_bias: Option<bool>,
    /// What `StableLM` goes by.
    layer_norm_eps: Option<f64>,
    use_qkv_bias: Option<bool>,
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
    attention_bias: Option<bool>,
    #[serde(default)]
    mlp_bias: bool,
    pub(super) eos_token_id: Option<Tokens>,
    #[serde(flatten)]
    pub(super) others: BTreeMap<String, Value>,
}

/// What a folder names as its architecture, and what it is called here.
const KNOWN: [(&str, &str); 18] = [
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
    ("GptOssForCausalLM", "gptoss"),
    ("Starcoder2ForCausalLM", "starcoder2"),
    ("Qwen2MoeForCausalLM", "qwen2moe"),
    ("StableLmForCausalLM", "stablelm"),
];
/// Of gpt-oss, and of Qwen2-MoE's shared expert, where the file does not say.
const GPT_OSS_LIMIT: f64 = 7.0;
const QWEN2_SHARED_WIDTH: u32 = 5632;
/// Heads of Gemma, where the file does not say.
const GEMMA_HEAD_DIM: u32 = 256;
/// Key and value heads of `StarCoder2`, where the file does not say.
const STARCODER2_KV_HEADS: u32 = 2;
/// What `LayerNorm`s add, where the file does not say.
const LAYER_NORM_EPS: f64 = 1e-5;

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
        "gptoss" => &[
            "num_local_experts",
            "num_experts",
            "num_experts_per_tok",
            "swiglu_limit",
            "swiglu_alpha",
        ],
        "qwen2moe" => &[
            "num_experts",
            "num_local_experts",
            "num_experts_per_tok",
            "shared_expert_intermediate_size",
        ],
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
        let quantization = self.quantization_config.as_ref().filter(|it| !it.is_null());
        // Its own form is read like any other.
        let own = |it: &&Value| it["quant_method"] == "mxfp4" && architecture == "gptoss";
        if quantization.is_some_and(|it| !own(&it)) {
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
        let is_starcoder = architecture == "starcoder2";
        let kv_heads = if is_starcoder { STARCODER2_KV_HEADS } else { heads };
        let mut shape = Shape {
            architecture,
            layers: self.num_hidden_layers,
            d_model: self.hidden_size,
            d_ff: self.intermediate_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(kv_heads),
            head_dim,
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings,
            eps: self.eps(architecture)?,
            tied: self.tie_word_embeddings.unwrap_or(false),
            kinds: Vec::new(),
            experts: self.experts(architecture)?,
            rotations: Vec::new(),
            norms: match () {
                () if is_gemma => NormPlaces::Both,
                () if is_olmo => NormPlaces::After,
                () => NormPlaces::Before,
            },
            norm: match architecture {
                "starcoder2" | "stablelm" => NormKind::Layer,
                _ => NormKind::Rms,
            },
            gain_offset: if is_gemma { 1.0 } else { 0.0 },
            qk_norm: match architecture {
                "qwen3" | "qwen3moe" | "gemma3" => QkNorm::Heads,
                "olmo2" | "olmo3" | "olmoe" => QkNorm::Rows,
                _ => QkNorm::None,
            },
            biases: self.biases(architecture)?,
            sinks: architecture == "gptoss",
            mlp_limit: self.mlp_limit(architecture),
            activation: self.activation(architecture)?,
            ungated: is_starcoder,
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

    /// What norms add to a mean square.
    fn eps(&self, architecture: &str) -> Result<f64, ImportError> {
        let missing =
            || unsupported("a config.json without rms_norm_eps".to_owned(), "one that has it");
        match architecture {
            "starcoder2" => Ok(self.norm_epsilon.unwrap_or(LAYER_NORM_EPS)),
            "stablelm" => Ok(self.layer_norm_eps.unwrap_or(LAYER_NORM_EPS)),
            _ => self.rms_norm_eps.map_or_else(missing, Ok),
        }
    }

    fn biases(&self, architecture: &str) -> Result<Biases, ImportError> {
        if architecture == "starcoder2" {
            let all = self.use_bias.unwrap_or(true);
            return Ok(Biases { qkv: all, output: all, mlp: all });
        }
        if architecture == "stablelm" {
            let qkv = self.use_qkv_bias.unwrap_or(false);
            return Ok(Biases { qkv, ..Biases::default() });
        }
        let is_gpt_oss = architecture == "gptoss";
        let (attention_bias, mlp_bias) = (self.attention_bias.unwrap_or(is_gpt_oss), self.mlp_bias);
        let whole = is_gpt_oss || matches!(architecture, "llama" | "granite" | "smollm3");
        let attention = whole
            || matches!(architecture, "qwen2" | "qwen3" | "qwen3moe" | "olmo2" | "olmo3" | "olmoe")
            || architecture.starts_with("gemma");
        if (attention_bias && !attention) || (mlp_bias && !whole) {
            let what = format!("biases in architecture {architecture:?}");
            return unsupported(what, "biases in Llama, Granite and SmolLM3, and of attention");
        }
        let is_qwen2 = matches!(architecture, "qwen2" | "qwen2moe");
        let has_none = self.others.get("qkv_bias") == Some(&Value::Bool(false));
        let qkv = if is_qwen2 { !has_none } else { attention_bias };
        let output = !is_qwen2 && attention_bias;
        // Its experts always have them.
        Ok(Biases { qkv, output, mlp: mlp_bias || is_gpt_oss })
    }

    /// What some architectures have in place of MLPs. Left out of a file is what Hugging Face takes for
    /// it.
    fn experts(&self, architecture: &str) -> Result<Option<Experts>, ImportError> {
        let (count, used, d_ff, renormalised) = match architecture {
            "mixtral" => (8, 2, self.intermediate_size, true),
            "qwen3moe" => (128, 8, self.moe_intermediate_size.unwrap_or(768), false),
            "olmoe" => (64, 8, self.intermediate_size, false),
            "gptoss" => (128, 4, self.intermediate_size, true),
            "qwen2moe" => (60, 4, self.moe_intermediate_size.unwrap_or(1408), false),
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
        let shared = match architecture {
            "qwen2moe" => {
                let width = self.others.get("shared_expert_intermediate_size");
                shared_experts(number(width, QWEN2_SHARED_WIDTH)?, d_ff)?
            }
            _ => 0,
        };
        Ok(Some(Experts {
            shared,
            count: number(listed, count)?,
            used: number(self.others.get("num_experts_per_tok"), used)?,
            d_ff,
            renormalised: renormalised || self.norm_topk_prob.unwrap_or(false),
            router_bias: architecture == "gptoss",
        }))
    }

    fn mlp_limit(&self, architecture: &str) -> Option<f64> {
        let limit = self.number("swiglu_limit").unwrap_or(GPT_OSS_LIMIT);
        (architecture == "gptoss").then_some(limit)
    }

    fn activation(&self, architecture: &str) -> Result<Activation, ImportError> {
        let slope = self.number("swiglu_alpha").unwrap_or(QUICK_GELU_SLOPE);
        if architecture == "gptoss" && slope != QUICK_GELU_SLOPE {
            return unsupported(format!("swiglu_alpha {slope}"), "1.702");
        }
        let named = match architecture {
            // Gemma's first files name another one in `hidden_act`, which nothing reads.
            "gemma2" | "gemma3" => self.hidden_activation.as_deref().unwrap_or("gelu_pytorch_tanh"),
            "starcoder2" => self.hidden_act.as_deref().unwrap_or("gelu_pytorch_tanh"),
            _ => self.hidden_act.as_deref().unwrap_or("silu"),
        };
        match named {
            // What it calls so has another slope.
            "silu" | "swish" if architecture == "gptoss" => Ok(Activation::QuickGelu),
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

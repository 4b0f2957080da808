//! The keys by which a GGUF file describes its model: each is used, known to change nothing, or the
//! file is refused by its name.

use super::metadata::Metadata;
use crate::error::ImportError;

/// Those that the shape is made of, and those that are for other programs only.
const KNOWN: [&str; 18] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.freq_base",
    "rope.dimension_count",
    "rope.scaling.type",
    // Says only that the model was trained with its scaling.
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "vocab_size",
    "tensor_data_layout",
    "expert_count",
    "expert_used_count",
];
/// Factors: 1 changes nothing.
const FACTORS: [&str; 7] = [
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "logit_scale",
    "embedding_scale",
    "residual_scale",
    "attention.scale",
];
/// Those of one scaling.
const YARN: [&str; 4] = [
    "rope.scaling.factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
];

/// What norms add to a mean square.
pub(super) fn eps(architecture: &str) -> &'static str {
    match architecture {
        "starcoder2" => "attention.layer_norm_epsilon",
        _ => "attention.layer_norm_rms_epsilon",
    }
}

/// Keys that an architecture computes with, and others do not have.
fn used(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "gemma2" => &[
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "attention.sliding_window_pattern",
        ],
        "gemma3" => {
            &["final_logit_softcapping", "attention.sliding_window_pattern", "rope.freq_base_swa"]
        }
        "phi3" => &["rope.scaling.attn_factor"],
        "qwen3moe" => &["expert_feed_forward_length"],
        "qwen2moe" => &["expert_feed_forward_length", "expert_shared_feed_forward_length"],
        "gpt-oss" => &["expert_feed_forward_length", "attention.sliding_window_pattern"],
        "olmo2" => &["attention.sliding_window_pattern", "rope.freq_base_swa"],
        "granite" => &["logit_scale", "embedding_scale", "residual_scale", "attention.scale"],
        _ => &[],
    }
}

/// Refuses the first key of this architecture that would change what the model says.
pub(super) fn known(metadata: &Metadata, architecture: &str) -> Result<(), ImportError> {
    let unsupported = |what: String| {
        let supported = "plain RoPE, Llama 3's, linear and yarn, and keys that change nothing";
        Err(ImportError::Unsupported { what, supported: supported.to_owned() })
    };
    let scaling = metadata.text(&format!("{architecture}.rope.scaling.type"));
    let factor = metadata.number(&format!("{architecture}.rope.scaling.factor"));
    let stretches = match scaling {
        None | Some("none") => false,
        Some("linear") if factor.is_none() => false,
        // Of Phi-3, whose factors are tensors.
        Some("longrope") if architecture == "phi3" => false,
        Some("linear") => factor.is_some_and(|factor| factor > 0.0),
        Some("yarn") if factor.is_some() => true,
        Some(kind) => {
            let kind: String = kind.chars().take(64).collect();
            return unsupported(format!("rope scaling {kind:?}"));
        }
    };
    // Of Granite it says whether anything turns.
    let finetuned = "rope.scaling.finetuned";
    if architecture == "granite"
        && metadata.bool(&format!("{architecture}.{finetuned}")) == Some(false)
    {
        return unsupported(format!("a Granite model without RoPE (granite.{finetuned})"));
    }
    for key in metadata.keys_of(architecture) {
        let is_neutral = FACTORS.contains(&key)
            && metadata.number(&format!("{architecture}.{key}")).is_some_and(|it| it == 1.0);
        let is_used = used(architecture).contains(&key) || (stretches && YARN.contains(&key));
        let is_eps = key == eps(architecture);
        if !KNOWN.contains(&key) && !is_neutral && !is_used && !is_eps {
            let key: String = key.chars().take(64).collect();
            return unsupported(format!("the key {architecture}.{key}"));
        }
    }
    Ok(())
}

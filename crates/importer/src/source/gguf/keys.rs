//! The keys by which a GGUF file describes its model: each is used, known to change nothing, or the
//! file is refused by its name.

use super::metadata::Metadata;
use crate::error::ImportError;

/// Those that the shape is made of, and those that are for other programs only.
const KNOWN: [&str; 19] = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
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

/// Refuses the first key of this architecture that would change what the model says.
pub(super) fn known(metadata: &Metadata, architecture: &str) -> Result<(), ImportError> {
    let unsupported = |what: String| {
        let supported = "plain RoPE and Llama 3's, and keys that change nothing".to_owned();
        Err(ImportError::Unsupported { what, supported })
    };
    let linear = metadata.text(&format!("{architecture}.rope.scaling.type"));
    if let Some(kind) = linear.filter(|kind| !matches!(*kind, "none" | "linear")) {
        let kind: String = kind.chars().take(64).collect();
        return unsupported(format!("rope scaling {kind:?}"));
    }
    for key in metadata.keys_of(architecture) {
        let is_neutral = FACTORS.contains(&key)
            && metadata.number(&format!("{architecture}.{key}")).is_some_and(|it| it == 1.0);
        if !KNOWN.contains(&key) && !is_neutral {
            let key: String = key.chars().take(64).collect();
            return unsupported(format!("the key {architecture}.{key}"));
        }
    }
    Ok(())
}

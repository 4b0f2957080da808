//! Keys of a configuration that would change what a model says, and that this arithmetic does not have:
//! each is there with the value that changes nothing, or the model is refused by its name.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::ImportError;

/// Factors: 1 changes nothing.
const FACTORS: [&str; 6] = [
    "logit_scale",
    "logits_scaling",
    "embedding_multiplier",
    "residual_multiplier",
    "embedding_scale",
    "scale_emb",
];
/// Amounts and switches: nothing, none, 0 and false change nothing.
const SWITCHES: [&str; 28] = [
    "attention_multiplier",
    "query_pre_attn_scalar",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "attention_sinks",
    "swiglu_limit",
    "swiglu_alpha",
    "clip_qkv",
    "qk_layernorm",
    "use_qk_norm",
    "use_parallel_residual",
    "parallel_attn",
    "alibi",
    "no_rope_layers",
    "no_rope_layer_interval",
    "rope_interleaved",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "n_shared_experts",
    "shared_expert_intermediate_size",
    "num_experts_per_tok",
    "scale_depth",
    "dim_model_base",
    "num_nextn_predict_layers",
    "hidden_size_per_layer_input",
    "use_bidirectional_attention",
    "attn_temperature_tuning",
];
/// Refuses the first key that is neither neutral nor one of `used`.
pub(super) fn neutral(keys: &BTreeMap<String, Value>, used: &[&str]) -> Result<(), ImportError> {
    let found =
        keys.iter().find(|(key, value)| !used.contains(&key.as_str()) && !is_neutral(key, value));
    let Some((key, value)) = found else { return Ok(()) };
    let value: String = value.to_string().chars().take(64).collect();
    Err(ImportError::Unsupported {
        what: format!("{key} {value} in config.json"),
        supported: "models that this key does not change".to_owned(),
    })
}

fn is_neutral(key: &str, value: &Value) -> bool {
    if FACTORS.contains(&key) {
        return value.is_null() || value.as_f64() == Some(1.0);
    }
    if SWITCHES.contains(&key) {
        let nothing = value.as_array().is_some_and(Vec::is_empty);
        return value.is_null()
            || nothing
            || value == &Value::Bool(false)
            || value.as_f64() == Some(0.0);
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changes_nothing_passes_and_what_would_is_named() {
        let read = |json: Value| neutral(&serde_json::from_value(json).unwrap(), &["scale_emb"]);
        read(json!({
            "logit_scale": 1.0, "embedding_multiplier": 1, "clip_qkv": null, "num_experts": 0, "alibi": false,
            "no_rope_layers": [], "torch_dtype": "bfloat16", "scale_emb": 12,
        }))
        .unwrap();
        for (key, value) in [
            ("logit_scale", json!(0.0625)),
            ("embedding_multiplier", json!(12.0)),
            ("final_logit_softcapping", json!(30.0)),
            ("num_local_experts", json!(8)),
            ("no_rope_layers", json!([1, 1, 1, 0])),
            ("clip_qkv", json!("8")),
        ] {
            let words = read(json!({ key: value })).unwrap_err().to_string();
            assert!(words.contains(key), "{words}");
        }
    }
}

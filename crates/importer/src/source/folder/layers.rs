//! What each layer of a folder's model is: with a window or without, turned or not.

use potluck_model::package::{LayerKind, MAX_LAYERS};
use serde_json::Value;

use super::config::{Config, unsupported};
use crate::error::ImportError;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";
/// Where files leave them out, as Hugging Face does.
const DEFAULT_WINDOW: u32 = 4096;
const GPT_OSS_WINDOW: u32 = 128;
const DEFAULT_MAX_WINDOW_LAYERS: u32 = 28;
const DEFAULT_UNTURNED_INTERVAL: u64 = 4;

/// What the layers are; those with a window turn by the second rotation where there is one of theirs.
pub(super) fn layers(config: &Config, architecture: &str) -> Result<Vec<LayerKind>, ImportError> {
    let layers = config.num_hidden_layers;
    if let Some(types) = &config.layer_types {
        if let Some(other) = types.iter().find(|it| ![FULL, SLIDING].contains(&it.as_str())) {
            let other: String = other.chars().take(64).collect();
            return unsupported(
                format!("layer_types {other:?}"),
                "full_attention and sliding_attention",
            );
        }
        if types.len() != layers as usize {
            let what = format!("layer_types of {} layers for {layers}", types.len());
            return unsupported(what, "one for each layer");
        }
    }
    // More are refused by their number.
    let indices = 0..layers.min(MAX_LAYERS);
    let listed =
        |index: u32| config.layer_types.as_ref().map(|types| types[index as usize] == SLIDING);
    let every = |n: u32| move |index: u32| !(index + 1).is_multiple_of(n.max(1));
    let uses = config.use_sliding_window.unwrap_or(false);
    let window = config.sliding_window.filter(|window| *window > 0);
    let (window, own): (Option<u32>, Box<dyn Fn(u32) -> bool>) = match architecture {
        // All of its layers or none, whatever else the file says.
        "starcoder2" => (window, Box::new(|_| true)),
        "mistral" | "mixtral" | "phi3" => {
            let mixed = indices.clone().any(|at| listed(at).is_some_and(|slides| !slides));
            if mixed && indices.clone().any(|at| listed(at) == Some(true)) {
                return unsupported(
                    format!("layer_types of two kinds in architecture {architecture:?}"),
                    "one window for all layers",
                );
            }
            let slides = config.use_sliding_window.unwrap_or(!mixed);
            (window.filter(|_| slides), Box::new(|_| true))
        }
        "qwen2" | "qwen3" => {
            let first = config.max_window_layers.unwrap_or(DEFAULT_MAX_WINDOW_LAYERS);
            (window.filter(|_| uses), Box::new(move |at| at >= first))
        }
        "qwen2moe" => {
            let end = config.max_window_layers.unwrap_or(DEFAULT_MAX_WINDOW_LAYERS);
            (window.filter(|_| uses), Box::new(move |at| at < end && every(2)(at)))
        }
        // All of its layers or none.
        "qwen3moe" => (window.filter(|_| uses), Box::new(|_| true)),
        "gemma2" => (window.or(Some(DEFAULT_WINDOW)), Box::new(every(2))),
        "gptoss" => (window.or(Some(GPT_OSS_WINDOW)), Box::new(every(2))),
        "gemma3" => {
            let pattern = config.sliding_window_pattern.unwrap_or(6);
            (window.or(Some(DEFAULT_WINDOW)), Box::new(every(pattern)))
        }
        "olmo3" => (window.or(Some(DEFAULT_WINDOW)), Box::new(every(4))),
        "smollm3" => {
            let unturned: Vec<bool> = indices.clone().map(|at| unturned(config, at)).collect();
            (window.filter(|_| uses), Box::new(move |at| unturned[at as usize]))
        }
        _ => {
            if indices.clone().any(|at| listed(at) == Some(true)) {
                let what = format!("layer_types with windows in architecture {architecture:?}");
                return unsupported(what, "layers that see all");
            }
            (None, Box::new(|_| false))
        }
    };
    let by_kind = matches!(architecture, "gemma3" | "olmo3");
    let kind = |index: u32| {
        let slides = match architecture {
            "mistral" | "mixtral" | "phi3" | "qwen3moe" | "starcoder2" => true,
            _ => listed(index).unwrap_or_else(|| own(index)),
        };
        let rotation = match architecture {
            "smollm3" if unturned(config, index) => None,
            _ => Some(u32::from(by_kind && slides)),
        };
        let experts = has_experts(config, architecture, index);
        LayerKind { window: window.filter(|_| slides), rotation, experts }
    };
    Ok(indices.map(kind).collect())
}

/// Whether a layer has experts in place of an MLP.
fn has_experts(config: &Config, architecture: &str, index: u32) -> bool {
    match architecture {
        "mixtral" | "olmoe" | "gptoss" => true,
        "qwen2moe" | "qwen3moe" => {
            let step = config.decoder_sparse_step.unwrap_or(1).max(1);
            let dense = config.mlp_only_layers.as_ref();
            (index + 1).is_multiple_of(step) && !dense.is_some_and(|all| all.contains(&index))
        }
        _ => false,
    }
}

/// Whether SmolLM3 leaves a layer's queries and keys as they are.
fn unturned(config: &Config, index: u32) -> bool {
    let listed = config.others.get("no_rope_layers").and_then(Value::as_array);
    if let Some(listed) = listed.filter(|listed| !listed.is_empty()) {
        // 1 is a layer that turns.
        return listed.get(index as usize).and_then(Value::as_u64) == Some(0);
    }
    let interval = config.others.get("no_rope_layer_interval").and_then(Value::as_u64);
    let interval = interval.unwrap_or(DEFAULT_UNTURNED_INTERVAL).max(1);
    (u64::from(index) + 1).is_multiple_of(interval)
}

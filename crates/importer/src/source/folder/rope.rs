//! What a folder says of its rotations.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, unsupported};
use crate::error::ImportError;
use crate::rope::{self, Llama3, Yarn};
use crate::source::Rotation;

/// Llama's own, where the file says nothing; and others' own.
const DEFAULT_THETA: f64 = 10_000.0;
const GEMMA3_THETA: f64 = 1_000_000.0;
const OLMO3_THETA: f64 = 500_000.0;
const SMOLLM3_THETA: f64 = 2_000_000.0;
const GPT_OSS_THETA: f64 = 150_000.0;
/// How much of a head turns in `StableLM`, where the file does not say.
const STABLELM_PART: f64 = 0.25;
/// Turns over the original context, above and below which YaRN calls a pair fast and slow.
const YARN_FAST: f64 = 32.0;
const YARN_SLOW: f64 = 1.0;

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// As it was spelled before; many files have both.
    #[serde(rename = "type")]
    old_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<u32>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
    partial_rotary_factor: Option<f64>,
    /// Says only that the model was trained with its scaling.
    #[serde(rename = "finetuned")]
    _finetuned: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// The rotations: of layers that see all, and of those with a window where they have their own.
pub(super) fn rotations(
    config: &Config,
    architecture: &str,
    head_dim: u32,
) -> Result<Vec<Rotation>, ImportError> {
    let parameters = config.rope_parameters.as_ref();
    let read = |value: Value| {
        serde_json::from_value::<Rope>(value)
            .or_else(|error| unsupported(format!("rope_parameters ({error})"), "numbers"))
    };
    let nested = |kind: &str| {
        let value = parameters.and_then(|it| it.get(kind)).filter(|value| !value.is_null());
        value.cloned().map(read).transpose()
    };
    let (full, sliding) = (nested("full_attention")?, nested("sliding_attention")?);
    let by_kind = matches!(architecture, "gemma3" | "olmo3");
    let flat = match parameters.filter(|_| full.is_none() && sliding.is_none()) {
        Some(flat) => Some(read(Value::Object(flat.clone().into_iter().collect()))?),
        None => config.rope_scaling.clone(),
    };
    if !by_kind && (full.is_some() || sliding.is_some()) {
        let what = format!("rope_parameters by kind of layer in architecture {architecture:?}");
        return unsupported(what, "one rotation for all layers");
    }
    let (own, local) = match architecture {
        "gemma3" => (GEMMA3_THETA, config.rope_local_base_freq.unwrap_or(DEFAULT_THETA)),
        "olmo3" => (OLMO3_THETA, config.rope_theta.unwrap_or(OLMO3_THETA)),
        "smollm3" => (SMOLLM3_THETA, SMOLLM3_THETA),
        "gptoss" => (GPT_OSS_THETA, GPT_OSS_THETA),
        _ => (DEFAULT_THETA, DEFAULT_THETA),
    };
    // Hugging Face would stretch it by numbers of its own.
    if architecture == "gptoss" && flat.is_none() {
        let what = "a gpt-oss model that does not say how it turns".to_owned();
        return unsupported(what, "rope_scaling or rope_parameters in config.json");
    }
    let own = config.rope_theta.unwrap_or(own);
    let (whole, flat_theta) =
        (full.or_else(|| flat.clone()).unwrap_or_default(), flat.and_then(|it| it.rope_theta));
    let mut all = vec![rotation(config, architecture, head_dim, &whole, own)?];
    if by_kind {
        // Layers with a window are not stretched, whatever the others are.
        let local = if architecture == "olmo3" { flat_theta.unwrap_or(local) } else { local };
        all.push(rotation(config, architecture, head_dim, &sliding.unwrap_or_default(), local)?);
    }
    Ok(all)
}

fn rotation(
    config: &Config,
    architecture: &str,
    head_dim: u32,
    rope: &Rope,
    theta: f64,
) -> Result<Rotation, ImportError> {
    const SUPPORTED: &str =
        "rope_type default, linear, dynamic, yarn, longrope and llama3, with their numbers";
    if let Some((key, _)) = rope.others.iter().find(|(_, value)| !value.is_null()) {
        let key: String = key.chars().take(64).collect();
        return unsupported(format!("{key} in the RoPE's parameters"), SUPPORTED);
    }
    let own = if architecture == "stablelm" { STABLELM_PART } else { 1.0 };
    let part = rope.partial_rotary_factor.or(config.partial_rotary_factor).unwrap_or(own);
    let may_be_partial = matches!(architecture, "phi3" | "stablelm");
    if !(part > 0.0 && part <= 1.0) || (part != 1.0 && !may_be_partial) {
        let what = format!("partial_rotary_factor {part}");
        return unsupported(what, "heads that are rotated whole, but for Phi-3's and StableLM's");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most the head's width"
    )]
    let width = (f64::from(head_dim) * part) as u32;
    let theta = rope.rope_theta.unwrap_or(theta);
    let plain = rope::frequencies(theta, width)?;
    if plain.is_empty() || !width.is_multiple_of(2) {
        return unsupported(format!("{width} dimensions of a head that turn"), "an even number");
    }
    let turning = |frequencies: Vec<f64>| Rotation { frequencies, long: None, scale: 1.0 };
    let kind = match (&rope.rope_type, &rope.old_type) {
        (Some(new), Some(old)) if new != old => {
            let said: String = format!("{new} and {old}").chars().take(64).collect();
            return unsupported(format!("a RoPE of two types at once ({said})"), SUPPORTED);
        }
        (new, old) => new.as_deref().or(old.as_deref()),
    };
    // Phi-3's first files call it by other names.
    let kind = kind.map(|kind| match kind {
        "su" | "yarn" if architecture == "phi3" => "longrope",
        kind => kind,
    });
    let original = config
        .original_max_position_embeddings
        .or(rope.original_max_position_embeddings)
        .unwrap_or(config.max_position_embeddings);
    let stretch = f64::from(config.max_position_embeddings) / f64::from(original.max(1));
    let factor = rope.factor.filter(|factor| factor.is_finite() && *factor > 0.0);
    let missing = |kind: &str| {
        unsupported(format!("a {kind} RoPE that leaves out one of its numbers"), SUPPORTED)
    };
    let rotation = match kind {
        // It stretches only beyond the positions that the model was made for, which end the context.
        Some("default" | "dynamic") => turning(plain),
        None if rope.factor.is_none() => turning(plain),
        Some("linear") => match factor {
            Some(factor) => turning(plain.into_iter().map(|it| it / factor).collect()),
            None => return missing("linear"),
        },
        Some("llama3") => {
            let numbers = (
                rope.factor,
                rope.low_freq_factor,
                rope.high_freq_factor,
                rope.original_max_position_embeddings.map(f64::from),
            );
            let (Some(factor), Some(low), Some(high), Some(original)) = numbers else {
                return missing("llama3");
            };
            turning(rope::llama3(plain, Llama3 { factor, low, high, original })?)
        }
        Some("yarn") => {
            let factor = rope.factor.unwrap_or(stretch);
            let scaling = Yarn {
                theta,
                factor,
                fast: rope.beta_fast.unwrap_or(YARN_FAST),
                slow: rope.beta_slow.unwrap_or(YARN_SLOW),
                original: f64::from(original),
                truncate: rope.truncate.unwrap_or(true),
            };
            let scale = rope.attention_factor.unwrap_or_else(|| {
                match (
                    rope.mscale.filter(|it| *it != 0.0),
                    rope.mscale_all_dim.filter(|it| *it != 0.0),
                ) {
                    (Some(one), Some(all)) => {
                        rope::yarn_scale(factor, one) / rope::yarn_scale(factor, all)
                    }
                    _ => rope::yarn_scale(factor, 1.0),
                }
            });
            Rotation { scale, ..turning(rope::yarn(plain, scaling)?) }
        }
        Some("longrope") => {
            let (Some(short), Some(long)) = (&rope.short_factor, &rope.long_factor) else {
                return missing("longrope");
            };
            let own = || rope::longrope_scale(rope.factor.unwrap_or(stretch), f64::from(original));
            Rotation {
                long: Some((original, rope::divided(plain.clone(), long)?)),
                frequencies: rope::divided(plain, short)?,
                scale: rope.attention_factor.unwrap_or_else(own),
            }
        }
        other => {
            let other: String = other.unwrap_or("none").chars().take(64).collect();
            return unsupported(format!("rope_type {other}"), SUPPORTED);
        }
    };
    // Cosines and sines are kept below 2.
    if !(rotation.scale > 0.0 && rotation.scale < 1.99) {
        return unsupported(format!("a RoPE's attention factor of {}", rotation.scale), "below 2");
    }
    Ok(rotation)
}

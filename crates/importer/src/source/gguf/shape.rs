//! A GGUF file's keys to a decoder's shape.

use potluck_model::package::{Experts, LayerKind, MAX_LAYERS, NormKind, NormPlaces};

use super::keys;
use super::metadata::Metadata;
use crate::error::ImportError;
use crate::rope::{self, Yarn};
use crate::source::tensors::Tensors;
use crate::source::{Activation, Biases, QkNorm, Rotation, Scales, Shape, shared_experts};

/// Those of which a file is compared with its folder in the tests. `olmo2` with windows is `olmo3`.
pub(super) const KNOWN: [&str; 14] = [
    "llama",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "phi3",
    "granite",
    "olmo2",
    "smollm3",
    "qwen3moe",
    "olmoe",
    "gpt-oss",
    "qwen2moe",
    "starcoder2",
];
/// Those whose queries and keys llama.cpp's converter interleaves.
pub(super) const INTERLEAVED: [&str; 3] = ["llama", "granite", "smollm3"];
/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;
/// Between a number and the `f32` that a file has of it, below 2.
const MOST_ROUNDED: f64 = 1e-7;
/// Of Gemma 3's layers with a window, and SmolLM3's every so many layers that do not turn.
const LOCAL_THETA: f64 = 10_000.0;
const UNTURNED_INTERVAL: u32 = 4;
/// What no file of gpt-oss says.
const GPT_OSS_LIMIT: f64 = 7.0;
/// Gemma 2's window and caps, which its first files leave out.
const GEMMA2_WINDOW: u32 = 4096;
const GEMMA2_ATTENTION_CAP: f64 = 50.0;
const GEMMA2_LOGIT_CAP: f64 = 30.0;
/// The window of Phi-3's first files of 4096 positions, which leave it out too.
const PHI3_WINDOW: (u32, u32) = (4096, 2047);
/// The window of all that there are of `StarCoder2`, of which no file says it.
const STARCODER2_WINDOW: u32 = 4096;
/// Layers of Gemma 2 and 3 of 27 billion weights, whose scores have a scale of their own.
const GEMMA_27B_LAYERS: [(&str, u32); 2] = [("gemma2", 46), ("gemma3", 62)];

fn unsupported<T>(what: String, supported: &str) -> Result<T, ImportError> {
    Err(ImportError::Unsupported { what, supported: supported.to_owned() })
}

pub(super) fn shape(
    metadata: &Metadata,
    architecture: &'static str,
    tensors: &Tensors,
) -> Result<Shape, ImportError> {
    let key = |name: &str| format!("{architecture}.{name}");
    let needed = |name: &str| {
        metadata
            .integer(&key(name))?
            .ok_or_else(|| ImportError::Weights(format!("the file does not say {}", key(name))))
    };
    keys::known(metadata, architecture)?;
    let experts = experts(metadata, architecture)?;
    let (heads, d_model) = (needed("attention.head_count")?, needed("embedding_length")?);
    if heads == 0 {
        return unsupported("a model without heads".to_owned(), "at least one attention head");
    }
    let head_dim = metadata.integer(&key("attention.key_length"))?.unwrap_or(d_model / heads);
    let turning = metadata.integer(&key("rope.dimension_count"))?.unwrap_or(head_dim);
    let values = metadata.integer(&key("attention.value_length"))?.unwrap_or(head_dim);
    let partial = turning < head_dim && turning.is_multiple_of(2) && architecture == "phi3";
    for (same, width) in [("attention.value_length", values), ("rope.dimension_count", turning)] {
        if width != head_dim && !(partial && width == turning) {
            return unsupported(
                format!("{} other than the heads' width {head_dim}", key(same)),
                "heads that are rotated whole, but for Phi-3's",
            );
        }
    }
    let rows = tensors
        .shape("model.embed_tokens.weight")
        .and_then(|shape| shape.first().copied())
        .unwrap_or(0);
    let is_gemma = architecture.starts_with("gemma");
    let is_olmo = architecture == "olmo2";
    let is_gpt_oss = architecture == "gpt-oss";
    let is_starcoder = architecture == "starcoder2";
    let layers = needed("block_count")?;
    let number = |name: &str| metadata.number(&key(name));
    let own_cap = |cap: f64| (architecture == "gemma2").then_some(cap);
    let window = window(metadata, architecture)?;
    let bias = |part: &str| tensors.has(&format!("model.layers.0.{part}.bias"));
    let mut shape = Shape {
        architecture: match architecture {
            "olmo2" if window.is_some() => "olmo3",
            "llama" if experts.is_some() => "mixtral",
            "gpt-oss" => "gptoss",
            other => other,
        },
        layers,
        d_model,
        d_ff: needed("feed_forward_length")?,
        heads,
        kv_heads: metadata.integer(&key("attention.head_count_kv"))?.unwrap_or(heads),
        head_dim,
        vocab: u32::try_from(rows).unwrap_or(u32::MAX),
        max_positions: needed("context_length")?,
        eps: metadata.float(&key(keys::eps(architecture))).unwrap_or(1e-5),
        tied: !tensors.has("lm_head.weight"),
        kinds: Vec::new(),
        experts,
        rotations: Vec::new(),
        norms: match () {
            () if is_gemma => NormPlaces::Both,
            () if is_olmo => NormPlaces::After,
            () => NormPlaces::Before,
        },
        norm: if is_starcoder { NormKind::Layer } else { NormKind::Rms },
        // The converter has added what Gemma adds.
        gain_offset: 0.0,
        qk_norm: match architecture {
            "qwen3" | "qwen3moe" | "gemma3" => QkNorm::Heads,
            "olmo2" | "olmoe" => QkNorm::Rows,
            _ => QkNorm::None,
        },
        biases: Biases {
            qkv: matches!(architecture, "qwen2" | "qwen2moe") || bias("self_attn.q_proj"),
            output: bias("self_attn.o_proj"),
            mlp: is_gpt_oss || bias(if is_starcoder { "mlp.up_proj" } else { "mlp.gate_proj" }),
        },
        sinks: is_gpt_oss,
        mlp_limit: is_gpt_oss.then_some(GPT_OSS_LIMIT),
        activation: match () {
            () if is_gemma || is_starcoder => Activation::GeluTanh,
            () if is_gpt_oss => Activation::QuickGelu,
            () => Activation::Silu,
        },
        ungated: is_starcoder,
        scales: scales(architecture, (layers, d_model, heads, head_dim), number),
        attention_cap: number("attn_logit_softcapping").or(own_cap(GEMMA2_ATTENTION_CAP)),
        logit_cap: number("final_logit_softcapping").or(own_cap(GEMMA2_LOGIT_CAP)),
    };
    let rotations = rotations(metadata, architecture, turning, tensors)?;
    let mut kinds = layer_kinds(metadata, architecture, layers, window)?;
    kinds.iter_mut().for_each(|kind| kind.experts = experts.is_some());
    shape.set_layers(kinds, rotations);
    Ok(shape)
}

/// What Mixtral, whose files call themselves Llama, Qwen 3 and `OLMo` have in place of MLPs. Whether the
/// weights of the chosen are made to sum to one no file says: llama.cpp knows it.
fn experts(
    metadata: &Metadata,
    architecture: &'static str,
) -> Result<Option<Experts>, ImportError> {
    let needed = |name: &str| {
        let key = format!("{architecture}.{name}");
        let missing = || ImportError::Weights(format!("the file does not say {key}"));
        metadata.integer(&key)?.ok_or_else(missing)
    };
    let count = metadata.integer(&format!("{architecture}.expert_count"))?.unwrap_or(0);
    if count == 0 {
        return Ok(None);
    }
    let (width, renormalised) = match architecture {
        "llama" => ("feed_forward_length", true),
        "qwen3moe" => ("expert_feed_forward_length", true),
        "olmoe" => ("feed_forward_length", false),
        "gpt-oss" => ("expert_feed_forward_length", true),
        "qwen2moe" => ("expert_feed_forward_length", false),
        _ => {
            let what = format!("a mixture of experts in architecture {architecture:?}");
            return unsupported(what, "those of Mixtral, Qwen 2 and 3 MoE, OLMoE and gpt-oss");
        }
    };
    let (used, d_ff) = (needed("expert_used_count")?, needed(width)?);
    let router_bias = architecture == "gpt-oss";
    let shared = match architecture {
        "qwen2moe" => shared_experts(needed("expert_shared_feed_forward_length")?, d_ff)?,
        _ => 0,
    };
    Ok(Some(Experts { count, used, d_ff, renormalised, router_bias, shared }))
}

fn scales(
    architecture: &str,
    (layers, d_model, heads, head_dim): (u32, u32, u32, u32),
    number: impl Fn(&str) -> Option<f64>,
) -> Scales {
    let mut scales = Scales::plain(head_dim);
    if architecture.starts_with("gemma") {
        scales.embedding = libm::sqrt(f64::from(d_model));
        // The files do not say it; llama.cpp knows it by the number of layers.
        if GEMMA_27B_LAYERS.contains(&(architecture, layers)) {
            scales.score = 1.0 / libm::sqrt(f64::from(d_model / heads));
        }
    }
    if architecture == "granite" {
        let number = |name: &str| number(name).filter(|it| *it != 0.0).map(decimal);
        scales.embedding = number("embedding_scale").unwrap_or(1.0);
        scales.residual = number("residual_scale").unwrap_or(1.0);
        scales.logit = 1.0 / number("logit_scale").unwrap_or(1.0);
        scales.score = number("attention.scale").unwrap_or(scales.score);
    }
    scales
}

/// The decimal that a model's makers wrote: the shortest of those that a file rounds to this `f32`.
#[expect(clippy::cast_possible_truncation, reason = "a number that was rounded before")]
pub(super) fn decimal(rounded: f64) -> f64 {
    (rounded as f32).to_string().parse().unwrap_or(rounded)
}

/// How far back layers with a window see; Phi-3's files say 0 where there is none.
fn window(metadata: &Metadata, architecture: &str) -> Result<Option<u32>, ImportError> {
    let said = metadata.integer(&format!("{architecture}.attention.sliding_window"))?;
    let context = metadata.integer(&format!("{architecture}.context_length"))?;
    let own = match architecture {
        "gemma2" => Some(GEMMA2_WINDOW),
        "starcoder2" => Some(STARCODER2_WINDOW),
        "phi3" if context == Some(PHI3_WINDOW.0) => Some(PHI3_WINDOW.1),
        _ => None,
    };
    Ok(said.or(own).filter(|window| *window > 0))
}

fn layer_kinds(
    metadata: &Metadata,
    architecture: &str,
    layers: u32,
    window: Option<u32>,
) -> Result<Vec<LayerKind>, ImportError> {
    let pattern = format!("{architecture}.attention.sliding_window_pattern");
    let listed = metadata.numbers(&pattern);
    if let Some(listed) = listed.filter(|listed| listed.len() != layers as usize) {
        let words = format!("{pattern} has {} entries for {layers} layers", listed.len());
        return Err(ImportError::Weights(words));
    }
    let every = match (architecture, listed) {
        (_, Some(_)) => None,
        ("gemma2" | "gpt-oss", None) => Some(metadata.integer(&pattern)?.unwrap_or(2)),
        ("gemma3", None) => Some(metadata.integer(&pattern)?.unwrap_or(6)),
        ("olmo2", None) => Some(metadata.integer(&pattern)?.unwrap_or(4)),
        _ => None,
    };
    let kind = |index: u32| {
        let slides = match (listed, every) {
            (Some(listed), _) => listed.get(index as usize).is_some_and(|it| *it != 0.0),
            (None, Some(every)) => !(index + 1).is_multiple_of(every.max(1)),
            (None, None) => true,
        };
        let slides = slides && window.is_some();
        let local = slides && matches!(architecture, "gemma3" | "olmo2");
        let unturned = architecture == "smollm3" && (index + 1).is_multiple_of(UNTURNED_INTERVAL);
        LayerKind {
            window: window.filter(|_| slides),
            rotation: (!unturned).then_some(u32::from(local)),
            experts: false,
        }
    };
    // More are refused by their number.
    Ok((0..layers.min(MAX_LAYERS)).map(kind).collect())
}

/// Of layers that see all, and of those with a window where they have their own.
fn rotations(
    metadata: &Metadata,
    architecture: &str,
    turning: u32,
    tensors: &Tensors,
) -> Result<Vec<Rotation>, ImportError> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let theta = metadata.float(&key("freq_base")).unwrap_or(DEFAULT_THETA);
    let plain = rope::frequencies(theta, turning)?;
    let factors = |name: &str| {
        let Some(shape) = tensors.shape(name).map(<[usize]>::to_vec) else { return Ok(None) };
        tensors.rows(name, &shape, 0..shape.first().copied().unwrap_or(0)).map(Some)
    };
    let mut rotation = Rotation { frequencies: plain.clone(), long: None, scale: 1.0 };
    if let Some(factors) = factors("rope_freqs.weight")? {
        rotation.frequencies = rope::divided(plain.clone(), &factors)?;
    }
    let factor = metadata.number(&key("scaling.factor"));
    let original = metadata.integer(&key("scaling.original_context_length"))?;
    let trained = metadata.integer(&format!("{architecture}.context_length"))?.unwrap_or(0);
    let stretch = metadata.number(&key("scaling.attn_factor")).unwrap_or(1.0);
    match (metadata.text(&key("scaling.type")), factor) {
        (Some("linear"), Some(factor)) if factor.is_finite() && factor > 0.0 => {
            rotation.frequencies.iter_mut().for_each(|it| *it /= factor);
        }
        (Some("yarn"), Some(factor)) => {
            let scaling = Yarn {
                theta,
                factor,
                fast: metadata.number(&key("scaling.yarn_beta_fast")).unwrap_or(32.0),
                slow: metadata.number(&key("scaling.yarn_beta_slow")).unwrap_or(1.0),
                original: f64::from(original.unwrap_or(trained)),
                // No file says it; llama.cpp takes whole pairs always, gpt-oss's makers do not.
                truncate: architecture != "gpt-oss",
            };
            rotation.frequencies = rope::yarn(rotation.frequencies, scaling)?;
            rotation.scale = rope::yarn_scale(factor, 1.0);
            // What the model's makers wrote; llama.cpp takes its own, which theirs should be.
            let theirs = metadata.number(&key("scaling.yarn_attn_factor"));
            if let Some(theirs) = theirs.filter(|it| (it - rotation.scale).abs() > MOST_ROUNDED) {
                let supported = format!("0.1 ln(factor) + 1, here {}", rotation.scale);
                return unsupported(format!("a yarn_attn_factor of {theirs}"), &supported);
            }
        }
        _ => (),
    }
    let by_length = (factors("rope_factors_short.weight")?, factors("rope_factors_long.weight")?);
    match (by_length, original) {
        ((Some(short), Some(long)), Some(original)) => {
            rotation.frequencies = rope::divided(plain.clone(), &short)?;
            rotation.long = Some((original, rope::divided(plain, &long)?));
            // The file has it rounded to `f32`.
            let longer = f64::from(trained) / f64::from(original.max(1));
            let own = rope::longrope_scale(longer, f64::from(original));
            rotation.scale = if (own - stretch).abs() > MOST_ROUNDED { stretch } else { own };
        }
        ((None, None), _) => rotation.scale *= stretch,
        _ => {
            let what = "LongRoPE factors without all of short, long and original_context_length";
            return unsupported(what.to_owned(), "all three");
        }
    }
    if !(rotation.scale > 0.0 && rotation.scale < 1.99) {
        return unsupported(format!("a RoPE's attention factor of {}", rotation.scale), "below 2");
    }
    // Layers with a window are not stretched, whatever the others are.
    let said = metadata.float(&key("freq_base_swa"));
    let local = match architecture {
        "gemma3" => said.unwrap_or(LOCAL_THETA),
        "olmo2" => match said.filter(|said| *said != theta) {
            // Llama.cpp turns them by the others' all the same, `transformers` does not.
            Some(said) => {
                return unsupported(format!("{} {said}", key("freq_base_swa")), "freq_base");
            }
            None => theta,
        },
        _ => return Ok(vec![rotation]),
    };
    let frequencies = rope::frequencies(local, turning)?;
    Ok(vec![rotation, Rotation { frequencies, long: None, scale: 1.0 }])
}

//! A GGUF file's keys to a decoder's shape.

use potluck_model::package::{LayerKind, MAX_LAYERS, NormPlaces};

use super::keys;
use super::metadata::Metadata;
use crate::error::ImportError;
use crate::rope::{self, Yarn};
use crate::source::tensors::Tensors;
use crate::source::{Activation, Biases, QkNorm, Rotation, Scales, Shape};

/// Those of which a file is compared with its folder in the tests. What the others write is read below as
/// llama.cpp does; until a file of each is compared they are refused, rather than read wrong in silence.
pub(super) const KNOWN: [&str; 3] = ["llama", "qwen2", "qwen3"];
/// Those whose queries and keys llama.cpp's converter interleaves.
pub(super) const INTERLEAVED: [&str; 3] = ["llama", "granite", "smollm3"];
/// Llama's own, where the file says nothing.
const DEFAULT_THETA: f64 = 10_000.0;
/// Of Gemma 3's layers with a window, and SmolLM3's every so many layers that do not turn.
const LOCAL_THETA: f64 = 10_000.0;
const UNTURNED_INTERVAL: u32 = 4;
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
    if metadata.integer(&key("expert_count"))?.unwrap_or(0) > 0 {
        return unsupported("a mixture of experts".to_owned(), "one MLP a layer");
    }
    keys::known(metadata, architecture)?;
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
    let layers = needed("block_count")?;
    let number = |name: &str| metadata.number(&key(name));
    let bias = |part: &str| tensors.has(&format!("model.layers.0.{part}.bias"));
    let mut shape = Shape {
        architecture,
        layers,
        d_model,
        d_ff: needed("feed_forward_length")?,
        heads,
        kv_heads: metadata.integer(&key("attention.head_count_kv"))?.unwrap_or(heads),
        head_dim,
        vocab: u32::try_from(rows).unwrap_or(u32::MAX),
        max_positions: needed("context_length")?,
        eps: metadata.float(&key("attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
        tied: !tensors.has("lm_head.weight"),
        kinds: Vec::new(),
        rotations: Vec::new(),
        norms: match () {
            () if is_gemma => NormPlaces::Both,
            () if is_olmo => NormPlaces::After,
            () => NormPlaces::Before,
        },
        // The converter has added what Gemma adds.
        gain_offset: 0.0,
        qk_norm: match architecture {
            "qwen3" | "gemma3" => QkNorm::Heads,
            "olmo2" => QkNorm::Rows,
            _ => QkNorm::None,
        },
        biases: Biases {
            qkv: architecture == "qwen2" || bias("self_attn.q_proj"),
            output: bias("self_attn.o_proj"),
            mlp: bias("mlp.gate_proj"),
        },
        activation: if is_gemma { Activation::GeluTanh } else { Activation::Silu },
        scales: scales(architecture, (layers, d_model, heads, head_dim), number),
        attention_cap: number("attn_logit_softcapping"),
        logit_cap: number("final_logit_softcapping"),
    };
    let rotations = rotations(metadata, architecture, turning, tensors)?;
    shape.set_layers(layer_kinds(metadata, architecture, layers)?, rotations);
    Ok(shape)
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
        scales.embedding = number("embedding_scale").unwrap_or(1.0);
        scales.residual = number("residual_scale").unwrap_or(1.0);
        scales.logit = 1.0 / number("logit_scale").filter(|scale| *scale != 0.0).unwrap_or(1.0);
        scales.score = number("attention.scale").filter(|it| *it != 0.0).unwrap_or(scales.score);
    }
    scales
}

fn layer_kinds(
    metadata: &Metadata,
    architecture: &str,
    layers: u32,
) -> Result<Vec<LayerKind>, ImportError> {
    let key = |name: &str| format!("{architecture}.attention.{name}");
    let window = metadata.integer(&key("sliding_window"))?.filter(|window| *window > 0);
    let pattern = key("sliding_window_pattern");
    let listed = metadata.numbers(&pattern);
    let every = match (architecture, listed) {
        (_, Some(_)) => None,
        ("gemma2", None) => Some(metadata.integer(&pattern)?.unwrap_or(2)),
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
    let stretch = metadata.number(&key("scaling.attn_factor")).unwrap_or(1.0);
    match (metadata.text(&key("scaling.type")), factor) {
        (Some("linear"), Some(factor)) if factor.is_finite() && factor > 0.0 => {
            rotation.frequencies.iter_mut().for_each(|it| *it /= factor);
        }
        (Some("yarn"), Some(factor)) => {
            let trained = metadata.integer(&format!("{architecture}.context_length"))?;
            let scaling = Yarn {
                theta,
                factor,
                fast: metadata.number(&key("scaling.yarn_beta_fast")).unwrap_or(32.0),
                slow: metadata.number(&key("scaling.yarn_beta_slow")).unwrap_or(1.0),
                original: f64::from(original.or(trained).unwrap_or(0)),
                truncate: true,
            };
            rotation.frequencies = rope::yarn(rotation.frequencies, scaling)?;
            rotation.scale = rope::yarn_scale(factor, 1.0);
        }
        _ => (),
    }
    if let (Some(short), Some(long), Some(original)) =
        (factors("rope_factors_short.weight")?, factors("rope_factors_long.weight")?, original)
    {
        rotation.frequencies = rope::divided(plain.clone(), &short)?;
        rotation.long = Some((original, rope::divided(plain, &long)?));
    }
    rotation.scale *= stretch;
    if !(rotation.scale > 0.0 && rotation.scale < 1.99) {
        return unsupported(format!("a RoPE's attention factor of {}", rotation.scale), "below 2");
    }
    // Layers with a window are not stretched, whatever the others are.
    let local = match architecture {
        "gemma3" => metadata.float(&key("freq_base_swa")).unwrap_or(LOCAL_THETA),
        "olmo2" => theta,
        _ => return Ok(vec![rotation]),
    };
    let frequencies = rope::frequencies(local, turning)?;
    Ok(vec![rotation, Rotation { frequencies, long: None, scale: 1.0 }])
}

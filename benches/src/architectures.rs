//! `cargo xtask bench architectures`: what the parts of an architecture cost, beside a plain Llama that
//! multiplies as much a token.
//!
//! All have the same width, heads and vocabulary, and experts are as wide as lets a token go through
//! as many weights as an MLP has. They take turns, so that a ratio is of two numbers of one moment.

use std::time::Duration;

use e2e::measured::Measured;
use e2e::median::median;
use futures::executor::block_on;
use potluck_engine::engine::BackendChoice;
use potluck_model::package::{
    Eps, Experts, LIMIT_BITS, LayerKind, ModelConfig, NormKind, NormPlaces, SoftCap,
};
use potluck_model::synthetic;

use crate::rate::Subject;

/// Layers, width, width of the MLP.
const DEPTH: (u32, u32, u32) = (12, 576, 1536);
const HEADS: (u32, u32, u32) = (9, 3, 64);
const VOCAB: u32 = 8_192;
const POSITIONS: u32 = 1_024;
/// Of layers that have one.
const WINDOW: u32 = 128;
/// Where decoding begins: beyond a window.
const TEXT: u32 = 256;
/// Rest between two measurements, so that none heats the processor for the next.
const REST: Duration = Duration::from_millis(50);

/// Architectures by what they have besides; the first is what the others are compared with.
fn architectures() -> Vec<(&'static str, ModelConfig)> {
    let (layers, d_model, d_ff) = DEPTH;
    let plain = || synthetic::config(layers, d_model, d_ff, HEADS, VOCAB, POSITIONS);
    let eps = Eps { mantissa: plain().eps_mantissa, exponent: plain().eps_exponent };
    let kinds = |of: &dyn Fn(u32) -> LayerKind| (0..layers).map(of).collect::<Vec<LayerKind>>();
    let windows = |every: u32| {
        kinds(&|index| LayerKind {
            window: ((index + 1) % every != 0).then_some(WINDOW),
            ..LayerKind::PLAIN
        })
    };
    let experts = kinds(&|_| LayerKind { experts: true, ..LayerKind::PLAIN });
    // As many weights a token as an MLP has.
    let routed = |count, used| Experts {
        count,
        used,
        d_ff: d_ff / used,
        renormalised: true,
        router_bias: false,
        shared: 0,
    };
    let cap = |exponent| SoftCap { inverse: 40_000, exponent };
    let gemma2 = ModelConfig {
        norms: NormPlaces::Both,
        layer_kinds: windows(2),
        attention_cap: Some(cap(6)),
        logit_cap: Some(cap(4)),
        ..plain()
    };
    let gemma3 = ModelConfig {
        norms: NormPlaces::Both,
        layer_kinds: windows(6),
        qk_norm: Some(eps),
        ..plain()
    };
    let olmo2 = ModelConfig { norms: NormPlaces::After, qk_row_norm: Some([eps, eps]), ..plain() };
    let smollm3 = ModelConfig {
        layer_kinds: kinds(&|index| LayerKind {
            rotation: (index % 4 != 3).then_some(0),
            ..LayerKind::PLAIN
        }),
        ..plain()
    };
    let starcoder2 = ModelConfig {
        norm: NormKind::Layer,
        ungated: true,
        // Two matrices in place of three.
        d_ff: d_ff * 3 / 2,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        ..plain()
    };
    let qwen3moe = ModelConfig {
        experts: Some(routed(64, 8)),
        layer_kinds: experts.clone(),
        qk_norm: Some(eps),
        ..plain()
    };
    let gptoss = ModelConfig {
        experts: Some(Experts { router_bias: true, ..routed(16, 4) }),
        layer_kinds: windows(2)
            .into_iter()
            .map(|kind| LayerKind { experts: true, ..kind })
            .collect(),
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        mlp_limit: Some(7 << LIMIT_BITS),
        sinks: true,
        ..plain()
    };
    let mixtral = ModelConfig { experts: Some(routed(8, 2)), layer_kinds: experts, ..plain() };
    vec![
        ("Llama", plain()),
        ("Qwen 2", ModelConfig { qkv_bias: true, ..plain() }),
        ("Qwen 3", ModelConfig { qk_norm: Some(eps), ..plain() }),
        ("Gemma 2", gemma2),
        ("Gemma 3", gemma3),
        ("OLMo 2", olmo2),
        ("SmolLM3", smollm3),
        ("StarCoder2", starcoder2),
        ("Mixtral", mixtral),
        ("Qwen 3 MoE", qwen3moe),
        ("gpt-oss", gptoss),
    ]
}

/// Tokens a second of each, and how that stands to the first.
///
/// # Errors
/// If one does not load, or a step fails.
pub fn measure(runs: u32, prefill: u32, decode: u32) -> anyhow::Result<Vec<Measured>> {
    let mut subjects = Vec::new();
    for (name, config) in architectures() {
        subjects.push((name, block_on(Subject::random(BackendChoice::Cpu, config))?));
    }
    let backend = subjects.first().map_or("", |(_, subject)| subject.backend());
    let mut rates = vec![(Vec::new(), Vec::new()); subjects.len()];
    for _ in 0..runs {
        for ((_, subject), (taken, drawn)) in subjects.iter_mut().zip(&mut rates) {
            std::thread::sleep(REST);
            taken
                .push(f64::from(prefill.max(TEXT)) / block_on(subject.prefill(prefill.max(TEXT)))?);
            drawn.push(f64::from(decode) / block_on(subject.decode(decode))?);
        }
    }
    let first = rates.first().cloned().unwrap_or_default();
    let ratio = |own: &[f64], first: &[f64]| {
        median(&own.iter().zip(first).map(|(own, first)| own / first).collect::<Vec<f64>>())
    };
    let mut table = Vec::new();
    for ((name, _), (taken, drawn)) in subjects.iter().zip(&rates) {
        for (what, own, first) in [("prefill", taken, &first.0), ("decode", drawn, &first.1)] {
            let name = format!("{name}, {backend}, {what}");
            table.push(Measured::new(&name, median(own), "tokens/s"));
            table.push(Measured::new(&format!("{name} / Llama"), ratio(own, first), "×"));
        }
    }
    Ok(table)
}

//! The two tables: the engine by itself, and beside its peers.

use std::path::Path;

use anyhow::{bail, ensure};
use e2e::measured::Measured;
use e2e::median::median;

use crate::encoders;
use crate::native::{Native, cores, handing_over};
use crate::page::{Page, Work, serve};
use crate::peers;
use crate::shapes::Shape;
use potluck_model::package::BlobRole;
use potluck_model::synthetic::Synthetic;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Turns of each; medians count.
    pub runs: u32,
    /// Tokens of a text.
    pub prefill: u32,
    /// Tokens to sample.
    pub decode: u32,
    /// Whether pages are measured too.
    pub pages: bool,
    /// Whether the encoder is measured too.
    pub encoder: bool,
}

const RATE: &str = "tokens/s";
/// What the peers are to be beaten by: wllama's decode and prefill, llama.cpp's.
const WLLAMA_DECODE_AIM: f64 = 4.0;
const WLLAMA_PREFILL_AIM: f64 = 2.5;
const LLAMA_CPP_DECODE_AIM: f64 = 1.3;
const LLAMA_CPP_PREFILL_AIM: f64 = 1.0;
/// Layers of a step whose cost on the processor is measured, and what it may be.
const STEP_LAYERS: u32 = 16;
const STEP_AIM_MS: f64 = 0.6;
/// Tokens of a measurement on a software adapter.
const SOFTWARE_TOKENS: u32 = 16;
/// Sessions that are decoded together.
const SESSIONS: u32 = 8;
/// What a browser may cost at most.
const WEBGPU_AIM: f64 = 0.9;
/// A model of about a gigabyte, and what of it may be in a page's memory at a time.
const STREAMED_SHAPE: &str = "Llama-3.2-1B";
const STREAMING_AIM_MB: f64 = 200.0;
/// And onnxruntime-web, whose vectors ours must be.
const ONNXRUNTIME_AIM: f64 = 1.5;
const LEAST_COSINE: f64 = 0.9998;
/// Pages hold weights in one wasm memory beside the file they came from: only the smallest shape.
const PAGE_SHAPE: &str = "SmolLM2-135M";

/// The engine by itself, on every backend of this machine.
///
/// # Errors
/// If one fails.
pub async fn engine(plan: Plan, shapes: &[Shape], pages: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut table = Vec::new();
    if let Some(milliseconds) = handing_over(STEP_LAYERS)? {
        let name =
            format!("one decode step of {STEP_LAYERS} layers handed to a GPU, processor time");
        table.push(Measured::new(&name, milliseconds, "ms").aiming_at(STEP_AIM_MS));
    }
    for shape in shapes {
        for threads in counts() {
            let mut native = Native::cpu(shape, threads)?;
            let heading = format!("{}, {}, {}", shape.name, native.backend(), plural(threads));
            alone(plan, &heading, &mut native, &mut table)?;
            together(plan, &heading, &mut native, &mut table)?;
        }
        if let Some(mut native) = Native::gpu(shape) {
            let heading = format!("{}, GPU {}", shape.name, native.adapter());
            alone(plan, &heading, &mut native, &mut table)?;
            together(plan, &heading, &mut native, &mut table)?;
        }
        if plan.pages && shape.name == PAGE_SHAPE {
            in_a_page(plan, shape, pages, &mut table).await?;
            on_webgpu(plan, shape, pages, &mut table).await?;
        }
        if plan.pages && shape.name == STREAMED_SHAPE {
            streamed(shape, pages, &mut table).await?;
        }
    }
    Ok(table)
}

fn alone(
    plan: Plan,
    heading: &str,
    native: &mut Native,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        prefill.push(native.prefill(plan.prefill)?);
        decode.push(native.decode(plan.decode)?);
    }
    table.push(Measured::new(&format!("{heading}, prefill"), median(&prefill), RATE));
    table.push(Measured::new(&format!("{heading}, decode"), median(&decode), RATE));
    Ok(())
}

/// Several sessions that go through the layers together, beside one alone.
fn together(
    plan: Plan,
    heading: &str,
    native: &mut Native,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let (mut many, mut one) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        many.push(native.decode_together(SESSIONS, plan.decode)?);
        one.push(native.decode(plan.decode)?);
    }
    let name = format!("{heading}, {SESSIONS} sessions in one step, decode; peer: one session");
    table.push(Measured::in_turns(&name, &many, &one, RATE));
    Ok(())
}

async fn in_a_page(
    plan: Plan,
    shape: &Shape,
    pages: &Path,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let server = serve(pages, peers::folder(), peers::folder()).await?;
    let Plan { prefill, decode, .. } = plan;
    let page =
        Page::open(server, Work { shape: shape.name, prefill, decode, gpu: false, peers: false })
            .await?;
    for what in ["prefill", "decode"] {
        let mut rates = Vec::new();
        for _ in 0..plan.runs {
            rates.extend(page.measure(&format!("ours-{what}")).await?);
        }
        let name = format!("{}, {} in a page, 1 thread, {what}", shape.name, page.backend());
        table.push(Measured::new(&name, median(&rates), RATE));
    }
    Ok(())
}

/// WebGPU in a page beside the same kernels in a native program, both on the software adapter that
/// the browser brings.
async fn on_webgpu(
    plan: Plan,
    shape: &Shape,
    pages: &Path,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let Some(mut native) = peers::swiftshader(shape)? else {
        eprintln!(
            "SKIPPED: WebGPU in a page: the browser brings no software adapter that a program could load"
        );
        return Ok(());
    };
    let server = serve(pages, peers::folder(), peers::folder()).await?;
    // It is slow: a few tokens are measured precisely enough.
    let (prefill, decode) = (plan.prefill.min(SOFTWARE_TOKENS), plan.decode.min(SOFTWARE_TOKENS));
    let page =
        Page::open(server, Work { shape: shape.name, prefill, decode, gpu: true, peers: false })
            .await?;
    let mut rates = [(); 4].map(|()| Vec::new());
    for _ in 0..plan.runs {
        rates[0].extend(page.measure("ours-prefill").await?);
        rates[1].push(native.prefill(prefill)?);
        rates[2].extend(page.measure("ours-decode").await?);
        rates[3].push(native.decode(decode)?);
    }
    let [prefill, native_prefill, decode, native_decode] = &rates;
    let row = |what: &str, ours: &[f64], theirs: &[f64]| {
        let name = format!(
            "{}, WebGPU in a page (SwiftShader), {what}; peer: the same natively",
            shape.name
        );
        Measured::in_turns(&name, ours, theirs, RATE)
    };
    table.push(row("prefill", prefill, native_prefill));
    table.push(row("decode", decode, native_decode).aiming_at_ratio(WEBGPU_AIM));
    Ok(())
}

/// The memory of a page's wasm while a model's layers go through it into the GPU.
async fn streamed(shape: &Shape, pages: &Path, table: &mut Vec<Measured>) -> anyhow::Result<()> {
    let shapes = peers::folder().join("shapes");
    std::fs::create_dir_all(&shapes)?;
    // One layer stands for all: every one has the same size.
    std::fs::write(
        shapes.join("layer.blob"),
        Synthetic::part(&shape.config(), 1, BlobRole::Layer(0)),
    )?;
    let server = serve(pages, peers::folder(), shapes).await?;
    let page = Page::streaming(server, shape.name).await?;
    let [model, heap] = page.measure("stream").await?[..] else {
        bail!("streaming gives other numbers than it did")
    };
    let name = format!("{}, {model:.0} MB of layers into WebGPU, wasm heap at most", shape.name);
    table.push(Measured::new(&name, heap, "MB").aiming_at(STREAMING_AIM_MB));
    Ok(())
}

/// Ours and theirs in turns, on the same shapes.
///
/// # Errors
/// If a peer cannot be installed or fails.
pub async fn beside_peers(
    plan: Plan,
    shapes: &[Shape],
    pages: &Path,
) -> anyhow::Result<Vec<Measured>> {
    let mut table = Vec::new();
    for shape in shapes {
        let weights = peers::weights(shape)?;
        for threads in counts() {
            let (mut ours, mut theirs) =
                (Native::cpu(shape, threads)?, peers::llama_cpp(&weights, threads)?);
            let heading = format!("{}, native, {}", shape.name, plural(threads));
            let mut rates = [(); 4].map(|()| Vec::new());
            for _ in 0..plan.runs {
                rates[0].push(ours.prefill(plan.prefill)?);
                rates[1].push(theirs.prefill(plan.prefill)?);
                rates[2].push(ours.decode(plan.decode)?);
                rates[3].push(theirs.decode(plan.decode)?);
            }
            let [prefill, their_prefill, decode, their_decode] = &rates;
            let row = |what: &str, ours: &[f64], theirs: &[f64]| {
                Measured::in_turns(
                    &format!("{heading}, {what}; peer: llama.cpp Q8_0"),
                    ours,
                    theirs,
                    RATE,
                )
            };
            table.push(
                row("prefill", prefill, their_prefill).aiming_at_ratio(LLAMA_CPP_PREFILL_AIM),
            );
            table.push(row("decode", decode, their_decode).aiming_at_ratio(LLAMA_CPP_DECODE_AIM));
        }
        if plan.pages && shape.name == PAGE_SHAPE {
            beside_wllama(plan, shape, pages, &mut table).await?;
        }
    }
    if plan.pages && plan.encoder {
        beside_onnxruntime(plan, pages, &mut table).await?;
    }
    Ok(table)
}

async fn beside_onnxruntime(
    plan: Plan,
    pages: &Path,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let shapes = peers::folder().join("shapes");
    if !encoders::prepare(&shapes)? {
        eprintln!("SKIPPED: the encoder, which was not downloaded (POTLUCK_MINILM)");
        return Ok(());
    }
    let server = serve(pages, peers::npm_packages()?, shapes).await?;
    for (gpu, on) in [(false, "1 thread"), (true, "SwiftShader")] {
        let page = Page::encoder(server, gpu).await?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first of each also warms up.
        for turn in 0..=plan.runs {
            for (hook, rates) in [("ours-encode", &mut ours), ("onnxruntime", &mut theirs)] {
                let measured = page.measure(hook).await?;
                let [rate, cosine] = measured[..] else {
                    bail!("{hook} gives other numbers than it did")
                };
                ensure!(
                    cosine >= LEAST_COSINE,
                    "the encoders compute different things: cosine {cosine}"
                );
                if turn > 0 {
                    rates.push(rate);
                }
            }
        }
        let (texts, backend) = (encoders::BATCH, page.backend());
        let name =
            format!("MiniLM, {texts} texts, {backend} in a page, {on}; peer: onnxruntime-web f32");
        table.push(
            Measured::in_turns(&name, &ours, &theirs, "texts/s").aiming_at_ratio(ONNXRUNTIME_AIM),
        );
    }
    Ok(())
}

async fn beside_wllama(
    plan: Plan,
    shape: &Shape,
    pages: &Path,
    table: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let server = serve(pages, peers::npm_packages()?, peers::folder().join("shapes")).await?;
    let Plan { prefill, decode, .. } = plan;
    let page =
        Page::open(server, Work { shape: shape.name, prefill, decode, gpu: false, peers: true })
            .await?;
    let mut rates = [(); 4].map(|()| Vec::new());
    for _ in 0..plan.runs {
        rates[0].extend(page.measure("ours-prefill").await?);
        rates[2].extend(page.measure("ours-decode").await?);
        let [their_prefill, their_decode] = page.measure("wllama").await?[..] else {
            bail!("wllama gives other numbers than it did");
        };
        rates[1].push(their_prefill);
        rates[3].push(their_decode);
    }
    let [prefill, their_prefill, decode, their_decode] = &rates;
    let row = |what: &str, ours: &[f64], theirs: &[f64]| {
        let name = format!(
            "{}, {} in a page, 1 thread, {what}; peer: wllama Q8_0",
            shape.name,
            page.backend()
        );
        Measured::in_turns(&name, ours, theirs, RATE)
    };
    table.push(row("prefill", prefill, their_prefill).aiming_at_ratio(WLLAMA_PREFILL_AIM));
    table.push(row("decode", decode, their_decode).aiming_at_ratio(WLLAMA_DECODE_AIM));
    Ok(())
}

/// Numbers of threads worth measuring.
fn counts() -> Vec<usize> {
    let mut counts = vec![1, cores()];
    counts.dedup();
    counts
}

fn plural(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

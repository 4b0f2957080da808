//! The two tables: the engine by itself, and beside its peers.

use std::path::Path;

use e2e::measured::Measured;
use e2e::median::median;

use crate::native::{Native, cores};
use crate::page::{Page, Work, serve};
use crate::peers::{self, LlamaCpp};
use crate::shapes::Shape;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Turns of each; medians count.
    pub runs: u32,
    /// Tokens of a text.
    pub prefill: u32,
    /// Tokens to draw.
    pub decode: u32,
    /// Whether pages are measured too.
    pub pages: bool,
}

const RATE: &str = "tokens/s";
/// What the peers are to be beaten by: wllama's decode and prefill, llama.cpp's.
const WLLAMA_DECODE_AIM: f64 = 4.0;
const WLLAMA_PREFILL_AIM: f64 = 2.5;
const LLAMA_CPP_DECODE_AIM: f64 = 1.3;
const LLAMA_CPP_PREFILL_AIM: f64 = 1.0;
/// Pages hold weights in one wasm memory beside the file they came from: only the smallest shape.
const PAGE_SHAPE: &str = "SmolLM2-135M";

/// The engine by itself, on every backend of this machine.
///
/// # Errors
/// If one fails.
pub async fn engine(plan: Plan, shapes: &[Shape], pages: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut table = Vec::new();
    for shape in shapes {
        for threads in counts() {
            let mut native = Native::cpu(shape, threads)?;
            let heading = format!("{}, {}, {}", shape.name, native.backend(), plural(threads));
            alone(plan, &heading, &mut native, &mut table)?;
        }
        if let Some(mut native) = Native::gpu(shape) {
            let heading = format!("{}, GPU {}", shape.name, native.adapter());
            alone(plan, &heading, &mut native, &mut table)?;
        }
        if plan.pages && shape.name == PAGE_SHAPE {
            in_a_page(plan, shape, pages, &mut table).await?;
        }
    }
    Ok(table)
}

fn alone(plan: Plan, heading: &str, native: &mut Native, table: &mut Vec<Measured>) -> anyhow::Result<()> {
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..plan.runs {
        prefill.push(native.prefill(plan.prefill)?);
        decode.push(native.decode(plan.decode)?);
    }
    table.push(Measured::new(&format!("{heading}, prefill"), median(&prefill), RATE));
    table.push(Measured::new(&format!("{heading}, decode"), median(&decode), RATE));
    Ok(())
}

async fn in_a_page(plan: Plan, shape: &Shape, pages: &Path, table: &mut Vec<Measured>) -> anyhow::Result<()> {
    let server = serve(pages, peers::folder(), peers::folder()).await?;
    let Plan { prefill, decode, .. } = plan;
    let page = Page::open(server, Work { shape: shape.name, prefill, decode, gpu: false, peers: false }).await?;
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

/// Ours and theirs in turns, on the same shapes.
///
/// # Errors
/// If a peer cannot be installed or fails.
pub async fn beside_peers(plan: Plan, shapes: &[Shape], pages: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut table = Vec::new();
    for shape in shapes {
        let weights = peers::weights(shape)?;
        for threads in counts() {
            let (mut ours, mut theirs) = (Native::cpu(shape, threads)?, LlamaCpp::load(&weights, threads)?);
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
                Measured::in_turns(&format!("{heading}, {what}; peer: llama.cpp Q8_0"), ours, theirs, RATE)
            };
            table.push(row("prefill", prefill, their_prefill).aiming_at_ratio(LLAMA_CPP_PREFILL_AIM));
            table.push(row("decode", decode, their_decode).aiming_at_ratio(LLAMA_CPP_DECODE_AIM));
        }
        if plan.pages && shape.name == PAGE_SHAPE {
            beside_wllama(plan, shape, pages, &mut table).await?;
        }
    }
    Ok(table)
}

async fn beside_wllama(plan: Plan, shape: &Shape, pages: &Path, table: &mut Vec<Measured>) -> anyhow::Result<()> {
    let server = serve(pages, peers::npm_packages()?, peers::folder().join("shapes")).await?;
    let Plan { prefill, decode, .. } = plan;
    let page = Page::open(server, Work { shape: shape.name, prefill, decode, gpu: false, peers: true }).await?;
    let mut rates = [(); 4].map(|()| Vec::new());
    for _ in 0..plan.runs {
        rates[0].extend(page.measure("ours-prefill").await?);
        rates[2].extend(page.measure("ours-decode").await?);
        let [their_prefill, their_decode] = page.measure("wllama").await?[..] else {
            anyhow::bail!("wllama gives other numbers than it did");
        };
        rates[1].push(their_prefill);
        rates[3].push(their_decode);
    }
    let [prefill, their_prefill, decode, their_decode] = &rates;
    let row = |what: &str, ours: &[f64], theirs: &[f64]| {
        let name = format!("{}, {} in a page, 1 thread, {what}; peer: wllama Q8_0", shape.name, page.backend());
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

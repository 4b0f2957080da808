//! Our engine in this process, on as many cores as wanted.

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::Context as _;
use e2e::median::median;
use futures::executor::block_on;
use potluck_engine::engine::BackendChoice;
use potluck_engine::gpu::{Gpu, SessionRows};
use potluck_model::package::{BlobRole, LayerWeights, Tables};
use potluck_model::synthetic::{self, Synthetic};

use crate::rate::Subject;
use crate::shapes::Shape;

/// A loaded engine and the threads it may use.
#[derive(Debug)]
pub struct Native {
    threads: rayon::ThreadPool,
    subject: Subject,
}

impl Native {
    /// An engine with random weights on the CPU.
    ///
    /// # Errors
    /// If it does not load.
    pub fn cpu(shape: &Shape, threads: usize) -> anyhow::Result<Self> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let subject =
            threads.install(|| block_on(Subject::random(BackendChoice::Cpu, shape.config())));
        Ok(Self {
            threads,
            subject: subject.with_context(|| format!("{} does not load", shape.name))?,
        })
    }

    /// An engine on a GPU, a software one too; none where there is no adapter, or it cannot do the
    /// shape.
    #[must_use]
    pub fn gpu(shape: &Shape) -> Option<Self> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(1).build().ok()?;
        let subject = block_on(Subject::random(BackendChoice::Gpu, shape.config())).ok()?;
        Some(Self { threads, subject })
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        self.subject.backend()
    }

    /// Its name.
    #[must_use]
    pub fn adapter(&self) -> String {
        self.subject.adapter().to_owned()
    }

    /// Tokens a second of a text of `tokens`.
    ///
    /// # Errors
    /// If a step fails.
    pub fn prefill(&mut self, tokens: u32) -> anyhow::Result<f64> {
        let Self { threads, subject } = self;
        Ok(f64::from(tokens) / threads.install(|| block_on(subject.prefill(tokens)))?)
    }

    /// Tokens a second of drawing `tokens`.
    ///
    /// # Errors
    /// If a step fails.
    pub fn decode(&mut self, tokens: u32) -> anyhow::Result<f64> {
        let Self { threads, subject } = self;
        Ok(f64::from(tokens) / threads.install(|| block_on(subject.decode(tokens)))?)
    }

    /// Tokens a second of all sessions together, each drawing `tokens`.
    ///
    /// # Errors
    /// If a step fails.
    pub fn decode_together(&mut self, sessions: u32, tokens: u32) -> anyhow::Result<f64> {
        let Self { threads, subject } = self;
        let seconds = threads.install(|| block_on(subject.decode_together(sessions, tokens)))?;
        Ok(f64::from(sessions * tokens) / seconds)
    }
}

/// Cores of this machine.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Milliseconds that the processor is busy handing one decode step of so many layers to a GPU: the
/// median of many. It does not depend on the layers' size, so they are small. None where there is
/// no adapter.
///
/// # Errors
/// If a step fails.
pub fn handing_over(layers: u32) -> anyhow::Result<Option<f64>> {
    const STEPS: u32 = 200;
    let Ok(mut gpu) = block_on(Gpu::new(true, None)) else { return Ok(None) };
    let config = synthetic::config(layers, 64, 64, (2, 1, 32), 32, STEPS);
    let model = Synthetic::new(config.clone(), 1);
    gpu.set_model(&model.manifest, &Tables::from_bytes(&config, model.blob(BlobRole::Tables))?)?;
    for index in 0..layers {
        gpu.load_layer(
            index,
            &LayerWeights::from_bytes(&config, index, model.blob(BlobRole::Layer(index)))?,
        )?;
    }
    gpu.open_session(1, 0..layers)?;
    let row = vec![1 << 12; 64];
    let mut milliseconds = Vec::new();
    for position in 0..STEPS {
        let step = SessionRows { session: 1, position, rows: &row, want: None };
        let begun = Instant::now();
        let submitted = block_on(gpu.submit(&[step]))?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        block_on(gpu.collect(submitted))?;
    }
    Ok(Some(median(&milliseconds)))
}

/// Obeys [`crate::peers::Driven`] on a GPU until stdin ends.
///
/// # Errors
/// If there is none, a step fails, or a line is no command.
pub fn obey(shape: &Shape, input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    let mut native =
        Native::gpu(shape).with_context(|| format!("no adapter for {}", shape.name))?;
    writeln!(output, "ready")?;
    for line in input.lines() {
        let line = line?;
        let (what, tokens) =
            line.split_once(' ').with_context(|| format!("{line:?} is no command"))?;
        let tokens: u32 = tokens.parse()?;
        let rate = match what {
            "prefill" => native.prefill(tokens)?,
            "decode" => native.decode(tokens)?,
            other => anyhow::bail!("{other:?} cannot be measured"),
        };
        writeln!(output, "{}", f64::from(tokens) / rate)?;
    }
    Ok(())
}

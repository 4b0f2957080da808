//! Our engine in this process, on as many cores as wanted.

use std::num::NonZeroUsize;

use anyhow::Context as _;
use futures::executor::block_on;
use potluck_engine::engine::BackendChoice;

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
        let subject = threads.install(|| block_on(Subject::random(BackendChoice::Cpu, shape.config())));
        Ok(Self { threads, subject: subject.with_context(|| format!("{} does not load", shape.name))? })
    }

    /// An engine on a GPU, a software one too; none where there is no adapter, or it cannot do the shape.
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
}

/// Cores of this machine.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

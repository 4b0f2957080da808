//! The demo's command line.

use clap::Parser;
use e2e::browser::is_available;
use e2e::question::Question;

/// Run a whole swarm on this machine and ask it something.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo", version)]
pub(crate) struct Options {
    /// What to ask.
    #[arg(long, default_value = "Tell me a story about a fox and a lantern.")]
    pub(crate) prompt: String,
    /// Tokens to sample at most; the model's own limit if left out.
    #[arg(long)]
    pub(crate) max_tokens: Option<u32>,
    /// 0 always takes the likeliest token.
    #[arg(long, default_value = "0.7")]
    pub(crate) temperature: String,
    /// Seed of the sampler: the same seed gives the same answer on any machine.
    #[arg(long, default_value_t = 2026)]
    pub(crate) seed: u64,
    /// Headless browsers that lend; 0 where no Chromium with chromedriver is found.
    #[arg(long, default_value_t = 2)]
    pub(crate) browsers: usize,
    /// Native nodes that lend.
    #[arg(long, default_value_t = 1)]
    pub(crate) natives: usize,
    /// Port of the page on this machine; 0 takes any free one.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// End after the answer instead of staying up.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print one JSON object on stdout, and all else on stderr.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// The question that the swarm is asked.
    pub(crate) fn question(&self) -> Question {
        Question {
            prompt: self.prompt.clone(),
            seed: self.seed,
            max_tokens: self.max_tokens,
            temperature: Some(self.temperature.clone()),
            repetition_penalty: None,
            further: Vec::new(),
        }
    }

    /// How many browsers can take part.
    ///
    /// # Errors
    /// If there must be some and there are none.
    pub(crate) fn browsers(&self) -> anyhow::Result<usize> {
        Ok(if self.browsers > 0 && is_available()? { self.browsers } else { 0 })
    }
}

//! Counters for whoever watches a gateway, in the text form of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Since the gateway started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: AtomicU64,
    refused: AtomicU64,
    answers: AtomicU64,
    failed: AtomicU64,
    prompt_tokens: AtomicU64,
    kept_tokens: AtomicU64,
    tokens: AtomicU64,
}

impl Metrics {
    pub(crate) fn note_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered with an error's status.
    pub(crate) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_prompt(&self, tokens: u32, kept: u32) {
        self.prompt_tokens.fetch_add(tokens.into(), Ordering::Relaxed);
        self.kept_tokens.fetch_add(kept.into(), Ordering::Relaxed);
    }

    /// An answer ended, whole or not.
    pub(crate) fn note_answer(&self, tokens: u32, is_whole: bool) {
        let counter = if is_whole { &self.answers } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens.into(), Ordering::Relaxed);
    }

    pub(crate) fn text(&self) -> String {
        let counters = [
            ("requests", "HTTP requests", &self.requests),
            ("refused_requests", "HTTP requests answered with an error", &self.refused),
            ("answers", "Answers that were sent whole", &self.answers),
            ("broken_answers", "Answers that ended before their end", &self.failed),
            ("prompt_tokens", "Tokens of prompts", &self.prompt_tokens),
            (
                "kept_prompt_tokens",
                "Of these, tokens that were not computed again",
                &self.kept_tokens,
            ),
            ("tokens", "Tokens of answers", &self.tokens),
        ];
        let mut text = String::new();
        for (name, help, counter) in counters {
            let name = format!("potluck_gateway_{name}_total");
            let value = counter.load(Ordering::Relaxed);
            let _always =
                writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter\n{name} {value}");
        }
        text
    }
}

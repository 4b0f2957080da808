//! `cargo xtask bench`: how fast the swarm on this machine answers, how soon a visitor serves, what a hop costs, what the page weighs.
//!
//! Everything is measured from outside on the programs as built, medians over several runs; nothing is asserted. The yardstick of every
//! rate is the same answer computed by the same kernels in one process, so that a ratio shows what being a swarm costs.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

mod measure;

use std::process::ExitCode;

use clap::Parser;
use e2e::table::layout;
use serde::Serialize;

/// Measure Potluck on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", version)]
struct Options {
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Tokens to draw in each run.
    #[arg(long, default_value_t = 128)]
    max_tokens: u32,
    /// Print one JSON array on stdout, and all else on stderr.
    #[arg(long)]
    json: bool,
}

/// One measured number.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    /// What was measured.
    name: String,
    /// The median.
    value: f64,
    /// Its unit.
    unit: &'static str,
    /// What it is compared with, in the same unit.
    peer: Option<f64>,
    /// `value / peer`.
    ratio: Option<f64>,
    /// What it should be: at least that for rates, at most that for times and sizes.
    aim: Option<f64>,
}

impl Measured {
    fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, peer: None, ratio: None, aim: None }
    }

    fn against(mut self, peer: f64) -> Self {
        self.peer = Some(peer);
        self.ratio = (peer > 0.0).then(|| self.value / peer);
        self
    }

    fn aiming_at(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let measured = match measure::everything(options.runs, options.max_tokens).await {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if options.json {
        println!("{}", serde_json::json!(measured));
    } else {
        println!("{}", table(&measured));
    }
    ExitCode::SUCCESS
}

fn table(measured: &[Measured]) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|row| {
            let [value, peer, ratio, aim] = [Some(row.value), row.peer, row.ratio, row.aim].map(number);
            vec![row.name.clone(), value, row.unit.to_owned(), peer, ratio, aim]
        })
        .collect();
    layout(&["what", "value", "unit", "peer", "ratio", "aim"], &rows)
}

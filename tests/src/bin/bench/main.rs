//! `cargo xtask bench`: how fast the swarm on this machine answers, how soon a visitor serves, what
//! a hop costs, what the page weighs; `bench swarm`: how it bears many requesters and volunteers
//! who die; `bench server`: how the server bears ten thousand members.
//!
//! Everything is measured from outside on the programs as built, medians over several runs; nothing
//! is asserted. The reference of every rate is the same answer computed by the same kernels in one
//! process, so that a ratio shows what being a swarm costs.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

mod measure;
mod server;
mod swarm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::measured::table;
use server::Outcome;

/// Measure Potluck on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", version)]
struct Options {
    /// What to measure; the whole way of an answer if left out.
    what: Option<What>,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Tokens to sample in each run.
    #[arg(long, default_value_t = 128)]
    max_tokens: u32,
    /// Volunteers to kill in the middle of answers; of `swarm`.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// A tenth of everything; of `server`.
    #[arg(long)]
    quick: bool,
    /// Only this part, may be given several times; of `server`.
    #[arg(long, value_enum)]
    only: Vec<server::Part>,
    /// Measure this build of potluck-server; of `server`. The optimised one if left out.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Print one JSON array on stdout, and all else on stderr.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// Many requesters at once, and volunteers who die.
    Swarm,
    /// Ten thousand members of one server.
    Server,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let Options { runs, max_tokens, kills, json, quick, .. } = options;
    let whole = |measured| Outcome { measured, failures: Vec::new() };
    let outcome = match options.what {
        None => measure::everything(runs, max_tokens).await.map(whole),
        Some(What::Swarm) => swarm::everything(runs, max_tokens, kills).await.map(whole),
        Some(What::Server) => {
            let options = server::Options { quick, program: options.program, only: options.only };
            server::everything(&options).await
        }
    };
    let Outcome { measured, failures } = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    if json {
        println!("{}", serde_json::json!(measured));
    } else {
        println!("{}", table(&measured));
    }
    for failure in &failures {
        eprintln!("bench: not everything could be measured: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! How the server bears many: what a socket costs, how soon a question has its way, how many
//! receipts it credits, how fast it is read, and what a slow attacker does to its members.
//!
//! A real server, whose members are made here and speak the protocol as nodes do, on the same
//! machine: what their own work takes from the two cores is in every time. Processor and memory are
//! the server's alone, from `/proc`.
//!
//! | file | what |
//! |---|---|
//! | `rig` | the server, with limits raised so that one machine may be everybody |
//! | `receipts` | receipts with a table full of older ones, which `filling` makes |
//! | `crowd` | ten thousand members: sockets and heartbeats, then routes and reading |
//! | `reading` | a steady stream of requests for a resource |
//! | `slowloris` | requests that never end, beside members |
//! | `page` | what a visitor's browser loads before anything is agreed to |

mod crowd;
mod filling;
mod page;
mod reading;
mod receipts;
mod rig;
mod slowloris;

use std::path::PathBuf;

use e2e::measured::Measured;
use e2e::process::Folder;
use e2e::usage;

use rig::Builder;

/// What `cargo xtask bench server` is told.
#[derive(Debug)]
pub(crate) struct Options {
    /// A tenth of everything.
    pub(crate) quick: bool,
    /// A build of the server; the optimised one if left out, or else the one beside this program.
    pub(crate) program: Option<PathBuf>,
    /// Which parts, by their names; all if empty.
    pub(crate) only: Vec<Part>,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Receipts a second.
    Receipts,
    /// Sockets, heartbeats, routes, reading.
    Crowd,
    /// Members beside an attacker.
    Slowloris,
    /// Bytes before consent.
    Page,
}

/// What was found: a server that breaks under one part is still measured in the others.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What could be measured.
    pub(crate) measured: Vec<Measured>,
    /// Why the rest could not.
    pub(crate) failures: Vec<String>,
}

/// Open files that the largest part needs, here and in the server: a socket for each member.
const OPEN_FILES: u64 = 16_000;

/// How much of everything there is.
#[derive(Clone, Copy, Debug)]
struct Scale {
    quick: bool,
}

impl Scale {
    /// So many, or a tenth of it.
    fn of(self, count: usize) -> usize {
        if self.quick { (count / 10).max(1) } else { count }
    }

    /// So many seconds, or a tenth.
    fn seconds(self, seconds: f64) -> f64 {
        if self.quick { seconds / 10.0 } else { seconds }
    }
}

/// Runs all of them, saying on stderr what is being measured.
///
/// # Errors
/// If there is no server to measure.
pub(crate) async fn everything(options: &Options) -> anyhow::Result<Outcome> {
    usage::allow_open_files(OPEN_FILES)?;
    let builder = Builder::new(options.program.clone())?;
    eprintln!("{}; the server is {}", usage::processor(), builder.build());
    let scale = Scale { quick: options.quick };
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let mut outcome = Outcome::default();
    // The crowd reads the tally of the receipts' table, so both have one data folder.
    let folder = Folder::new()?;
    let (data, rows) = (folder.path(), &mut outcome.measured);
    let mut failures = Vec::new();
    if wanted(Part::Receipts) {
        failures.extend(receipts::measure(&builder, data, scale, rows).await.err());
    }
    if wanted(Part::Crowd) {
        failures.extend(crowd::measure(&builder, data, scale, rows).await.err());
    }
    if wanted(Part::Slowloris) {
        failures.extend(slowloris::measure(&builder, scale, rows).await.err());
    }
    if wanted(Part::Page) {
        failures.extend(page::measure(&builder, rows).await.err());
    }
    outcome.failures = failures.iter().map(|error| format!("{error:#}")).collect();
    Ok(outcome)
}

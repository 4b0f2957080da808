//! What is linked into Potluck, against `deny.toml`: licences, where crates come from, and known
//! faults, where the database of advisories is on this machine.
//!
//! Reads the part of cargo-deny's configuration that this project uses, so that either program may
//! check it. This one is built in seconds with what the tests compile anyway; cargo-deny takes
//! minutes. It downloads nothing.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

mod advisories;
mod packages;
mod policy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use e2e::programs::root;

use packages::packages;
use policy::Policy;

/// Check what is linked into Potluck.
#[derive(Debug, Parser)]
struct Options {
    /// A checkout of <https://github.com/rustsec/advisory-db>; without it no advisories are looked
    /// at.
    #[arg(long)]
    advisories: Option<PathBuf>,
}

fn main() -> ExitCode {
    match check(&Options::parse()) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("{fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("dependencies: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that is wrong, a line each.
fn check(options: &Options) -> anyhow::Result<Vec<String>> {
    let file = root().join("deny.toml");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let policy = Policy::parse(&text)?;
    let packages = packages()?;
    let mut faults: Vec<String> =
        packages.iter().flat_map(|package| policy.faults(package)).collect();
    match &options.advisories {
        Some(folder) => {
            let found = advisories::matching(folder, &packages)?;
            for note in found.iter().filter(|advisory| !advisory.is_fault()) {
                println!("note: {note}");
            }
            let ignored = |id: &str| policy.ignores_advisory(id);
            let faulty = found.iter().filter(|found| found.is_fault() && !ignored(found.id()));
            faults.extend(faulty.map(ToString::to_string));
        }
        None => println!("advisories were not looked at: no database was named"),
    }
    println!("{} crates looked at", packages.len());
    Ok(faults)
}

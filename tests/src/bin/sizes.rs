//! `sizes FOLDER`: prints what the page weighs on the wire, and fails where that is more than it must
//! be.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use e2e::sizes::measure;

fn main() -> ExitCode {
    match sizes() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sizes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn sizes() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: sizes FOLDER, such as dist")?;
    let sizes = measure(&folder)?;
    for size in &sizes {
        println!(
            "{:<12} {:>5} KB with Brotli, {:>5} KB as built; aim {} KB",
            size.name,
            size.brotli_bytes / 1000,
            size.raw_bytes / 1000,
            size.aim_bytes / 1000
        );
    }
    if let Some(size) = sizes.iter().find(|size| size.is_too_large()) {
        bail!("{} has {} bytes, aim {}", size.name, size.brotli_bytes, size.aim_bytes);
    }
    Ok(())
}

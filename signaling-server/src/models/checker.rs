//! Starts the program that compares a model with the floats it was made from, `potluck-model-check` of
//! the crate `potluck-reference`.
//!
//! A program of its own, beside this one: so the server links no kernels, and a model too large for
//! this machine ends that program and not the import.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

const CHECKER: &str = "potluck-model-check";

/// What is measured on.
#[derive(Clone, Copy, Debug)]
pub(super) enum On<'a> {
    /// A file.
    Text(&'a Path),
    /// The program's own text.
    ShortText,
    /// The same, where that takes seconds.
    ShortTextIfQuick,
}

/// Compares the model `name` with the files at `against`; gives what the program printed.
///
/// # Errors
/// If the program is missing or fails.
pub(super) fn run(
    name: &str,
    on: On<'_>,
    against: &Path,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let program = std::env::current_exe()
        .context("where this program lies cannot be found out")?
        .with_file_name(format!("{CHECKER}{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        program.exists(),
        "the program that compares, {CHECKER}, is not beside this one: {} is missing; build it with \
         `cargo build -p potluck-reference`",
        program.display()
    );
    let mut command = Command::new(&program);
    command.arg(name);
    match on {
        On::Text(text) => command.arg("--text").arg(text),
        On::ShortText => &mut command,
        On::ShortTextIfQuick => command.arg("--if-quick"),
    };
    let output = command
        .arg("--against")
        .arg(against)
        .arg("--data-dir")
        .arg(data_dir)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start {}", program.display()))?;
    ensure!(output.status.success(), "{CHECKER} failed ({})", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

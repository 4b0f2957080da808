//! Where Potluck's own programs and files lie: beside this one, and in the repository.
//!
//! Builds nothing; what is missing is named together with the command that builds it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A native program of this workspace, built into the same target folder as the program that runs
/// now.
///
/// # Errors
/// If it is not there.
pub fn native(name: &str) -> anyhow::Result<PathBuf> {
    let here = env::current_exe().context("this program's own path is not known")?;
    // target/debug/demo, or target/debug/deps/some_test-0123456789abcdef
    let program = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(format!("{name}{}", env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file());
    program.with_context(|| {
        format!("{name} is not built beside {}; run `cargo build`", here.display())
    })
}

/// A native program built in the profile `server`, for people to run rather than to test with.
///
/// # Errors
/// If it is not there.
pub fn optimised(name: &str) -> anyhow::Result<PathBuf> {
    let program = root().join("target/server").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !program.is_file() {
        bail!("{name} is not built for use; run `cargo build --profile server -p {name}`");
    }
    Ok(program)
}

/// The built page.
///
/// # Errors
/// If it is not there.
pub fn page() -> anyhow::Result<PathBuf> {
    let folder = root().join("dist");
    if !folder.join("index.html").is_file() {
        bail!("the page is not built; run `cargo xtask build`");
    }
    Ok(folder)
}

/// The model that ships with the repository.
#[must_use]
pub fn model() -> PathBuf {
    root().join("models/potluck-tiny")
}

/// A folder for what a run leaves behind for people: logs and screenshots. Ignored by git,
/// overwritten by the next run.
///
/// # Errors
/// If it cannot be made.
pub fn artifacts(name: &str) -> anyhow::Result<PathBuf> {
    let folder = root().join("artifacts").join(name);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    Ok(folder)
}

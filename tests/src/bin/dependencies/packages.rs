//! The crates of the workspace and all that they depend on, as cargo resolves them.

use std::process::Command;

use anyhow::{Context as _, ensure};
use e2e::programs::root;
use serde::Deserialize;

/// One crate.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version, as semver writes it.
    pub(crate) version: String,
    /// Its licence, an SPDX expression.
    #[serde(rename = "license")]
    pub(crate) licence: Option<String>,
    /// The registry or repository it comes from; none if it lies in this one.
    pub(crate) source: Option<String>,
    /// What its manifest asks for.
    pub(crate) dependencies: Vec<Dependency>,
}

/// What a manifest asks for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The crate's name.
    pub(crate) name: String,
    /// The versions that will do.
    pub(crate) req: String,
    /// The folder it lies in, if the manifest names one.
    pub(crate) path: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// All of them, for every platform, dependencies of tests included.
pub(crate) fn packages() -> anyhow::Result<Vec<Package>> {
    let mut command = Command::new("cargo");
    command.args(["metadata", "--locked", "--format-version", "1"]).current_dir(root());
    let output = command.output().context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    Ok(metadata.packages)
}

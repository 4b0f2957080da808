//! Known faults of crates, from a checkout of the `RustSec` database: `crates/NAME/RUSTSEC-….md`,
//! whose first lines are TOML.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::packages::Package;

/// What begins and ends an advisory's TOML.
const FENCE: &str = "```";

/// An advisory that is about a version that is linked here.
#[derive(Debug)]
pub(crate) struct Match {
    id: String,
    package: String,
    version: String,
    title: String,
    /// Why it is no fault in itself, such as `unmaintained`.
    informational: Option<String>,
}

impl Match {
    /// `RUSTSEC-2026-0001`.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// True of what must be mended; a crate that is merely no longer maintained is worth a note.
    pub(crate) fn is_fault(&self) -> bool {
        self.informational.as_deref().is_none_or(|kind| kind == "unsound")
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, package, version, title, informational } = self;
        write!(f, "{package} {version}: {title} ({id}")?;
        if let Some(kind) = informational {
            write!(f, ", {kind}")?;
        }
        write!(f, ")")
    }
}

#[derive(Deserialize)]
struct File {
    advisory: Advisory,
    versions: Versions,
}

#[derive(Deserialize)]
struct Advisory {
    id: String,
    informational: Option<String>,
    withdrawn: Option<toml::Value>,
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

/// The advisories that are about one of these crates in its very version.
///
/// # Errors
/// If the folder is no checkout of the database, or an advisory cannot be read.
pub(crate) fn matching(database: &Path, packages: &[Package]) -> anyhow::Result<Vec<Match>> {
    let crates = database.join("crates");
    ensure!(crates.is_dir(), "{} is no checkout of the advisory database", database.display());
    let mut matches = Vec::new();
    for package in packages.iter().filter(|package| package.source.is_some()) {
        // No folder: nothing is known of this crate.
        let Ok(entries) = fs::read_dir(crates.join(&package.name)) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            let found = about(&text, package).with_context(|| path.display().to_string())?;
            matches.extend(found);
        }
    }
    Ok(matches)
}

/// The advisory in `text`, if it is about this version.
fn about(text: &str, package: &Package) -> anyhow::Result<Option<Match>> {
    let mut parts = text.split(FENCE);
    let front = parts.nth(1).context("there is no TOML in it")?;
    let front = front.strip_prefix("toml").context("its first block is not TOML")?;
    let File { advisory, versions } = toml::from_str(front)?;
    let version: Version = package.version.parse()?;
    let spared = |requirements: &[VersionReq]| requirements.iter().any(|req| req.matches(&version));
    if advisory.withdrawn.is_some() || spared(&versions.patched) || spared(&versions.unaffected) {
        return Ok(None);
    }
    let title = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or_default();
    Ok(Some(Match {
        id: advisory.id,
        package: package.name.clone(),
        version: package.version.clone(),
        title: title.to_owned(),
        informational: advisory.informational,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the database's form.
    fn advisory(more: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2022-0003\"\npackage = \"a\"\n{more}\n[versions]\n\
             patched = [\">= 3.1.3\"]\nunaffected = [\"< 3.0.0\"]\n```\n\n# Space bug\n\nText.\n"
        )
    }

    fn found(text: &str, version: &str) -> Option<Match> {
        let package = Package {
            name: "a".to_owned(),
            version: version.to_owned(),
            licence: None,
            source: Some(String::new()),
            dependencies: Vec::new(),
        };
        about(text, &package).unwrap()
    }

    #[test]
    fn only_the_affected_versions_match() {
        let text = advisory("");
        assert!(found(&text, "2.9.0").is_none());
        assert!(found(&text, "3.1.3").is_none());
        let found = found(&text, "3.1.2").unwrap();
        assert!(found.is_fault());
        assert_eq!(found.to_string(), "a 3.1.2: Space bug (RUSTSEC-2022-0003)");
    }

    #[test]
    fn withdrawn_ones_do_not_match_and_unmaintained_is_a_note() {
        assert!(found(&advisory("withdrawn = \"2023-01-01\""), "3.1.2").is_none());
        assert!(!found(&advisory("informational = \"unmaintained\""), "3.1.2").unwrap().is_fault());
        assert!(found(&advisory("informational = \"unsound\""), "3.1.2").unwrap().is_fault());
    }

    #[test]
    fn a_crate_of_this_repository_has_no_advisories_and_a_folder_must_be_the_database() {
        let database = tempfile::tempdir().unwrap();
        assert!(matching(database.path(), &[]).is_err());
        fs::create_dir_all(database.path().join("crates/a")).unwrap();
        fs::write(database.path().join("crates/a/RUSTSEC-2022-0003.md"), advisory("")).unwrap();
        let mut package = Package {
            name: "a".to_owned(),
            version: "3.1.2".to_owned(),
            licence: None,
            source: Some(String::new()),
            dependencies: Vec::new(),
        };
        assert_eq!(matching(database.path(), std::slice::from_ref(&package)).unwrap().len(), 1);
        package.source = None;
        assert!(matching(database.path(), &[package]).unwrap().is_empty());
    }
}

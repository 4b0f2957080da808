//! What `deny.toml` allows.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::packages::Package;

/// Where crates may come from; every other source is unknown.
const REGISTRIES: [&str; 2] =
    ["registry+https://github.com/rust-lang/crates.io-index", "sparse+https://index.crates.io/"];

/// The configuration, read.
#[derive(Debug)]
pub(crate) struct Policy {
    allowed: Vec<Licensee>,
    exceptions: Vec<(String, Vec<Licensee>)>,
    ignored_advisories: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
    #[serde(default)]
    advisories: Advisories,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    wildcards: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
}

#[derive(Default, Deserialize)]
struct Advisories {
    #[serde(default)]
    ignore: Vec<String>,
}

impl Policy {
    /// Reads `deny.toml`.
    ///
    /// # Errors
    /// If it is not TOML, names a licence that SPDX does not know, or allows what is always denied
    /// here.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text).context("deny.toml cannot be read")?;
        let denied =
            [&file.bans.wildcards, &file.sources.unknown_registry, &file.sources.unknown_git];
        ensure!(
            denied.iter().all(|level| *level == "deny"),
            "deny.toml must deny wildcards and unknown sources, as this program always does"
        );
        let exceptions = file.licenses.exceptions.into_iter();
        Ok(Self {
            allowed: licensees(&file.licenses.allow)?,
            exceptions: exceptions
                .map(|exception| Ok((exception.name, licensees(&exception.allow)?)))
                .collect::<anyhow::Result<_>>()?,
            ignored_advisories: file.advisories.ignore,
        })
    }

    /// What is wrong with a crate, a line each.
    pub(crate) fn faults(&self, package: &Package) -> Vec<String> {
        let who = format!("{} {}", package.name, package.version);
        let mut faults = Vec::new();
        match &package.licence {
            None => faults.push(format!("{who} names no licence")),
            Some(licence) => match self.allows(&package.name, licence) {
                Ok(true) => {}
                Ok(false) => {
                    faults.push(format!(
                        "{who} is licensed {licence}, which deny.toml does not allow"
                    ));
                }
                Err(error) => faults.push(format!("{who}: {error:#}")),
            },
        }
        match package.source.as_deref() {
            Some(source) if !REGISTRIES.contains(&source) => {
                faults.push(format!("{who} comes from {source}, which is no known registry"));
            }
            Some(_) => {}
            // Only what our own manifests ask for is ours to mend.
            None => {
                let any = package.dependencies.iter();
                faults.extend(
                    any.filter(|dependency| dependency.req == "*" && dependency.path.is_none())
                        .map(|dependency| {
                            format!("{who} takes any version of {}", dependency.name)
                        }),
                );
            }
        }
        faults
    }

    /// True if faults of this advisory are accepted.
    pub(crate) fn ignores_advisory(&self, id: &str) -> bool {
        self.ignored_advisories.iter().any(|ignored| ignored == id)
    }

    fn allows(&self, name: &str, licence: &str) -> anyhow::Result<bool> {
        // Lax, because old crates write MIT/Apache-2.0.
        let expression = Expression::parse_mode(licence, ParseMode::LAX)
            .with_context(|| format!("{licence:?} is no SPDX expression"))?;
        let of_this_crate = self.exceptions.iter().filter(|(crate_name, _)| crate_name == name);
        let exceptions: Vec<&Licensee> =
            of_this_crate.flat_map(|(_, licensees)| licensees).collect();
        Ok(expression.evaluate(|required| {
            self.allowed.iter().chain(exceptions.iter().copied()).any(|of| of.satisfies(required))
        }))
    }
}

fn licensees(names: &[String]) -> anyhow::Result<Vec<Licensee>> {
    names
        .iter()
        .map(|name| {
            Licensee::parse(name).with_context(|| format!("deny.toml names no licence {name:?}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Dependency;

    const POLICY: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "odd", allow = ["MPL-2.0"] }]
        [bans]
        wildcards = "deny"
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
        [advisories]
        ignore = ["RUSTSEC-2026-0001"]
    "#;

    fn package(name: &str, licence: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            source: Some(REGISTRIES[0].to_owned()),
            dependencies: Vec::new(),
        }
    }

    fn is_faulty(package: &Package) -> bool {
        !Policy::parse(POLICY).unwrap().faults(package).is_empty()
    }

    #[test]
    fn licences_are_expressions() {
        for good in
            ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(!is_faulty(&package("a", Some(good))), "{good}");
        }
        for bad in ["Apache-2.0", "MIT AND GPL-3.0-only", "MPL-2.0", "my own"] {
            assert!(is_faulty(&package("a", Some(bad))), "{bad}");
        }
        assert!(is_faulty(&package("a", None)));
    }

    #[test]
    fn an_exception_is_for_one_crate() {
        assert!(!is_faulty(&package("odd", Some("MPL-2.0"))));
        assert!(is_faulty(&package("even", Some("MPL-2.0"))));
    }

    #[test]
    fn crates_come_from_the_registry_or_from_here() {
        let mut foreign = package("a", Some("MIT"));
        foreign.source = Some("git+https://example.org/a".to_owned());
        assert!(is_faulty(&foreign));
        foreign.source = None;
        assert!(!is_faulty(&foreign));
    }

    #[test]
    fn our_own_manifests_name_versions() {
        let mut ours = package("ours", Some("MIT"));
        ours.source = None;
        let of = |req: &str, path: Option<&str>| Dependency {
            name: "b".to_owned(),
            req: req.to_owned(),
            path: path.map(str::to_owned),
        };
        ours.dependencies = vec![of("^1", None), of("*", Some("/b"))];
        assert!(!is_faulty(&ours));
        ours.dependencies.push(of("*", None));
        assert!(is_faulty(&ours));
    }

    #[test]
    fn the_repositorys_own_policy_is_understood() {
        let text = std::fs::read_to_string(e2e::programs::root().join("deny.toml")).unwrap();
        let policy = Policy::parse(&text).unwrap();
        assert!(!policy.allowed.is_empty());
        assert!(
            Policy::parse(&text.replace("wildcards = \"deny\"", "wildcards = \"allow\"")).is_err()
        );
    }
}

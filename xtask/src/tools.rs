//! The two tools that build the page, each in exactly one version, kept in the user's cache folder
//! so that every clone finds them.
//!
//! They are built from source once. Their own release profiles optimise across all crates, which
//! takes a newcomer nearly twenty minutes for nothing that anyone would notice; the settings here
//! take half.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, Outcome, clean, root, run};

/// trunk builds the page from `index.html`.
pub(crate) const TRUNK_VERSION: &str = "0.22.1";

/// Where the two tools lie.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// The folder of `trunk`.
    pub(crate) trunk: PathBuf,
    /// The folder of `wasm-bindgen` and `wasm-bindgen-test-runner`.
    pub(crate) wasm_bindgen: PathBuf,
}

impl Tools {
    /// Puts both before everything else on a command's `PATH`, so that neither trunk nor cargo
    /// takes or fetches another version.
    pub(crate) fn apply(&self, command: &mut Command) {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.trunk.clone(), self.wasm_bindgen.clone()]
            .into_iter()
            .chain(env::split_paths(&path));
        if let Ok(joined) = env::join_paths(folders) {
            command.env("PATH", joined);
        }
    }
}

/// Makes sure that both are there.
pub(crate) fn ensure() -> Outcome<Tools> {
    let wasm_bindgen_version = locked_version("wasm-bindgen")?;
    Ok(Tools {
        // trunk 0.22.1 declares a newer compiler than it needs; its lock file is good.
        trunk: ensure_tool(
            "trunk",
            TRUNK_VERSION,
            "trunk",
            &["--locked", "--ignore-rust-version"],
            9,
        )?,
        // Without --locked: its lock file names versions that have been withdrawn.
        wasm_bindgen: ensure_tool(
            "wasm-bindgen-cli",
            &wasm_bindgen_version,
            "wasm-bindgen",
            &[],
            2,
        )?,
    })
}

/// Returns the folder that holds the tool's binaries.
fn ensure_tool(
    package: &str,
    version: &str,
    binary: &str,
    flags: &[&str],
    minutes: u32,
) -> Outcome<PathBuf> {
    let folder = cache_folder()?.join("tools").join(format!("{package}-{version}"));
    let binaries = folder.join("bin");
    if is_version(&binaries.join(binary), version) {
        return Ok(binaries);
    }
    eprintln!(
        "installing {package} {version} into {} (once; about {minutes} minutes on two cores)",
        folder.display()
    );
    let mut command = clean("cargo");
    command
        .args(["install", "--quiet", package, "--version", version, "--root"])
        .arg(&folder)
        .args(flags)
        // Outside the repository, so that its cargo configuration does not apply, and with a build
        // folder of its own.
        .current_dir(env::temp_dir())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        .envs([
            ("CARGO_PROFILE_RELEASE_LTO", "off"),
            ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
            ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        ]);
    run(
        &mut command,
        &format!("installing {package} {version} failed"),
        &format!("read the error above, or install it yourself into {}", folder.display()),
    )?;
    if is_version(&binaries.join(binary), version) {
        return Ok(binaries);
    }
    Err(Failure::new(
        format!("{} is not {package} {version}", binaries.join(binary).display()),
        format!("remove {} and try again", folder.display()),
    ))
}

fn is_version(binary: &Path, version: &str) -> bool {
    Command::new(binary).arg("--version").output().is_ok_and(|output| {
        output.status.success()
            && String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .any(|word| word == version)
    })
}

/// The version of a package that `Cargo.lock` names.
fn locked_version(package: &str) -> Outcome<String> {
    let path = root().join("Cargo.lock");
    let lock = fs::read_to_string(&path).map_err(|error| {
        Failure::new(
            format!("{} cannot be read ({error})", path.display()),
            "check the file out again",
        )
    })?;
    version_in_lock(&lock, package).map(str::to_owned).ok_or_else(|| {
        Failure::new(format!("Cargo.lock names no {package}"), "check the file out again")
    })
}

fn version_in_lock<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.next()?;
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// `potluck` in the user's cache folder.
pub(crate) fn cache_folder() -> Outcome<PathBuf> {
    let home = || env::var_os("HOME").map(PathBuf::from);
    let folder = match env::consts::OS {
        "windows" => env::var_os("LOCALAPPDATA").map(PathBuf::from),
        "macos" => home().map(|home| home.join("Library/Caches")),
        _ => env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| home().map(|home| home.join(".cache"))),
    };
    folder.filter(|folder| folder.is_absolute()).map(|folder| folder.join("potluck")).ok_or_else(
        || Failure::new("no cache folder is known for this user", "set HOME to an absolute path"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"x\"\n\n\
                        [[package]]\nname = \"wasm-bindgen-cli\"\nversion = \"9.9.9\"\n";

    #[test]
    fn the_lock_file_names_the_version() {
        assert_eq!(version_in_lock(LOCK, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(version_in_lock(LOCK, "wasm-bindgen-macro"), None);
        assert_eq!(version_in_lock("", "wasm-bindgen"), None);
    }

    #[test]
    fn this_repository_locks_wasm_bindgen() {
        assert!(
            locked_version("wasm-bindgen").is_ok_and(|version| version.split('.').count() == 3)
        );
    }
}

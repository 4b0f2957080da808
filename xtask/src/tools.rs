//! The tools that build the page, each in exactly one version, kept in the user's cache folder so
//! that every clone finds them.
//!
//! They are built from source once, from lock files that name the hash of every crate. Their own
//! release profiles optimise across all crates, which takes a newcomer many minutes for nothing
//! that anyone would notice; the settings here do not. `wasm-bindgen` is needed by every build of the
//! page, trunk only by `trunk serve`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::programs::on_path;

use crate::command::{Failure, Outcome, clean, root, run};

/// `trunk serve` builds the page anew when a file of it changes.
pub(crate) const TRUNK_VERSION: &str = "0.22.1";

/// How much the machine may be kept from other work by an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Somebody waits for it.
    Foreground,
    /// It takes the time that others leave.
    Background,
}

/// Puts a folder before everything else on a command's `PATH`, so that neither trunk nor cargo
/// takes another version of what lies there.
pub(crate) fn prefer(command: &mut Command, folder: &Path) {
    let set = command.get_envs().find(|(name, _)| *name == "PATH");
    let path = set.and_then(|(_, value)| value.map(ToOwned::to_owned));
    let path = path.or_else(|| env::var_os("PATH")).unwrap_or_default();
    if let Ok(joined) =
        env::join_paths([folder.to_owned()].into_iter().chain(env::split_paths(&path)))
    {
        command.env("PATH", joined);
    }
}

/// Makes sure that `wasm-bindgen`, `wasm-bindgen-test-runner` and `wasm-split` are there, in the
/// version that the page's crates need; returns their folder.
pub(crate) fn wasm_bindgen() -> Outcome<PathBuf> {
    let version = locked_version("wasm-bindgen")?;
    // A package of this repository, because the published one's lock file names versions that have
    // been withdrawn.
    let package = root().join("xtask/wasm-bindgen");
    let install = Install {
        package: "wasm-bindgen-cli",
        version: &version,
        // The one that an older set-up did not install.
        binary: "wasm-split",
        source: &["--path".as_ref(), package.as_os_str()],
        opt_level: 1,
        minutes: 2,
    };
    install.ensure(Priority::Foreground)
}

/// Makes sure that `trunk` is there; returns its folder.
pub(crate) fn trunk(priority: Priority) -> Outcome<PathBuf> {
    let install = Install {
        package: "trunk",
        version: TRUNK_VERSION,
        binary: "trunk",
        // It declares a newer compiler than it needs.
        source: &[
            "trunk".as_ref(),
            "--version".as_ref(),
            TRUNK_VERSION.as_ref(),
            "--ignore-rust-version".as_ref(),
        ],
        opt_level: 0,
        minutes: 4,
    };
    install.ensure(priority)
}

/// A tool, and how to install it.
struct Install<'a> {
    package: &'a str,
    version: &'a str,
    /// The program whose version is looked at.
    binary: &'a str,
    /// Arguments of `cargo install` that say what is built.
    source: &'a [&'a std::ffi::OsStr],
    opt_level: u8,
    /// How long that takes on two processors, for people.
    minutes: u32,
}

impl Install<'_> {
    /// Returns the folder that holds the tool's binaries, after building it if need be.
    fn ensure(&self, priority: Priority) -> Outcome<PathBuf> {
        let Self { package, version, .. } = self;
        let tools = cache_folder()?.join("tools");
        let folder = tools.join(format!("{package}-{version}"));
        let binaries = folder.join("bin");
        if is_version(&binaries.join(self.binary), version) {
            return Ok(binaries);
        }
        let when = match priority {
            Priority::Foreground => "",
            Priority::Background => ", in the background",
        };
        eprintln!(
            "installing {package} {version} into {} (once; about {} minutes on two cores{when})",
            folder.display(),
            self.minutes
        );
        let built = tools.join(format!("{package}-{version}-build"));
        run(
            &mut self.command(priority, &folder, &built),
            &format!("installing {package} {version} failed"),
            &format!("read the error above, or install it yourself into {}", folder.display()),
        )?;
        // Only the binaries are needed; what is left of the rest costs nothing but room.
        let _ = fs::remove_dir_all(built);
        if is_version(&binaries.join(self.binary), version) {
            return Ok(binaries);
        }
        Err(Failure::new(
            format!("{} is not {package} {version}", binaries.join(self.binary).display()),
            format!("remove {} and try again", folder.display()),
        ))
    }

    fn command(&self, priority: Priority, folder: &Path, built: &Path) -> Command {
        let mut command = match (priority, on_path("nice")) {
            (Priority::Background, Some(nice)) => {
                let mut command = clean(nice);
                command.args(["-n", "19", "cargo"]);
                command
            }
            _ => clean("cargo"),
        };
        command
            .args(["install", "--quiet", "--locked"])
            .args(self.source)
            .arg("--root")
            .arg(folder)
            .arg("--target-dir")
            .arg(built)
            // Outside the repository, so that its cargo configuration does not apply.
            .current_dir(env::temp_dir())
            .env_remove("RUSTFLAGS")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", self.opt_level.to_string())
            .envs([
                ("CARGO_PROFILE_RELEASE_LTO", "off"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
                ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
            ]);
        command
    }
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
    fn the_tools_and_the_page_have_the_same_wasm_bindgen() {
        let version = locked_version("wasm-bindgen").unwrap();
        assert_eq!(version.split('.').count(), 3, "{version}");
        let tools = fs::read_to_string(root().join("xtask/wasm-bindgen/Cargo.lock")).unwrap();
        assert_eq!(version_in_lock(&tools, "wasm-bindgen-cli"), Some(version.as_str()));
    }

    #[test]
    fn a_preferred_folder_comes_first_and_the_last_preferred_before_it() {
        let mut command = Command::new("true");
        prefer(&mut command, Path::new("/one"));
        prefer(&mut command, Path::new("/two"));
        let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap();
        let folders: Vec<PathBuf> = env::split_paths(path).take(2).collect();
        assert_eq!(folders, [Path::new("/two"), Path::new("/one")]);
    }
}

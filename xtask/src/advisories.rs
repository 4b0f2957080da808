//! The `RustSec` database of known faults, kept in the user's cache folder and brought up to date
//! at every run.
//!
//! It is a git repository on github.com. Where that cannot be reached an earlier copy serves, and
//! where there is none nothing is looked at, which the caller reports: a machine without a network
//! can still run the tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::{Failure, Outcome, clean};
use crate::tools;

const REPOSITORY: &str = "https://github.com/rustsec/advisory-db";

/// The folder of the database.
pub(crate) fn database() -> Outcome<PathBuf> {
    let folder = tools::cache_folder()?.join("advisory-db");
    if folder.join("crates").is_dir() {
        if !succeeds(git().arg("-C").arg(&folder).args(["pull", "--quiet", "--ff-only"])) {
            eprintln!("{REPOSITORY} cannot be reached; its advisories are those of an earlier run");
        }
        return Ok(folder);
    }
    let clone = ["clone", "--quiet", "--depth", "1", REPOSITORY];
    if succeeds(git().args(clone).arg(&folder)) {
        return Ok(folder);
    }
    Err(Failure::new(
        "advisories were not looked at",
        format!("{REPOSITORY} cannot be reached; clone it into {}", folder.display()),
    ))
}

/// Gives up on a network that lets nothing through instead of waiting for it.
fn git() -> Command {
    let mut command = clean("git");
    command.args(["-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20"]);
    command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
    command
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

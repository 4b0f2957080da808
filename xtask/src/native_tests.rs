//! Runs the workspace's native tests with nextest where it is installed, else with `cargo test`,
//! and counts them.
//!
//! Always of the whole workspace, even where one test is chosen: features come out the same, and
//! nothing is compiled for the one alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use xtask::programs::on_path;

use crate::command::{Failure, Outcome, cargo, root};
use crate::count::Count;
use crate::junit;
use crate::report::{Report, counted};

/// A run of native tests; its command may be given more of an environment.
#[derive(Debug)]
pub(crate) struct NativeTests {
    pub(crate) command: Command,
    /// Where nextest writes what came of each test; none with `cargo test`.
    junit: Option<PathBuf>,
}

impl NativeTests {
    /// Tests are chosen by the arguments `nextest` or `cargo_test`, whichever runs them; `ignored`
    /// runs those alone that are ignored otherwise.
    pub(crate) fn new(nextest: &[&str], cargo_test: &[&str], ignored: bool) -> Self {
        if on_path("cargo-nextest").is_some() {
            let start = ["nextest", "run", "--locked", "--workspace", "--no-fail-fast"];
            let mut command = cargo(&start);
            command.args(["--config-file", "xtask/nextest.toml"]).args(nextest);
            if ignored {
                command.args(["--run-ignored", "only"]);
            }
            return Self { command, junit: Some(root().join("target/nextest/default/junit.xml")) };
        }
        let mut command = cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
        // Shows what passing tests print, which is where a test says that it skips.
        command.args(cargo_test).args(["--", "--show-output"]);
        if ignored {
            command.arg("--ignored");
        }
        Self { command, junit: None }
    }

    /// Runs them.
    pub(crate) fn run(mut self) -> Outcome<Report> {
        let Some(junit) = self.junit else { return counted(&mut self.command) };
        // An earlier run's would be counted if this one died before it wrote its own.
        let _ = fs::remove_file(&junit);
        let mut report = counted(&mut self.command)?;
        let text = fs::read_to_string(&junit).map_err(|error| {
            Failure::new(
                format!("nextest wrote no {} ({error})", junit.display()),
                "does xtask/nextest.toml still ask for it?",
            )
        })?;
        report.count = junit::count(&text);
        if report.count == Count::default() {
            return Err(Failure::new(
                "nextest ran no tests",
                "has the name of the test it was to run changed?",
            ));
        }
        Ok(report)
    }
}

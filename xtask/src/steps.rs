//! The steps of `cargo xtask test`, in the order they run: cheap ones first, so that a slip is told
//! in seconds.
//!
//! A step either runs its commands to the end or fails with one line. Counting tests and timing is
//! the caller's.

use crate::build::{self, same_artefacts};
use crate::command::{Failure, Outcome, cargo, root, run, watch};
use crate::count::{Count, closing_lines};
use crate::fuzz;
use crate::launch;
use crate::setup::{self, Builders, TestPrograms};
use crate::wasm_target::WASM_TARGET;
use xtask::programs::on_path;

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Tests that its runners reported.
    pub(crate) count: Count,
    /// The runners' closing lines.
    pub(crate) closing: Vec<String>,
    /// Why it did nothing, if so.
    pub(crate) skipped: Option<String>,
}

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// For `--only` and `--skip`.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) heading: &'static str,
    run: fn(&mut Prepared) -> Outcome<Report>,
}

impl Step {
    /// Runs it.
    pub(crate) fn run(&self, prepared: &mut Prepared) -> Outcome<Report> {
        (self.run)(prepared)
    }
}

/// What set-up found, looked up by the first step that needs it.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    builders: Option<Builders>,
    programs: Option<TestPrograms>,
}

impl Prepared {
    fn builders(&mut self) -> Outcome<Builders> {
        if self.builders.is_none() {
            self.builders = Some(setup::builders()?);
        }
        self.builders
            .clone()
            .ok_or_else(|| Failure::new("set-up failed", "run `cargo xtask setup`"))
    }

    fn programs(&mut self) -> Outcome<TestPrograms> {
        if self.programs.is_none() {
            self.programs = Some(setup::test_programs()?);
        }
        self.programs
            .clone()
            .ok_or_else(|| Failure::new("set-up failed", "run `cargo xtask setup`"))
    }
}

/// All steps, in order.
pub(crate) const STEPS: [Step; 13] = [
    Step { name: "format", heading: "Formatting", run: format },
    Step { name: "setup", heading: "Set-up", run: set_up },
    Step { name: "clippy", heading: "Lints, native", run: clippy },
    Step { name: "build", heading: "Native programs", run: native_build },
    Step { name: "clippy-wasm", heading: "Lints, wasm", run: clippy_wasm },
    Step { name: "page", heading: "Page and worker", run: page_build },
    Step { name: "native", heading: "Native and whole-system tests", run: native_tests },
    Step { name: "doctest", heading: "Examples in the documentation", run: doc_tests },
    Step { name: "wasm", heading: "Tests in a browser", run: wasm_tests },
    Step { name: "fuzz", heading: "A minute of hostile files", run: fuzz },
    Step { name: "doc", heading: "Documentation", run: documentation },
    Step { name: "size", heading: "Size of the page", run: size },
    Step { name: "licences", heading: "Licences", run: licences },
];

/// Where the lints for wasm are; a folder, because that is what clippy can be pointed at.
const WASM_LINTS: &str = "xtask/wasm-lints";

fn format(_: &mut Prepared) -> Outcome<Report> {
    simple(
        &mut cargo(&["fmt", "--all", "--check"]),
        "files are not formatted",
        "run `cargo fmt --all`",
    )
}

fn set_up(prepared: &mut Prepared) -> Outcome<Report> {
    prepared.builders()?;
    prepared.programs()?;
    Ok(Report::default())
}

fn clippy(_: &mut Prepared) -> Outcome<Report> {
    let arguments = [
        "clippy",
        "--locked",
        "--workspace",
        "--exclude",
        "potluck-app",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    simple(&mut cargo(&arguments), "clippy found something", "mend what it names above")
}

fn clippy_wasm(prepared: &mut Prepared) -> Outcome<Report> {
    let builders = prepared.builders()?;
    if !builders.has_clippy() {
        return Ok(skipped(
            "the compiler that builds wasm here is the distribution's, which has no clippy",
        ));
    }
    let mut command = cargo(&["clippy", "--locked", "--target", WASM_TARGET]);
    for package in [
        "potluck-app",
        "potluck-worker",
        "potluck-net",
        "potluck-model",
        "potluck-engine",
        "potluck-bench",
    ] {
        command.args(["-p", package]);
    }
    command.args(["--", "-D", "warnings"]).env("CLIPPY_CONF_DIR", root().join(WASM_LINTS));
    builders.apply(&mut command);
    simple(&mut command, "clippy found something in the wasm build", "mend what it names above")
}

fn native_build(_: &mut Prepared) -> Outcome<Report> {
    build::native().map(|()| Report::default())
}

fn page_build(prepared: &mut Prepared) -> Outcome<Report> {
    build::page(&prepared.builders()?).map(|()| Report::default())
}

fn native_tests(prepared: &mut Prepared) -> Outcome<Report> {
    let programs = prepared.programs()?;
    let mut command = if on_path("cargo-nextest").is_some() {
        cargo(&[
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--config-file",
            "xtask/nextest.toml",
        ])
    } else {
        cargo(&["test", "--locked", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"])
    };
    programs.apply(&mut command);
    counted(&mut command)
}

fn doc_tests(_: &mut Prepared) -> Outcome<Report> {
    counted(&mut cargo(&["test", "--locked", "--doc"]))
}

fn wasm_tests(prepared: &mut Prepared) -> Outcome<Report> {
    let (builders, programs) = (prepared.builders()?, prepared.programs()?);
    counted(&mut wasm_test_command(&builders, &programs))
}

/// `cargo test` for wasm, run by `wasm-bindgen-test-runner` in a headless Chromium; packages are
/// already chosen.
pub(crate) fn wasm_test_command(
    builders: &Builders,
    programs: &TestPrograms,
) -> std::process::Command {
    let mut command = cargo(&[
        "test",
        "--locked",
        "--release",
        "--target",
        WASM_TARGET,
        "--no-fail-fast",
        "--tests",
    ]);
    command.args(["-p", "potluck-engine", "-p", "potluck-net"]);
    builders.apply(&mut command);
    programs.apply(&mut command);
    same_artefacts(&mut command);
    command
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", root().join("xtask/webdriver.json"))
        .env("WASM_BINDGEN_TEST_ONLY_WEB", "1")
        // Seconds for a whole test binary; software WebGPU compiles its shaders slowly.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    command
}

fn fuzz(_: &mut Prepared) -> Outcome<Report> {
    if let Some(why) = fuzz::missing() {
        return Ok(skipped(why));
    }
    fuzz::fuzz().map(|()| Report::default())
}

fn documentation(_: &mut Prepared) -> Outcome<Report> {
    let mut command = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    simple(&mut command, "rustdoc found something", "mend what it names above")
}

fn size(_: &mut Prepared) -> Outcome<Report> {
    let mut command = launch::built("sizes")?;
    command.arg(build::page_folder());
    simple(&mut command, "the page is too large, or was not built", "read the line above")
}

fn licences(_: &mut Prepared) -> Outcome<Report> {
    if on_path("cargo-deny").is_none() {
        return Ok(skipped("cargo-deny is not installed"));
    }
    let mut command = cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"]);
    simple(&mut command, "cargo-deny found something", "see deny.toml for what is allowed and why")
}

fn skipped(why: &str) -> Report {
    Report { skipped: Some(why.to_owned()), ..Report::default() }
}

fn simple(command: &mut std::process::Command, what: &str, remedy: &str) -> Outcome<Report> {
    run(command, what, remedy).map(|()| Report::default())
}

/// Runs a test runner; a failed one still says what it counted, and fails the step by
/// [`Count::failed`] or by the error.
fn counted(command: &mut std::process::Command) -> Outcome<Report> {
    let (status, lines) = watch(command)?;
    let mut report = Report::default();
    for (line, count) in closing_lines(&lines) {
        report.count += count;
        report.closing.push(line.to_owned());
    }
    if !status.success() && report.count.failed == 0 {
        return Err(Failure::new(
            format!("the test runner failed ({status})"),
            "read the first error above",
        ));
    }
    if status.success() && report.closing.is_empty() {
        return Err(Failure::new(
            "the test runner reported no tests",
            "has the form of its closing line changed?",
        ));
    }
    Ok(report)
}

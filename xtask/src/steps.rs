//! The steps of `cargo xtask test`, in the order they run: cheap ones first, so that a slip is told
//! in seconds.
//!
//! A step either runs its commands to the end or fails with one line. Counting tests and timing is
//! the caller's.

use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};

use crate::advisories;
use crate::build;
use crate::command::{Failure, Outcome, cargo, root};
use crate::fuzz;
use crate::launch;
use crate::native_tests::NativeTests;
use crate::report::{Report, counted, simple, skipped};
use crate::setup::{self, Builders, TestPrograms};
use crate::tools::{self, Priority};
use crate::wasm_target::WASM_TARGET;

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
    trunk: Option<JoinHandle<Outcome<PathBuf>>>,
    /// One of the steps to come needs trunk.
    trunk_is_wanted: bool,
}

impl Prepared {
    /// Nothing yet, before these steps.
    pub(crate) fn for_steps(steps: &[Step]) -> Self {
        let trunk_is_wanted = steps.iter().any(|step| step.name == TRUNK_SERVE);
        Self { trunk_is_wanted, ..Self::default() }
    }

    /// Begins to install trunk, which takes minutes the first time, in what the other steps leave
    /// of the machine: the page is built without, and only the last but two needs it.
    fn begin_trunk(&mut self) {
        if self.trunk.is_none() {
            self.trunk = Some(thread::spawn(|| tools::trunk(Priority::Background)));
        }
    }

    fn trunk(&mut self) -> Outcome<PathBuf> {
        self.begin_trunk();
        let installed = self.trunk.take().and_then(|thread| thread.join().ok());
        installed.unwrap_or_else(|| {
            Err(Failure::new("installing trunk panicked", "that is a fault in xtask"))
        })
    }

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

const TRUNK_SERVE: &str = "trunk-serve";
/// The one test that is ignored by the others.
const TRUNK_SERVE_TEST: &str = "trunk_serve_works";

/// All steps, in order.
pub(crate) const STEPS: [Step; 14] = [
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
    Step { name: TRUNK_SERVE, heading: "The page as trunk serves it", run: trunk_serve },
    Step { name: "doc", heading: "Documentation", run: documentation },
    Step { name: "size", heading: "Size of the page", run: size },
    Step { name: "licences", heading: "Licences and advisories", run: licences },
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
    if prepared.trunk_is_wanted {
        prepared.begin_trunk();
    }
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
    // As the page is shipped; without it trunk builds it.
    command.args(["--features", "potluck-app/split"]);
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
    let mut tests = NativeTests::new(&[], &["--lib", "--bins", "--tests"], false);
    programs.apply(&mut tests.command);
    tests.run()
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
pub(crate) fn wasm_test_command(builders: &Builders, programs: &TestPrograms) -> Command {
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
    command
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", root().join("xtask/webdriver.json"))
        .env("WASM_BINDGEN_TEST_ONLY_WEB", "1")
        // Seconds for a whole test binary; software WebGPU compiles its shaders slowly.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    command
}

/// `trunk serve` beside a server, as `Trunk.toml` says. It compiles nothing that [`page_build`] did
/// not.
fn trunk_serve(prepared: &mut Prepared) -> Outcome<Report> {
    let (builders, programs) = (prepared.builders()?, prepared.programs()?);
    let trunk = prepared.trunk()?;
    build::native()?;
    build::page(&builders)?;
    let chosen = ["--test", TRUNK_SERVE_TEST];
    let mut tests = NativeTests::new(&chosen, &chosen, true);
    builders.apply(&mut tests.command);
    tools::prefer(&mut tests.command, &trunk);
    programs.apply(&mut tests.command);
    tests.run()
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
    let mut command = launch::built("dependencies")?;
    let database = advisories::database();
    if let Ok(folder) = &database {
        command.arg("--advisories").arg(folder);
    }
    let remedy = "see deny.toml for what is allowed and why";
    let report = simple(&mut command, "something that must not be is linked", remedy)?;
    Ok(Report { note: database.err().map(|failure| failure.to_string()), ..report })
}

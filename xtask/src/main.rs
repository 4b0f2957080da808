//! `cargo xtask …`: set-up, demo, tests, benchmarks and builds of Potluck, one command each.
//!
//! Thin on purpose: it installs what is missing, builds, and starts the programs that do the work.
//! It has no dependencies, so that it compiles in seconds on a machine that has nothing yet.
#![expect(clippy::print_stdout, reason = "a command-line program; printing is what it is for")]

mod advisories;
mod axe;
mod build;
mod command;
mod count;
mod embed;
mod fuzz;
mod junit;
mod launch;
mod minilm;
mod native_tests;
mod nginx;
mod npm;
mod page;
mod report;
mod setup;
mod shrink;
mod steps;
mod test;
mod tokenizers;
mod tools;
mod wasm_target;

use std::env;
use std::process::ExitCode;

use command::{Failure, Outcome, run};

const HELP: &str = "\
usage: cargo xtask COMMAND [OPTIONS]

  setup       install what building and testing need, once: the wasm32 target, wasm-bindgen, trunk,
              and on Debian and Ubuntu (as root) Chromium, its driver and a software Vulkan adapter
  demo        build everything and run a swarm here: a server, a native node, two browsers
  test        check everything: formatting, lints, tests, documentation, sizes, licences
  bench       measure the swarm: tokens a second, time to serve, time of a hop, sizes; with \"swarm\"
              many requesters and nodes that fail, with \"server\" ten thousand members of one
              server, with \"scheduler\" its one task alone, with \"engine\" the engine alone,
              with \"peers\" the engine beside llama.cpp and wllama
  build       build the native programs and the page (dist/)
  wasm-test   run only the tests that run in a browser; further arguments go to cargo test

Options of demo and bench: `cargo xtask demo --help`, `cargo xtask bench [swarm | server |
scheduler | engine | peers] --help`.
Options of test: --only STEP, --skip STEP, each any number of times; ";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Outcome {
    let Some((command, rest)) = arguments.split_first() else {
        help();
        return Err(Failure::new(
            "no command was given",
            "`cargo xtask demo` shows what Potluck does",
        ));
    };
    let wants_help = rest.iter().any(|argument| argument == "--help" || argument == "-h");
    match command.as_str() {
        "bench" if rest.first().is_some_and(|what| what == "engine" || what == "peers") => {
            launch::bench_engine(rest)
        }
        "bench"
            if rest.first().is_some_and(|what| what == "scheduler" || what == "architectures") =>
        {
            launch::bench_program(rest)
        }
        "bench" if rest.first().is_some_and(|what| what == "server") => launch::bench_server(rest),
        "demo" => launch::demo(rest),
        "bench" => launch::launch(command, rest),
        "help" | "--help" | "-h" => {
            help();
            Ok(())
        }
        "setup" | "test" | "build" | "wasm-test" if wants_help => {
            help();
            Ok(())
        }
        "setup" => setup::everything(),
        "test" => test::test(rest),
        "build" => build::everything(),
        "wasm-test" => wasm_test(rest),
        other => {
            Err(Failure::new(format!("there is no command {other}"), "see `cargo xtask --help`"))
        }
    }
}

fn wasm_test(arguments: &[String]) -> Outcome {
    let mut command = steps::wasm_test_command(&setup::builders()?, &setup::test_programs()?);
    run(command.args(arguments), "the tests in the browser failed", "read the first error above")
}

fn help() {
    println!("{HELP}{}.", test::step_names());
}

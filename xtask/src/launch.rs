//! `cargo xtask demo` and `cargo xtask bench`: set-up, build, then the program of that name in
//! crate `e2e`; for `bench engine` and `bench peers` the one in `benches`.

use std::process::Command;
use std::thread;

use crate::build;
use crate::command::{Failure, Outcome};
use crate::minilm;
use crate::setup;

/// Builds what the program needs and becomes it.
pub(crate) fn launch(program: &str, arguments: &[String]) -> Outcome {
    // Asking for help must not build the page.
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        build::swarm_with(program)?;
    } else {
        build::beside_page(|| build::swarm_with(program))?;
    }
    start(program, arguments)
}

/// `cargo xtask demo`: as every program, with a browser where one can be installed. Two browsers
/// are what the demo is about, but it goes on without.
pub(crate) fn demo(arguments: &[String]) -> Outcome {
    let any = |names: &[&str]| arguments.iter().any(|argument| names.contains(&argument.as_str()));
    let no_browsers = any(&["--browsers=0"])
        || arguments.windows(2).any(|pair| pair[0] == "--browsers" && pair[1] == "0");
    if no_browsers || any(&["--help", "-h"]) {
        return launch("demo", arguments);
    }
    // Beside the builds, as it waits for the network while they compute.
    let browser = thread::spawn(setup::chromium);
    build::beside_page(|| build::swarm_with("demo"))?;
    if let Ok(Err(failure)) = browser.join() {
        eprintln!("{failure}");
    }
    start("demo", arguments)
}

/// `bench server`: the server is measured as it is run, so it is built in its own profile too.
pub(crate) fn bench_server(arguments: &[String]) -> Outcome {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        build::swarm_with("bench")?;
    } else {
        build::beside_page(|| {
            build::swarm_with("bench")?;
            build::optimised_server()
        })?;
    }
    start("bench", arguments)
}

fn start(program: &str, arguments: &[String]) -> Outcome {
    let mut command = build::program_beside(program)?;
    command.args(arguments);
    Err(become_program(command))
}

/// `bench scheduler` and `bench architectures`: only the program.
pub(crate) fn bench_program(arguments: &[String]) -> Outcome {
    let mut command = built("potluck-bench")?;
    command.args(arguments);
    Err(become_program(command))
}

/// `bench engine` and `bench peers`: the programs, and the page that measures in a browser, into
/// `target/bench-page`.
pub(crate) fn bench_engine(arguments: &[String]) -> Outcome {
    let mut command = built("potluck-bench")?;
    command.args(arguments);
    if !arguments.iter().any(|argument| matches!(argument.as_str(), "--help" | "-h" | "--no-pages"))
    {
        build::bench_page(&setup::builders()?)?;
        command.envs(minilm::folder().map(|folder| ("POTLUCK_MINILM", folder)));
    }
    Err(become_program(command))
}

/// Builds the native programs; the one of that name as a command.
pub(crate) fn built(program: &str) -> Outcome<Command> {
    build::native()?;
    build::program_beside(program)
}

/// Replaces this process, so that Ctrl-C reaches the one program that has others to end.
#[cfg(unix)]
fn become_program(mut command: Command) -> Failure {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    Failure::new(
        format!("{} could not be started ({error})", command.get_program().to_string_lossy()),
        "run `cargo build`",
    )
}

#[cfg(not(unix))]
fn become_program(mut command: Command) -> Failure {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => {
            Failure::new(format!("the program could not be started ({error})"), "run `cargo build`")
        }
    }
}

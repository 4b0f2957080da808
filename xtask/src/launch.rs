//! `cargo xtask demo` and `cargo xtask bench`: set-up, build, then the program of that name in
//! crate `e2e`; for `bench engine` and `bench peers` the one in `benches`.

use std::env;
use std::process::Command;

use crate::build;
use crate::command::{Failure, Outcome};
use crate::minilm;
use crate::setup;

/// Builds what the program needs and becomes it.
pub(crate) fn launch(program: &str, arguments: &[String]) -> Outcome {
    let mut command = built(program)?;
    command.args(arguments);
    // Asking for help must not build the page.
    if !arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        build::page(&setup::builders()?)?;
    }
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

/// Builds the native programs; the one of that name as a command, which lies beside this one.
pub(crate) fn built(program: &str) -> Outcome<Command> {
    build::native()?;
    let here = env::current_exe().map_err(|error| {
        Failure::new(
            format!("this program's own path is not known ({error})"),
            format!("run target/debug/{program} yourself"),
        )
    })?;
    Ok(Command::new(here.with_file_name(format!("{program}{}", env::consts::EXE_SUFFIX))))
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

//! Starting other programs and saying in one line what went wrong with them.
//!
//! Every failure names what failed and what to do about it; the other program's own output is shown
//! as it comes.

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

/// What failed and what to do, on one line.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    remedy: String,
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// A cargo command in the repository's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = clean("cargo");
    command.args(arguments).current_dir(root());
    command
}

/// A command without what `cargo run` told this program about itself: build scripts that look at
/// such variables would run again at every change between `cargo xtask` and plain `cargo`.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    const OURS: [&str; 7] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
        "CARGO_RUSTC_",
        "OUT_DIR",
    ];
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if OURS.iter().any(|ours| text.starts_with(ours)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command with its output shown as it comes, all of it on stderr: stdout is for what was
/// asked for, such as the demo's JSON.
pub(crate) fn run(command: &mut Command, what: &str, remedy: &str) -> Outcome {
    let status =
        command.stdout(std::io::stderr()).status().map_err(|error| not_started(command, &error))?;
    check(status, what, remedy)
}

/// Runs a command and returns what it printed on stdout, without the white space around it.
pub(crate) fn capture(command: &mut Command, what: &str, remedy: &str) -> Outcome<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| not_started(command, &error))?;
    check(output.status, what, remedy)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command with its output shown as it comes, and returns it too: both streams, by line, in
/// no order between the two.
pub(crate) fn watch(command: &mut Command) -> Outcome<(ExitStatus, Vec<String>)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(command, &error))?;
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ];
    let readers: Vec<_> =
        pipes.into_iter().flatten().map(|pipe| thread::spawn(move || copy_lines(pipe))).collect();
    let mut lines = Vec::new();
    for reader in readers {
        lines.extend(reader.join().unwrap_or_default());
    }
    let status = child.wait().map_err(|error| not_started(command, &error))?;
    Ok((status, lines))
}

fn copy_lines(pipe: impl Read) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    // By bytes, not by text: a tool's output need not be UTF-8, and a reader that stopped would
    // block the tool.
    while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
        let _ = std::io::stdout().write_all(&bytes);
        lines.push(String::from_utf8_lossy(&bytes).trim_end().to_owned());
        bytes.clear();
    }
    lines
}

fn check(status: ExitStatus, what: &str, remedy: &str) -> Outcome {
    if status.success() { Ok(()) } else { Err(Failure::new(format!("{what} ({status})"), remedy)) }
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{} could not be started ({error})", command.get_program().to_string_lossy()),
        "install it or put it on PATH",
    )
}

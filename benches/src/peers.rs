//! Engines that people would use otherwise, installed from their registries into `target/peers` and kept there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use e2e::programs::root;

use crate::gguf;
use crate::shapes::Shape;

/// The versions that were measured.
const LLAMA_CPP: &str = "llama-cpp-python==0.3.36";
const WLLAMA: &str = "@wllama/wllama@3.8.1";

/// Where all of it lies.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("target/peers")
}

/// The npm packages' folder, with wllama in it.
///
/// # Errors
/// If npm is missing or fails.
pub fn npm_packages() -> anyhow::Result<PathBuf> {
    let packages = folder().join("npm/node_modules");
    if !packages.join("@wllama/wllama").exists() {
        std::fs::create_dir_all(folder().join("npm"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--ignore-scripts", "--prefix"]).arg(folder().join("npm")).arg(WLLAMA);
        finish(&mut npm, "npm is needed for wllama")?;
    }
    Ok(packages)
}

/// A shape's weights as the peers read them.
///
/// # Errors
/// If they cannot be written.
pub fn weights(shape: &Shape) -> anyhow::Result<PathBuf> {
    let shapes = folder().join("shapes");
    std::fs::create_dir_all(&shapes)?;
    let path = shapes.join(format!("{}.gguf", shape.name));
    gguf::write(shape, &root().join("models/potluck-tiny/tokenizer.json"), &path)
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// llama.cpp in a process of its own, one shape loaded.
#[derive(Debug)]
pub struct LlamaCpp {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl LlamaCpp {
    /// Installs it if need be (a compiler and some minutes) and loads `weights`.
    ///
    /// # Errors
    /// If it cannot be installed or does not load them.
    pub fn load(weights: &Path, threads: usize) -> anyhow::Result<Self> {
        let python = install()?;
        // Repacking is its faster way; where it ends the process, it runs without.
        Self::start(&python, weights, threads, true).or_else(|_| Self::start(&python, weights, threads, false))
    }

    fn start(python: &Path, weights: &Path, threads: usize, repack: bool) -> anyhow::Result<Self> {
        let mut child = Command::new(python)
            .arg(root().join("benches/peers/drive_llama.py"))
            .arg(weights)
            .arg(threads.to_string())
            .env("POTLUCK_PEER_REPACK", if repack { "1" } else { "0" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.context("llama.cpp's process has no pipes")?;
        let mut loaded = Self { child, stdin, stdout: BufReader::new(stdout) };
        ensure!(loaded.line()? == "ready", "llama.cpp did not load {}", weights.display());
        // What fails, fails at the first step.
        loaded.seconds("prefill", 8)?;
        Ok(loaded)
    }

    /// Tokens a second of a text of `tokens`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn prefill(&mut self, tokens: u32) -> anyhow::Result<f64> {
        Ok(f64::from(tokens) / self.seconds("prefill", tokens)?)
    }

    /// Tokens a second of drawing `tokens`.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn decode(&mut self, tokens: u32) -> anyhow::Result<f64> {
        Ok(f64::from(tokens) / self.seconds("decode", tokens)?)
    }

    fn seconds(&mut self, what: &str, tokens: u32) -> anyhow::Result<f64> {
        writeln!(self.stdin, "{what} {tokens}")?;
        self.stdin.flush()?;
        let line = self.line()?;
        line.parse().with_context(|| format!("llama.cpp said {line:?}"))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("llama.cpp ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python with llama.cpp in it.
fn install() -> anyhow::Result<PathBuf> {
    let venv = folder().join("venv");
    let python = venv.join("bin/python");
    let works = |python: &Path| {
        let mut check = Command::new(python);
        check.args(["-c", "import llama_cpp"]).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !works(&python) {
        finish(Command::new("python3").args(["-m", "venv"]).arg(&venv), "Python 3 with venv is needed for llama.cpp")?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", LLAMA_CPP]);
        finish(&mut pip, "llama-cpp-python builds with a C++ compiler")?;
        ensure!(works(&python), "llama-cpp-python was installed, but does not load");
    }
    Ok(python)
}

fn finish(command: &mut Command, needed: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Stdout is for the table.
    let status = command.stdout(Stdio::null()).status().with_context(|| format!("could not run {name}: {needed}"))?;
    ensure!(status.success(), "{name} failed: {needed}");
    Ok(())
}

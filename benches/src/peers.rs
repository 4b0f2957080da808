//! Engines that people would use otherwise, installed from their registries into `target/peers` and
//! kept there.

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
const ONNXRUNTIME: &str = "onnxruntime-web@1.30.0";
/// What writes ONNX.
const ONNX: [&str; 3] = ["onnx==1.23.2", "numpy", "safetensors==0.8.0"];

/// Where all of it lies.
#[must_use]
pub fn folder() -> PathBuf {
    root().join("target/peers")
}

/// The npm packages' folder, with wllama and onnxruntime-web in it.
///
/// # Errors
/// If npm is missing or fails.
pub fn npm_packages() -> anyhow::Result<PathBuf> {
    let packages = folder().join("npm/node_modules");
    if !["@wllama/wllama", "onnxruntime-web"].iter().all(|package| packages.join(package).exists())
    {
        std::fs::create_dir_all(folder().join("npm"))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--ignore-scripts", "--prefix"])
            .arg(folder().join("npm"))
            .args([WLLAMA, ONNXRUNTIME]);
        finish(&mut npm, "npm is needed for wllama and onnxruntime-web")?;
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

/// An engine in a process of its own, one shape loaded: it reads "prefill N" and "decode N" and
/// prints the seconds each took.
#[derive(Debug)]
pub struct Driven {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// llama.cpp, installed if need be (a compiler and some minutes), with `weights`.
///
/// # Errors
/// If it cannot be installed or does not load them.
pub fn llama_cpp(weights: &Path, threads: usize) -> anyhow::Result<Driven> {
    let python = install()?;
    let start = |repack| {
        let mut command = Command::new(&python);
        command
            .arg(root().join("benches/peers/drive_llama.py"))
            .arg(weights)
            .arg(threads.to_string());
        Driven::start(command.env("POTLUCK_PEER_REPACK", if repack { "1" } else { "0" }))
    };
    // Repacking is its faster way; where it ends the process, it runs without.
    start(true).or_else(|_| start(false))
}

/// Our engine on the software adapter that Chromium brings, as a native library: the same kernels
/// on the same adapter as in a page. None where the browser has none beside it.
///
/// # Errors
/// If it does not load.
pub fn swiftshader(shape: &Shape) -> anyhow::Result<Option<Driven>> {
    let Some(browser) = xtask::programs::chromium() else { return Ok(None) };
    let beside = std::fs::canonicalize(&browser.browser)?;
    // Debian's browser is a script, and its library lies elsewhere.
    let folders = [beside.parent().unwrap_or(&beside), Path::new("/usr/lib/chromium")];
    let driver = folders
        .map(|folder| folder.join("vk_swiftshader_icd.json"))
        .into_iter()
        .find(|file| file.exists());
    let Some(driver) = driver else { return Ok(None) };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["drive", "--shape", shape.name]).env("VK_DRIVER_FILES", driver);
    Driven::start(&mut command).map(Some)
}

impl Driven {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.context("the engine's process has no pipes")?;
        let mut loaded = Self { child, stdin, stdout: BufReader::new(stdout) };
        ensure!(
            loaded.line()? == "ready",
            "{} did not load its weights",
            command.get_program().display()
        );
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
        line.parse().with_context(|| format!("the engine said {line:?}"))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("the engine's process ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python with llama.cpp in it.
fn install() -> anyhow::Result<PathBuf> {
    python("venv", "llama_cpp", &[LLAMA_CPP])
}

/// Writes a Hugging Face folder's encoder as ONNX.
///
/// # Errors
/// If Python is missing or fails.
pub fn export_onnx(source: &Path, target: &Path) -> anyhow::Result<()> {
    let python = python("venv-onnx", "onnx, safetensors", &ONNX)?;
    let script = root().join("benches/peers/export_onnx.py");
    finish(
        Command::new(python).arg(script).arg(source).arg(target),
        "it writes the encoder as ONNX",
    )
}

/// A Python of its own that can import `modules`, after installing `packages` into it the first
/// time.
fn python(folder_name: &str, modules: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let venv = folder().join(folder_name);
    let python = venv.join("bin/python");
    let import = format!("import {modules}");
    let works = |python: &Path| {
        let mut check = Command::new(python);
        check
            .args(["-c", &import])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !works(&python) {
        finish(
            Command::new("python3").args(["-m", "venv"]).arg(&venv),
            "Python 3 with venv is needed",
        )?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet"]).args(packages);
        finish(&mut pip, "some packages build with a C++ compiler")?;
        ensure!(works(&python), "{packages:?} were installed, but do not load");
    }
    Ok(python)
}

fn finish(command: &mut Command, needed: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    // Stdout is for the table.
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("could not run {name}: {needed}"))?;
    ensure!(status.success(), "{name} failed: {needed}");
    Ok(())
}

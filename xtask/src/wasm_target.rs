//! The compiler's wasm32 target: looked up, downloaded by rustup, or built from a distribution's
//! packages.
//!
//! The long way round is in `xtask/wasm-target.sh`; here is only the question whether it is needed,
//! because it is asked at every run.

use std::path::Path;
use std::process::Command;

use crate::command::{Failure, Outcome, capture, clean, root};

/// The target that pages are built for.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";
/// The name under which `wasm-target.sh` links a distribution's compiler into rustup.
const DISTRO_TOOLCHAIN: &str = "distro";

/// The toolchain that can build for [`WASM_TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The one that also builds everything native.
    Project,
    /// Another one, by its rustup name.
    Other(String),
}

impl WasmToolchain {
    /// Makes a cargo or trunk command use it.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Self::Other(name) = self {
            command.env("RUSTUP_TOOLCHAIN", name);
        }
    }
}

/// Makes sure that there is one.
pub(crate) fn ensure() -> Outcome<WasmToolchain> {
    if has_target(&mut clean("rustc")) {
        return Ok(WasmToolchain::Project);
    }
    if has_target(clean("rustc").env("RUSTUP_TOOLCHAIN", DISTRO_TOOLCHAIN)) {
        return Ok(WasmToolchain::Other(DISTRO_TOOLCHAIN.to_owned()));
    }
    eprintln!("getting the {WASM_TARGET} target of the compiler (once)");
    let printed = capture(
        clean("bash").arg(root().join("xtask/wasm-target.sh")).current_dir(root()),
        &format!("the compiler has no {WASM_TARGET} target and it could not be had"),
        "run `rustup target add wasm32-unknown-unknown` where the network allows it",
    )?;
    let toolchain = printed
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("RUSTUP_TOOLCHAIN="))
        .unwrap_or_default();
    if has_target(&mut clean("rustc")) {
        Ok(WasmToolchain::Project)
    } else if toolchain.is_empty() {
        Err(Failure::new(
            format!("the compiler still has no {WASM_TARGET} target"),
            "put /usr/bin first on PATH, so that the distribution's rustc is used",
        ))
    } else {
        Ok(WasmToolchain::Other(toolchain.to_owned()))
    }
}

fn has_target(rustc: &mut Command) -> bool {
    let Ok(output) = rustc.args(["--print", "sysroot"]).current_dir(root()).output() else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let Ok(libraries) =
        Path::new(&sysroot).join("lib/rustlib").join(WASM_TARGET).join("lib").read_dir()
    else {
        return false;
    };
    output.status.success()
        && libraries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
}

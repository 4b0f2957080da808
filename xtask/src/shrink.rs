//! Shrinks the page's wasm with Binaryen's `wasm-opt`, where there is one: about an eighth less to
//! download.
//!
//! Optional, as the page runs without; hence not trunk's business, which would fail or fetch a
//! binary. It takes a `wasm-opt` on `PATH` that is new enough, else npm's, kept in the user's cache
//! folder. A shrunk file is kept under the hash of what it was made from and with what, so that an
//! unchanged page costs nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use xtask::programs::on_path;

use crate::command::{Failure, Outcome, capture, clean, root};
use crate::npm::Package;

/// Older ones break what they shrink: 108, Debian 12's, takes one table for another, and the page's
/// worker dies as it starts.
const OLDEST_VERSION: u32 = 120;
/// What is installed where none is on `PATH`.
const BINARYEN: Package = Package {
    name: "binaryen",
    version: "132.0.0",
    integrity: "sha512-\
        4Usg7yEvwO3FMso3Oov6qkOOHSod1IEv+boKkh77kTljM+eNBouqCTbqWswGzbG+vDNO/b/v2C4gfEh1WgB9Lg==",
    program: ("wasm-opt", "bin/wasm-opt"),
};

/// What rustc's wasm uses; `wasm-opt` takes nothing beyond the first version of wasm for granted.
const FEATURES: [&str; 7] = [
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-reference-types",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
];

/// A `wasm-opt` and what it says its version is.
pub(crate) struct WasmOpt {
    program: PathBuf,
    version: String,
}

/// A `wasm-opt`, if there is one or npm can install it.
pub(crate) fn wasm_opt() -> Option<WasmOpt> {
    let found = ensure();
    if found.is_none() {
        eprintln!(
            "no wasm-opt since version {OLDEST_VERSION} and no npm: the page stays an eighth larger"
        );
    }
    found
}

/// Finds a `wasm-opt`, or has npm install one.
fn ensure() -> Option<WasmOpt> {
    if let Some(found) = on_path("wasm-opt").and_then(new_enough) {
        return Some(found);
    }
    let program = BINARYEN.folder()?.join("node_modules/.bin/wasm-opt");
    if let Some(found) = new_enough(program.clone()) {
        return Some(found);
    }
    BINARYEN.install("install wasm-opt yourself")?;
    new_enough(program)
}

fn new_enough(program: PathBuf) -> Option<WasmOpt> {
    let output = clean(&program).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (version_number(&version)? >= OLDEST_VERSION).then_some(WasmOpt { program, version })
}

/// The number in `wasm-opt version 120 (version_120)`.
fn version_number(text: &str) -> Option<u32> {
    text.strip_prefix("wasm-opt version ")?.split_whitespace().next()?.parse().ok()
}

/// Shrinks a wasm file where it lies.
pub(crate) fn file(wasm_opt: &WasmOpt, path: &Path) -> Outcome {
    let original = fs::read(path).map_err(|error| failed(path, &error))?;
    let kept = kept(&original, &wasm_opt.version);
    if !kept.is_file() {
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        let aside = kept.with_extension("part");
        let mut command = clean(&wasm_opt.program);
        command.arg("-Oz").args(FEATURES).arg(path).arg("-o").arg(&aside);
        capture(
            &mut command,
            &format!("{} could not be shrunk", path.display()),
            "take wasm-opt off PATH, or mend it",
        )?;
        fs::rename(&aside, &kept).map_err(|error| failed(&kept, &error))?;
    }
    fs::copy(&kept, path).map(|_| ()).map_err(|error| failed(path, &error))
}

fn kept(original: &[u8], version: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (original, version, FEATURES).hash(&mut hasher);
    root().join("target/wasm-opt").join(format!("{:016x}.wasm", hasher.finish()))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{}: {error}", path.display()),
        "remove dist/ and target/wasm-opt, then run this again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_a_number() {
        assert_eq!(version_number("wasm-opt version 108"), Some(108));
        assert_eq!(version_number("wasm-opt version 132 (version_132)"), Some(132));
        assert_eq!(version_number("wasm-opt version"), None);
        assert_eq!(version_number(""), None);
    }
}

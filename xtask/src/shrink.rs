//! Shrinks the page's wasm with Binaryen's `wasm-opt`, where it is installed: about a tenth less to download.
//!
//! Optional, as the page runs without; hence not trunk's business, which would fail or fetch a binary. A `wasm-opt` that cannot read a
//! file (Debian's does not know every instruction that rustc uses) leaves it as built. A shrunk file is kept under the hash of what it
//! was made from, so that an unchanged page costs nothing.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use xtask::programs::on_path;

use crate::command::{Failure, Outcome, clean, root};

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

/// Shrinks every wasm file of the built page, if `wasm-opt` is there.
pub(crate) fn page(folder: &Path) -> Outcome {
    let Some(program) = on_path("wasm-opt") else { return Ok(()) };
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|extension| extension == "wasm") {
            file(&program, &path)?;
        }
    }
    Ok(())
}

fn file(program: &Path, path: &Path) -> Outcome {
    let original = fs::read(path).map_err(|error| failed(path, &error))?;
    let kept = kept(&original);
    if !kept.is_file() {
        if let Some(folder) = kept.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        let aside = kept.with_extension("part");
        let mut command = clean(program);
        command.arg("-Oz").args(FEATURES).arg(path).arg("-o").arg(&aside);
        let output = command.output().map_err(|error| failed(program, &error))?;
        if !output.status.success() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            eprintln!("{name} stays as built: this wasm-opt cannot read it");
            return Ok(());
        }
        fs::rename(&aside, &kept).map_err(|error| failed(&kept, &error))?;
    }
    fs::copy(&kept, path).map(|_| ()).map_err(|error| failed(path, &error))
}

fn kept(original: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    original.hash(&mut hasher);
    root().join("target/wasm-opt").join(format!("{:016x}.wasm", hasher.finish()))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()), "remove dist/ and target/wasm-opt, then run this again")
}

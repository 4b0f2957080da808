//! nginx for the test of README's configuration, from Debian's package but not installed: an
//! installed one would be started as a service, on a port that everybody can reach.
//!
//! Optional: elsewhere than on Debian and Ubuntu, or without a network, the test says that it skips.

use std::fs;
use std::path::{Path, PathBuf};

use xtask::programs::on_path;

use crate::command::{capture, clean};
use crate::tools;

/// Where the system's own is; not always on PATH.
const SYSTEM: &str = "/usr/sbin/nginx";
/// Where it lies in the package.
const INSIDE: &str = "usr/sbin/nginx";

/// The program, after a download the first time; none where it cannot be had.
pub(crate) fn program() -> Option<PathBuf> {
    let system = on_path("nginx").or_else(|| Some(PathBuf::from(SYSTEM)).filter(|it| it.exists()));
    if system.is_some() {
        return system;
    }
    let folder = tools::cache_folder().ok()?.join("nginx");
    let program = folder.join(INSIDE);
    if !program.exists() {
        on_path("apt-get")?;
        eprintln!("unpacking Debian's nginx in {} (once, 2 MB)", folder.display());
        unpack(&folder)?;
    }
    let skips = "the test of the proxy skips; install nginx for it";
    capture(clean(&program).arg("-v"), "nginx does not run", skips)
        .inspect_err(|failure| eprintln!("{failure}"))
        .ok()?;
    Some(program)
}

/// Aside and renamed, so that a download that breaks off leaves nothing that looks whole.
fn unpack(folder: &Path) -> Option<()> {
    let aside = folder.with_extension("part");
    fs::create_dir_all(&aside).ok()?;
    let skips = "the test of the proxy skips";
    let said = |outcome: crate::command::Outcome<String>| {
        outcome.inspect_err(|failure| eprintln!("{failure}")).ok()
    };
    said(capture(
        clean("apt-get").args(["download", "-qq", "nginx"]).current_dir(&aside),
        "apt-get could not download nginx",
        skips,
    ))?;
    let mut files = fs::read_dir(&aside).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|it| it == "deb"))?;
    said(capture(
        clean("dpkg-deb").arg("-x").arg(&package).arg(&aside),
        "nginx could not be unpacked",
        skips,
    ))?;
    fs::rename(&aside, folder).ok()
}

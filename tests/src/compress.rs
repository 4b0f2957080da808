//! The page's files as a server with Brotli sends them: made once by whoever builds the page, so that
//! the server need not, and could not as well.
//!
//! The best quality takes seconds for a megabyte, so what was compressed is kept by the hash of what
//! it was made from: an unchanged file costs nothing.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs;
use std::hash::Hasher as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, anyhow};

/// Brotli's best quality, as for files that are compressed once and sent often.
const QUALITY: u32 = 11;
/// Brotli's largest standard window, 2^22 bytes: every file fits it.
const WINDOW_BITS: u32 = 22;

/// Writes `FILE.br` beside every file of a folder that gets smaller by it. `kept` is where what was
/// compressed before is found, and found again.
///
/// # Errors
/// If a file cannot be read or written.
pub fn folder(folder: &Path, kept: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(kept).with_context(|| format!("{} cannot be made", kept.display()))?;
    let entries = fs::read_dir(folder).with_context(|| unreadable(folder))?;
    let files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|end| end != "br"))
        .collect();
    // The two programs of the page are most of it.
    thread::scope(|scope| {
        let all: Vec<_> = files.iter().map(|path| scope.spawn(|| file(path, kept))).collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a panic"))))
    })
}

/// What a file is called compressed.
#[must_use]
pub fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".br");
    name.into()
}

fn file(path: &Path, kept: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(path).with_context(|| unreadable(path))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    let kept = kept.join(format!("{:016x}-{}.br", hasher.finish(), bytes.len()));
    let compressed = match fs::read(&kept) {
        Ok(compressed) => compressed,
        Err(_) => {
            let compressed = brotli(&bytes).context("Brotli failed")?;
            // Whole or not at all, whoever else builds the page just now.
            let aside = kept.with_extension(format!("{}.part", std::process::id()));
            fs::write(&aside, &compressed).with_context(|| unwritable(&aside))?;
            fs::rename(&aside, &kept).with_context(|| unwritable(&kept))?;
            compressed
        }
    };
    if compressed.len() < bytes.len() {
        let to = beside(path);
        fs::write(&to, compressed).with_context(|| unwritable(&to))?;
    }
    Ok(())
}

/// The bytes as Brotli makes them at its best.
///
/// # Errors
/// Never for a reason of the bytes.
pub fn brotli(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut compressed, 1 << 16, QUALITY, WINDOW_BITS);
    writer.write_all(bytes)?;
    writer.flush()?;
    drop(writer);
    Ok(compressed)
}

fn unreadable(path: &Path) -> String {
    format!("{} cannot be read; run `cargo xtask build`", path.display())
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written; is the disk full?", path.display())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_gets_smaller_lies_compressed_beside_it_and_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let (page, kept) = (root.path().join("page"), root.path().join("kept"));
        fs::create_dir(&page).unwrap();
        let text = b"people at a table ".repeat(500);
        fs::write(page.join("a.js"), &text).unwrap();
        fs::write(page.join("b.txt"), b"x").unwrap();
        folder(&page, &kept).unwrap();
        let compressed = fs::read(beside(&page.join("a.js"))).unwrap();
        let mut whole = Vec::new();
        brotli::Decompressor::new(&compressed[..], 4096).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, text);
        assert!(!beside(&page.join("b.txt")).exists(), "it would only grow");

        // Kept: what lies there is taken as it is, and nothing is compressed twice.
        for entry in fs::read_dir(&kept).unwrap() {
            fs::write(entry.unwrap().path(), b"").unwrap();
        }
        folder(&page, &kept).unwrap();
        assert_eq!(fs::read(beside(&page.join("a.js"))).unwrap(), b"");
        assert!(!page.join("a.js.br.br").exists());
    }
}

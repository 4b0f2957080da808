//! How large the page is on the wire: the two wasm files as a server with Brotli sends them.
//!
//! The budgets are aims, not limits: beyond twice an aim something has gone wrong, and only then a
//! check fails.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// The page's own wasm: what everyone downloads who only looks. A second or two on a phone's
/// network.
pub const PAGE_AIM_BYTES: u64 = 500_000;
/// The worker's wasm: downloaded after the first click, engine and tokenizer included.
pub const WORKER_AIM_BYTES: u64 = 700_000;

/// Brotli's best quality, as for files that are compressed once and sent often.
const QUALITY: u32 = 11;
/// Brotli's largest standard window, 2^22 bytes: both files fit it.
const WINDOW_BITS: u32 = 22;

/// One wasm file's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// `page` or `worker`.
    pub name: &'static str,
    /// As built.
    pub raw_bytes: u64,
    /// As sent.
    pub brotli_bytes: u64,
    /// What it should be at most, as sent.
    pub aim_bytes: u64,
}

impl Size {
    /// True beyond twice the aim.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.brotli_bytes > 2 * self.aim_bytes
    }
}

/// Measures both files in a built page's folder.
///
/// # Errors
/// If one of them is not there.
pub fn measure(page: &Path) -> anyhow::Result<Vec<Size>> {
    [("page", "potluck-app", PAGE_AIM_BYTES), ("worker", "potluck-node", WORKER_AIM_BYTES)]
        .into_iter()
        .map(|(name, prefix, aim_bytes)| {
            let bytes = wasm(page, prefix)?;
            let compressed = brotli(&bytes).context("Brotli failed")?;
            Ok(Size {
                name,
                raw_bytes: bytes.len() as u64,
                brotli_bytes: compressed.len() as u64,
                aim_bytes,
            })
        })
        .collect()
}

fn wasm(page: &Path, prefix: &str) -> anyhow::Result<Vec<u8>> {
    let entries = fs::read_dir(page)
        .with_context(|| format!("{} is not built; run `cargo xtask build`", page.display()))?;
    let file = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".wasm")
    });
    let file = file.with_context(|| {
        format!("there is no {prefix}*.wasm in {}; run `cargo xtask build`", page.display())
    })?;
    fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))
}

fn brotli(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressed = Vec::new();
    let mut writer = brotli::CompressorWriter::new(&mut compressed, 1 << 16, QUALITY, WINDOW_BITS);
    writer.write_all(bytes)?;
    writer.flush()?;
    drop(writer);
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(measure(folder.path()).unwrap_err().to_string().contains("potluck-app"));
        for name in ["potluck-app-1a2b_bg.wasm", "potluck-node_bg.wasm", "potluck-node.js"] {
            fs::write(folder.path().join(name), vec![7; 10_000]).unwrap();
        }
        let sizes = measure(folder.path()).unwrap();
        assert_eq!(
            sizes.iter().map(|size| (size.name, size.raw_bytes)).collect::<Vec<_>>(),
            [("page", 10_000), ("worker", 10_000)]
        );
        assert!(sizes.iter().all(|size| size.brotli_bytes < 100 && !size.is_too_large()));
    }
}

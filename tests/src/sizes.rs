//! How large the page is on the wire, as a server with Brotli sends it: its two wasm programs, and
//! everything that comes before a visitor has said yes to anything. The page's own program comes in two
//! parts, the later of them when it is first shown.
//!
//! The budgets of the programs are aims, not limits: beyond twice an aim something has gone wrong,
//! and only then a check fails. What comes unasked is held to its word.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::compress::{beside, brotli};

/// The page's own wasm: what everyone downloads who only looks.
pub const PAGE_AIM_BYTES: u64 = 160_000;
/// The rest of it, fetched with the first click.
pub const LATER_AIM_BYTES: u64 = 100_000;
/// The worker's wasm: downloaded after the first click, engine and tokenizer included.
pub const WORKER_AIM_BYTES: u64 = 700_000;
/// All files of the page that are fetched without a click: a second or two on a phone's network.
pub const BEFORE_YES_LIMIT_BYTES: u64 = 200_000;

/// The same for whose language is not the program's own: its words come in a file of their own.
pub const OTHER_LANGUAGE_LIMIT_BYTES: u64 = 210_000;

/// What another site's page fetches for a widget whose visitor has said nothing yet: less than a
/// picture, as nobody asked for it.
pub const WIDGET_LIMIT_BYTES: u64 = 4096;

/// What the files of the widget and of the page of site owners are called, which the page does not
/// fetch.
const WIDGET: &str = "embed.";
const OWNERS: &str = "sites.";
/// What the page's program is called, and the worker's.
const PAGE: &str = "potluck-app";
const WORKER: &str = "potluck-node";
/// What the names of the page's program end with, and of its later part.
const AT_ONCE: &str = "_bg.wasm";
const LATER: &str = "_later.wasm";
/// What the file with the words of a language ends with: whose browser asks for them fetches them before
/// anything else.
const WORDS: &str = ".ftl";
/// What is fetched only after a click, or by whoever installs the page.
const ASKED_FOR: [&str; 5] = [WORKER, "icon-", "offline.", WIDGET, OWNERS];

/// The size of one file, or of several together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// `page wasm`, `page wasm, later`, `worker wasm`, `before a yes` (or the same `in another language`)
    /// or `widget`.
    pub name: &'static str,
    /// As built.
    pub raw_bytes: u64,
    /// As sent.
    pub brotli_bytes: u64,
    /// What it should be at most, as sent.
    pub aim_bytes: u64,
    /// What it must be at most, as sent.
    limit_bytes: u64,
}

impl Size {
    /// True beyond what it must be at most.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.brotli_bytes > self.limit_bytes
    }
}

/// Measures a built page's folder.
///
/// # Errors
/// If it is not built.
pub fn measure(page: &Path) -> anyhow::Result<Vec<Size>> {
    let files = files(page)?;
    let named = |prefix: &'static str, ending: &'static str| {
        files.iter().filter(move |(name, _)| name.starts_with(prefix) && name.ends_with(ending))
    };
    let mut sizes = Vec::new();
    for (name, prefix, ending, aim) in [
        ("page wasm", PAGE, AT_ONCE, PAGE_AIM_BYTES),
        ("page wasm, later", PAGE, LATER, LATER_AIM_BYTES),
        ("worker wasm", WORKER, AT_ONCE, WORKER_AIM_BYTES),
    ] {
        let (_, path) = named(prefix, ending).next().with_context(|| {
            let folder = page.display();
            format!("there is no {prefix}*{ending} in {folder}; run `cargo xtask build`")
        })?;
        sizes.push(sum(name, [path.as_path()], aim, 2 * aim)?);
    }
    let is_asked_for =
        |name: &str| ASKED_FOR.iter().any(|it| name.starts_with(it)) || name.ends_with(LATER);
    let unasked = |with_words: bool| {
        let unasked = files.iter().filter(|(name, _)| !is_asked_for(name));
        let unasked = unasked.filter(move |(name, _)| with_words || !name.ends_with(WORDS));
        unasked.map(|(_, path)| path.as_path())
    };
    let aim = BEFORE_YES_LIMIT_BYTES;
    sizes.push(sum("before a yes", unasked(false), aim, BEFORE_YES_LIMIT_BYTES)?);
    let limit = OTHER_LANGUAGE_LIMIT_BYTES;
    sizes.push(sum("before a yes, in another language", unasked(true), aim, limit)?);
    let widget = named(WIDGET, "").map(|(_, path)| path.as_path());
    sizes.push(sum("widget", widget, WIDGET_LIMIT_BYTES, WIDGET_LIMIT_BYTES)?);
    Ok(sizes)
}

/// The page's files by name, without their compressed forms.
fn files(page: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(page)
        .with_context(|| format!("{} is not built; run `cargo xtask build`", page.display()))?;
    let files: Vec<(String, PathBuf)> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, path)| path.is_file() && !name.ends_with(".br"))
        .collect();
    ensure!(!files.is_empty(), "{} is empty; run `cargo xtask build`", page.display());
    Ok(files)
}

fn sum<'a>(
    name: &'static str,
    files: impl IntoIterator<Item = &'a Path>,
    aim_bytes: u64,
    limit_bytes: u64,
) -> anyhow::Result<Size> {
    let mut size = Size { name, raw_bytes: 0, brotli_bytes: 0, aim_bytes, limit_bytes };
    for path in files {
        let bytes = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        size.raw_bytes += bytes.len() as u64;
        size.brotli_bytes += match fs::metadata(beside(path)) {
            Ok(compressed) => compressed.len(),
            // The page of `trunk build`, or a file that does not get smaller.
            Err(_) => brotli(&bytes).context("Brotli failed")?.len().min(bytes.len()) as u64,
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_the_worker_does_not_come_unasked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(measure(folder.path()).is_err());
        for name in ["potluck-app-1a2b_bg.wasm", "potluck-node-3c4d_bg.wasm", "potluck-node.js"] {
            fs::write(folder.path().join(name), vec![7; 10_000]).unwrap();
        }
        fs::write(folder.path().join("potluck-app-1a2b_later.wasm"), vec![7; 2_000]).unwrap();
        fs::write(folder.path().join("index.html"), vec![7; 5_000]).unwrap();
        fs::write(folder.path().join("zh-1a2b.ftl"), vec![7; 1_000]).unwrap();
        for name in ["embed.js", "embed.html", "sites.html", "sites.js"] {
            fs::write(folder.path().join(name), vec![7; 1_000]).unwrap();
        }
        let sizes = measure(folder.path()).unwrap();
        assert_eq!(
            sizes.iter().map(|size| (size.name, size.raw_bytes)).collect::<Vec<_>>(),
            [
                ("page wasm", 10_000),
                ("page wasm, later", 2_000),
                ("worker wasm", 10_000),
                ("before a yes", 15_000),
                ("before a yes, in another language", 16_000),
                ("widget", 2_000)
            ]
        );
        assert!(sizes.iter().all(|size| size.brotli_bytes < 100 && !size.is_too_large()));

        // What the server sends is what lies beside the file.
        let served = folder.path().join("index.html.br");
        let limit = usize::try_from(BEFORE_YES_LIMIT_BYTES).unwrap();
        fs::write(&served, vec![7; limit]).unwrap();
        let sizes = measure(folder.path()).unwrap();
        assert_eq!(sizes[3].raw_bytes, 15_000);
        assert!(sizes[3].is_too_large() && !sizes[0].is_too_large());
    }
}

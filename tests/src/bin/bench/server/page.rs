//! What a visitor's browser loads of the page before anything is agreed to, in bytes as they are
//! sent.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use e2e::measured::Measured;
use e2e::process::Folder;
use e2e::programs;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::rig::Builder;

/// A little over two seconds on a slow phone's network.
const PAGE_AIM_KB: f64 = 200.0;

/// Reads the page as a browser does; says on stderr if it is not built.
pub(super) async fn measure(builder: &Builder, measured: &mut Vec<Measured>) -> anyhow::Result<()> {
    if let Err(missing) = programs::page() {
        eprintln!("bytes before consent are not measured: {missing:#}");
        return Ok(());
    }
    eprintln!("bytes before consent");
    let folder = Folder::new()?;
    let server = builder.start(folder.path(), "page", true).await?;
    let (index, mut total) = fetch(&format!("{}/", server.url())).await?;
    let index = String::from_utf8(index).context("the page is text")?;
    let files = loaded_by(&index);
    ensure!(
        files.iter().any(|file| file.ends_with(".wasm")),
        "the page loads no program: {files:?}"
    );
    for file in &files {
        total += fetch(&format!("{}/{file}", server.url())).await?.1;
    }
    let name = format!("bytes before consent, as served: the page and {} files", files.len());
    measured.push(Measured::new(&name, total as f64 / 1000.0, "KB").aiming_at(PAGE_AIM_KB));
    Ok(())
}

/// What was sent, uncompressed where that can be told, and how many bytes of body it took.
async fn fetch(url: &str) -> anyhow::Result<(Vec<u8>, usize)> {
    let response = reqwest::Client::new().get(url).header(ACCEPT_ENCODING, "br").send().await?;
    ensure!(response.status().is_success(), "{url} answers {}", response.status());
    let compressed = response.headers().get(CONTENT_ENCODING).is_some_and(|how| how == "br");
    let sent = response.bytes().await?;
    let mut bytes = Vec::new();
    if compressed {
        brotli::BrotliDecompress(&mut &sent[..], &mut bytes)?;
    } else {
        bytes.extend_from_slice(&sent);
    }
    Ok((bytes, sent.len()))
}

/// Files of our own that a browser fetches because the page names them: scripts, styles, icons, and
/// the program that its script starts. Those of the worker are not among them.
fn loaded_by(index: &str) -> BTreeSet<String> {
    // Apostrophes of its words are quotes as well, so it is not known which parts are quoted: none that
    // is not can look like a file.
    let parts = index.split(['"', '\'']);
    let is_loaded = |name: &&str| {
        [".js", ".css", ".wasm", ".svg"].iter().any(|kind| name.ends_with(kind))
            && !name.contains("://")
            && !name.contains(char::is_whitespace)
    };
    parts
        .filter(is_loaded)
        .map(|name| name.trim_start_matches("./").trim_start_matches('/').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_from_the_page() {
        let index = r#"<title>People's</title><link rel="stylesheet" href="/style-1.css"><script type="module">
            import init from './app-1.js'; init({ module_or_path: './app-1_bg.wasm' });</script>
            <link rel="modulepreload" href="./app-1.js"><a href="https://example.org/x.js">x</a>"#;
        let files: Vec<String> = loaded_by(index).into_iter().collect();
        assert_eq!(files, ["app-1.js", "app-1_bg.wasm", "style-1.css"]);
    }
}

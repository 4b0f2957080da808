//! The page's document: kept in memory, read anew when its file changes, with the hashes of its
//! inline scripts and the name of its build.
//!
//! The build starts the page's wasm from an inline script, whose hash goes into the content security
//! policy, so that no other inline script can run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::body::Bytes;
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use crate::http::WidgetLanguage;
use crate::rendered::Rendered;

/// Brotli's best, for a document that is compressed once a build.
const QUALITY: u32 = 11;
/// Brotli's window, 2^so many bytes.
const WINDOW_BITS: u32 = 22;
/// Letters of a build's name at most.
const MAX_BUILD_LETTERS: usize = 64;

/// Where the page is, and its document as it was read last.
#[derive(Debug)]
pub(crate) struct PageIndex {
    folder: PathBuf,
    index: ReadOnce,
    embed: [ReadOnce; 2],
    sites: ReadOnce,
}

/// A document, and the version of its file that it was read from.
type ReadOnce = Mutex<Option<(Version, Arc<Document>)>>;

/// When a file was written last, and its bytes.
type Version = (Option<SystemTime>, u64);

/// One of the page's documents: its own, that of the widget's frame, that of site owners.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) html: Rendered,
    pub(crate) brotli: Rendered,
    /// `'sha256-…'` of every inline script, each after a blank.
    pub(crate) script_hashes: String,
    /// The same of every inline style.
    pub(crate) style_hashes: String,
    build: Option<String>,
}

impl PageIndex {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            index: Mutex::default(),
            embed: Default::default(),
            sites: Mutex::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The document; `None` if the page is not built.
    pub(crate) async fn document(&self) -> Option<Arc<Document>> {
        self.read("index.html", &self.index, |html| html).await
    }

    /// What the document of the widget's frame is made of, for every site another.
    pub(crate) async fn embed(&self, language: WidgetLanguage) -> Option<Arc<Document>> {
        let read_last = &self.embed[language as usize];
        self.read("embed.html", read_last, |html| language.translate(html)).await
    }

    /// The document for owners of sites.
    pub(crate) async fn sites(&self) -> Option<Arc<Document>> {
        self.read("sites.html", &self.sites, |html| html).await
    }

    async fn read(
        &self,
        name: &str,
        read_last: &ReadOnce,
        words: impl FnOnce(String) -> String,
    ) -> Option<Arc<Document>> {
        let path = self.folder.join(name);
        let metadata = tokio::fs::metadata(&path).await.ok()?;
        let version = (metadata.modified().ok(), metadata.len());
        if let Some((read, document)) = &*lock(read_last)
            && *read == version
        {
            return Some(Arc::clone(document));
        }
        let html = tokio::fs::read_to_string(&path).await.ok()?;
        let document = Arc::new(Document::new(words(html)));
        *lock(read_last) = Some((version, Arc::clone(&document)));
        Some(document)
    }

    /// What the build is called, if the page says so.
    pub(crate) async fn build(&self) -> Option<String> {
        self.document().await?.build.clone()
    }
}

fn lock(read: &ReadOnce) -> std::sync::MutexGuard<'_, Option<(Version, Arc<Document>)>> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Document {
    fn new(html: String) -> Self {
        let hashes = |element| {
            let hash = |text: &str| BASE64.encode(&Sha256::digest(text.as_bytes()));
            inline(&html, element).map(|text| format!(" 'sha256-{}'", hash(text))).collect()
        };
        let (script_hashes, style_hashes) = (hashes("script"), hashes("style"));
        let build = build_name(&html).map(str::to_owned);
        let content_type = "text/html; charset=utf-8";
        let mut writer =
            brotli::CompressorWriter::new(Vec::new(), html.len().max(1), QUALITY, WINDOW_BITS);
        writer.write_all(html.as_bytes()).expect("memory takes all that is written");
        let brotli = Rendered::new(Bytes::from(writer.into_inner()), content_type);
        let html = Rendered::new(html.into(), content_type);
        Self { html, brotli, script_hashes, style_hashes, build }
    }
}

/// The text of every such element without a source.
fn inline<'a>(html: &'a str, element: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let elements: Vec<&str> = html.split(&open).skip(1).collect();
    elements.into_iter().filter_map(move |rest| {
        let (attributes, rest) = rest.split_once('>')?;
        let (text, _) = rest.split_once(&close)?;
        (!attributes.contains("src=") && !text.is_empty()).then_some(text)
    })
}

/// What `<meta name="build" content="…">` says.
fn build_name(html: &str) -> Option<&str> {
    let (_, rest) = html.split_once("<meta name=\"build\" content=\"")?;
    let (name, _) = rest.split_once('"')?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = (1..=MAX_BUILD_LETTERS).contains(&name.len()) && name.chars().all(letter);
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inline_scripts_are_hashed() {
        let html = r#"<script type="module">a()</script><script src="b.js"></script><p>x</p><script>c()</script>"#;
        assert_eq!(inline(html, "script").collect::<Vec<_>>(), ["a()", "c()"]);
        let html = "<style>a{}</style><p>b</p>";
        assert_eq!(inline(html, "style").collect::<Vec<_>>(), ["a{}"]);
    }

    #[test]
    fn a_build_is_named_in_one_line_or_not_at_all() {
        let named = |name: &str| {
            let html = format!("<head><meta name=\"build\" content=\"{name}\" /></head>");
            build_name(&html).map(str::to_owned)
        };
        assert_eq!(named("0123abcd").as_deref(), Some("0123abcd"));
        for broken in ["", "a b", "a\nb", &"x".repeat(65)] {
            assert_eq!(named(broken), None, "{broken:?}");
        }
        assert_eq!(build_name("<head></head>"), None);
    }

    #[tokio::test]
    async fn a_new_build_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let index = PageIndex::new(folder.path());
        assert!(index.document().await.is_none());
        let path = folder.path().join("index.html");
        std::fs::write(&path, "<meta name=\"build\" content=\"one\">").unwrap();
        let first = index.document().await.unwrap();
        assert_eq!(index.build().await.as_deref(), Some("one"));
        assert!(Arc::ptr_eq(&first, &index.document().await.unwrap()), "it is read once");
        std::fs::write(&path, "<meta name=\"build\" content=\"second\">").unwrap();
        assert_eq!(index.build().await.as_deref(), Some("second"));
    }
}

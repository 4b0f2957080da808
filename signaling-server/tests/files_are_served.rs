//! The page's files and the blobs: compressed where they can be, kept where they may be, under a
//! policy that names nobody else.

#[path = "support/http.rs"]
mod http;
mod support;

use std::path::Path;

use anyhow::Context as _;
use http::get;
use potluck_model::package::Manifest;
use support::{Member, Running};

const BROTLI: &str = "Accept-Encoding: gzip, br";

fn page() -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    for (name, text) in [
        ("index.html", "<meta charset=utf-8><script type=\"module\">start()</script>"),
        ("style-0123456789abcdef.css", "p { color: red }"),
        ("style-0123456789abcdef.css.br", "compressed"),
        ("worker.js", "work()"),
    ] {
        std::fs::write(folder.path().join(name), text)?;
    }
    Ok(folder)
}

async fn start(page: &Path) -> anyhow::Result<Running> {
    Running::start_with(|config| config.page_dir = Some(page.to_owned())).await
}

#[tokio::test]
async fn files_come_compressed_and_are_kept_by_their_names() -> anyhow::Result<()> {
    let page = page()?;
    let server = start(page.path()).await?;
    let style = "/style-0123456789abcdef.css";
    let plain = get(server.address, style, &[]).await?;
    assert_eq!(
        (plain.text().as_str(), plain.header("content-encoding")),
        ("p { color: red }", None)
    );
    let compressed = get(server.address, style, &[BROTLI]).await?;
    assert_eq!(compressed.text(), "compressed");
    assert_eq!(compressed.header("content-encoding"), Some("br"));
    assert_eq!(compressed.header("content-type"), Some("text/css"));
    assert_eq!(compressed.header("vary"), Some("accept-encoding"));
    assert!(compressed.header("cache-control").is_some_and(|it| it.contains("immutable")));
    let worker = get(server.address, "/worker.js", &[BROTLI]).await?;
    assert_eq!(
        (worker.text().as_str(), worker.header("cache-control")),
        ("work()", Some("no-cache"))
    );
    let tag = format!("If-None-Match: {}", worker.header("etag").context("it has a tag")?);
    assert_eq!(get(server.address, "/worker.js", &[&tag]).await?.status, 304);
    for nothing in ["/other.js", "/below/", "/below", "/../Cargo.toml", "/style"] {
        assert_eq!(get(server.address, nothing, &[]).await?.status, 404, "{nothing}");
    }
    Ok(())
}

#[tokio::test]
async fn the_document_is_compressed_too_and_asked_after() -> anyhow::Result<()> {
    let page = page()?;
    let server = start(page.path()).await?;
    let plain = get(server.address, "/", &[]).await?;
    assert!(plain.text().contains("start()") && plain.header("content-encoding").is_none());
    let compressed = get(server.address, "/index.html", &[BROTLI]).await?;
    assert_eq!(compressed.header("content-encoding"), Some("br"));
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut brotli::Decompressor::new(&compressed.body[..], 4096),
        &mut text,
    )?;
    assert_eq!(text, plain.text());
    let tag = format!("If-None-Match: {}", compressed.header("etag").context("it has a tag")?);
    assert_eq!(get(server.address, "/", &[BROTLI, &tag]).await?.status, 304);
    assert_eq!(get(server.address, "/", &[&tag]).await?.status, 200, "of another encoding");
    Ok(())
}

#[tokio::test]
async fn the_policy_names_this_server_and_nobody_else() -> anyhow::Result<()> {
    let page = page()?;
    let server = start(page.path()).await?;
    let document = get(server.address, "/", &[]).await?;
    let policy = document.header("content-security-policy").context("it has a policy")?;
    let connect = format!("connect-src 'self' ws://{};", server.address);
    assert!(policy.contains(&connect), "{policy}");
    assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval' 'sha256-"), "{policy}");
    assert!(!policy.contains(" ws:;") && !policy.contains("wss:") && !policy.contains('*'));
    assert_eq!(document.header("cross-origin-opener-policy"), Some("same-origin"));
    assert_eq!(document.header("x-content-type-options"), Some("nosniff"));
    assert!(document.header("permissions-policy").is_some_and(|it| it.contains("camera=()")));
    let json = get(server.address, "/api/v1/models", &[]).await?;
    assert!(json.header("content-security-policy").is_some_and(|it| it.contains("'none'")));
    // A host that is no host stays out of it.
    let odd = get(server.address, "/", &["Host: localhost;script-src"]).await?;
    assert!(!odd.header("content-security-policy").is_some_and(|it| it.contains(";script-src")));
    Ok(())
}

#[tokio::test]
async fn a_tokenizer_travels_compressed_and_parts_of_it_do_not() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let member = Member::join(&server, 1).await?;
    let manifest = get(server.address, &format!("/api/v1/blobs/{}", member.model()), &[]).await?;
    let tokenizer = Manifest::from_bytes(&manifest.body)?.tokenizer;
    let path = format!("/api/v1/blobs/{}", tokenizer.hash);
    let plain = get(server.address, &path, &[]).await?;
    assert_eq!(*blake3::hash(&plain.body).as_bytes(), tokenizer.hash.0);
    let compressed = get(server.address, &path, &[BROTLI]).await?;
    assert_eq!(compressed.header("content-encoding"), Some("br"));
    assert_ne!(compressed.header("etag"), plain.header("etag"));
    assert!(compressed.body.len() < plain.body.len());
    let mut whole = Vec::new();
    std::io::Read::read_to_end(
        &mut brotli::Decompressor::new(&compressed.body[..], 4096),
        &mut whole,
    )?;
    assert!(whole == plain.body);
    let rest = get(server.address, &path, &[BROTLI, "Range: bytes=100-"]).await?;
    assert_eq!((rest.status, rest.header("content-encoding")), (206, None));
    assert!(rest.body == plain.body[100..]);
    for reply in [&plain, &compressed] {
        let tag = format!("If-None-Match: {}", reply.header("etag").context("it has a tag")?);
        let known = get(server.address, &path, &[BROTLI, &tag]).await?;
        assert_eq!((known.status, known.body.len()), (304, 0));
        assert!(known.header("cache-control").is_some_and(|it| it.contains("immutable")));
    }
    let nobody = format!("/api/v1/blobs/{}", "00".repeat(32));
    assert_eq!(get(server.address, &nobody, &["If-None-Match: *"]).await?.status, 404);
    Ok(())
}

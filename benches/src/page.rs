//! Our engine, and peers, in a page of headless Chromium.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use e2e::browser::{Browser, Graphics};
use e2e::programs::artifacts;
use tempfile::TempDir;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// What a page measures.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// The shape's name.
    pub shape: &'a str,
    /// Tokens of the text.
    pub prefill: u32,
    /// Tokens to sample.
    pub decode: u32,
    /// On WebGPU, of SwiftShader, not on the CPU.
    pub gpu: bool,
    /// With peers beside it.
    pub peers: bool,
}

/// An open page.
#[derive(Debug)]
pub struct Page {
    browser: Browser,
    backend: String,
    // The browser's; gone with it.
    _profile: TempDir,
}

/// Serves the folder of pages, the peers' packages under `/peers` and their models under `/shapes`,
/// on a free port of this machine.
///
/// # Errors
/// If there is no port.
pub async fn serve(pages: &Path, packages: PathBuf, shapes: PathBuf) -> anyhow::Result<SocketAddr> {
    // Isolated, as wllama asks for threads only then, and clocks are finer.
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let router = Router::new()
        .nest_service("/peers", ServeDir::new(packages))
        .nest_service("/shapes", ServeDir::new(shapes))
        .fallback_service(ServeDir::new(pages))
        .layer(header("cross-origin-opener-policy", "same-origin"))
        .layer(header("cross-origin-embedder-policy", "require-corp"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

impl Page {
    /// Opens one and waits until its engines are loaded.
    ///
    /// # Errors
    /// If there is no browser, or an engine does not load.
    pub async fn open(server: SocketAddr, work: Work<'_>) -> anyhow::Result<Self> {
        let Work { shape, prefill, decode, gpu, peers } = work;
        let (gpu, peers) = (u8::from(gpu), u8::from(peers));
        let query =
            format!("shape={shape}&prefill={prefill}&decode={decode}&gpu={gpu}&peers={peers}");
        Self::at(&format!("http://{server}/?{query}")).await
    }

    /// Opens the page of encoders, on WebGPU or on one thread of the CPU, and waits until they are
    /// loaded.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn encoder(server: SocketAddr, gpu: bool) -> anyhow::Result<Self> {
        Self::at(&format!("http://{server}/encoder.html{}", if gpu { "?gpu" } else { "" })).await
    }

    /// Opens the page that streams layers of a shape into WebGPU.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn streaming(server: SocketAddr, shape: &str) -> anyhow::Result<Self> {
        Self::at(&format!("http://{server}/stream.html?shape={shape}")).await
    }

    async fn at(address: &str) -> anyhow::Result<Self> {
        let profile = tempfile::tempdir()?;
        let log = artifacts("bench")?.join("chromedriver.log");
        let browser = Browser::start(profile.path(), &log, Graphics::Software).await?;
        browser.open(address).await?;
        let state = browser.wait_for_text("state", |state| state != "loading").await?;
        let Some(backend) = state.strip_prefix("ready ") else {
            bail!("{address} does not load: {state}")
        };
        Ok(Self { backend: backend.to_owned(), browser, _profile: profile })
    }

    /// What computes.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Clicks a button and gives the numbers that it writes.
    ///
    /// # Errors
    /// If it fails, or writes none.
    pub async fn measure(&self, hook: &str) -> anyhow::Result<Vec<f64>> {
        let output = format!("{hook}-rate");
        let before = self.browser.text(&output).await?.unwrap_or_default();
        self.browser.click(hook).await?;
        let written =
            self.browser.wait_for_text(&output, |text| !text.is_empty() && text != before).await;
        let state = self.browser.text("state").await?.unwrap_or_default();
        let written = written.with_context(|| format!("{hook} measures nothing: {state}"))?;
        let numbers = written.split(' ').skip(1).map(str::parse).collect::<Result<Vec<f64>, _>>();
        numbers.with_context(|| format!("{hook} wrote {written:?}"))
    }
}

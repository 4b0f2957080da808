//! Somebody's site, on another origin than the server, with the strictest policy that the widget can
//! live under: exactly the two directives that `docs/embedding.md` names.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use potluck_protocol::site::PROOF_PATH;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running site. Dropped, it ends.
#[derive(Debug)]
pub struct Host {
    port: u16,
    shown: Arc<Mutex<Shown>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shown {
    body: String,
    proof: String,
    policy: String,
}

/// What stands on the page besides the widget, which no answer may take away.
pub const CONTENT: &str = "Lemon cake: beat the eggs with the sugar.";

impl Host {
    /// Starts one that may load the widget of `server`.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(server: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a site")?;
        let port = listener.local_addr()?.port();
        let policy = format!("default-src 'none'; script-src {server}; frame-src {server}");
        let shown = Arc::new(Mutex::new(Shown { policy, ..Shown::default() }));
        let serving = Arc::clone(&shown);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = Arc::clone(&serving);
                // A browser that hangs up is no fault of the site's.
                tokio::spawn(async move { answer(stream, &serving).await });
            }
        });
        Ok(Self { port, shown, accepting })
    }

    /// Its origin, which is another site than the server's 127.0.0.1.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// The same pages on another site, as browsers tell sites apart: by a name without its port.
    #[must_use]
    pub fn numeric_origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same pages under an origin that nobody registered.
    #[must_use]
    pub fn other_origin(&self) -> String {
        format!("http://other.localhost:{}", self.port)
    }

    /// What the pages hold from now on, besides [`CONTENT`].
    pub fn show(&self, body: &str) {
        lock(&self.shown).body = body.to_owned();
    }

    /// What the file says that proves whose the site is.
    pub fn prove(&self, proof: &str) {
        lock(&self.shown).proof = proof.to_owned();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(mut stream: TcpStream, shown: &Mutex<Shown>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        let mut part = [0; 1024];
        match stream.read(&mut part).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(&part[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or("/");
    let (content_type, body, policy) = {
        let shown = lock(shown);
        let page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Recipes</title>\
             <meta name=viewport content=\"width=device-width\"><p id=content>{CONTENT}</p>{}",
            shown.body
        );
        match path {
            PROOF_PATH => ("text/plain", shown.proof.clone(), shown.policy.clone()),
            _ => ("text/html", page, shown.policy.clone()),
        }
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
         content-security-policy: {policy}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

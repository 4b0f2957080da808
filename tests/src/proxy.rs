//! A reverse proxy on loopback, for pages that lie under a path, and for servers some of whose answers
//! fail: what it passes on, and to whom, is a rule of the test's.
//!
//! One request a connection, so that each one is seen. It reads no more of HTTP than a request's
//! head, and knows nothing of what passes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server gets it, as a request for this path.
    Pass(String),
    /// Whoever listens on this port of this machine gets it as it is.
    Elsewhere(u16),
    /// It is answered so, without a body.
    Status(u16),
    /// It is answered with this.
    Body {
        /// Its type.
        content_type: &'static str,
        /// The whole answer.
        body: String,
    },
}

/// A running proxy. Dropped, it and all its connections end.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

type Rule = dyn Fn(&str) -> Answer + Send + Sync;

/// Bytes of a request's head at most: several times what a browser sends.
const MAX_HEAD_BYTES: usize = 32 * 1024;

impl Proxy {
    /// Starts one before the server on `port` of this machine. `rule` is asked about each request's
    /// path, with its query.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(
        port: u16,
        rule: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a proxy")?;
        let own_port = listener.local_addr()?.port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, rule): (_, Arc<Rule>) = (Arc::clone(&asked), Arc::new(rule));
        let accepting = tokio::spawn(async move {
            // Ends its connections when this task ends.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (seen, rule) = (Arc::clone(&seen), Arc::clone(&rule));
                connections.spawn(async move {
                    // A side that hangs up is no fault of the proxy's.
                    let _ = pass(client, port, &*rule, &seen).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { port: own_port, asked, accepting })
    }

    /// Its address, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every path that was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(asked: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(
    mut client: TcpStream,
    port: u16,
    rule: &Rule,
    seen: &Mutex<Vec<String>>,
) -> anyhow::Result<()> {
    let (head, rest) = read_head(&mut client).await?;
    let path = head.split(' ').nth(1).context("a request names a path")?.to_owned();
    lock(seen).push(path.clone());
    match rule(&path) {
        Answer::Pass(to) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
            server.write_all(once(&head.replacen(&path, &to, 1)).as_bytes()).await?;
            server.write_all(&rest).await?;
            copy_bidirectional(&mut client, &mut server).await?;
        }
        Answer::Elsewhere(port) => {
            let mut other = TcpStream::connect(("127.0.0.1", port)).await?;
            other.write_all(head.as_bytes()).await?;
            other.write_all(&rest).await?;
            copy_bidirectional(&mut client, &mut other).await?;
        }
        Answer::Status(status) => {
            let head =
                format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(head.as_bytes()).await?;
        }
        Answer::Body { content_type, body } => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
                 cache-control: no-store\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            client.write_all(head.as_bytes()).await?;
        }
    }
    Ok(client.shutdown().await?)
}

/// A request's head with the empty line at its end, and what was read of the rest.
async fn read_head(client: &mut TcpStream) -> anyhow::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8(read)?, rest));
        }
        if read.len() > MAX_HEAD_BYTES || client.read_buf(&mut read).await? == 0 {
            bail!("no whole request came");
        }
    }
}

/// The same head, but for that the connection ends with the answer; one that becomes a WebSocket
/// stays as it is.
fn once(head: &str) -> String {
    let is = |line: &str, name: &str| {
        line.split_once(':').is_some_and(|(header, _)| header.eq_ignore_ascii_case(name))
    };
    let lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    if lines.iter().any(|line| is(line, "upgrade")) {
        return head.to_owned();
    }
    let kept: Vec<&str> = lines.into_iter().filter(|line| !is(line, "connection")).collect();
    format!("{}\r\nconnection: close\r\n\r\n", kept.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_carries_one_request_unless_it_becomes_a_socket() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
        assert_eq!(once(head), "GET / HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n");
        let socket = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(once(socket), socket);
    }
}

//! Requests as bytes, so that a test can send what no client would, and see every header.

#![allow(dead_code, reason = "each scenario is a crate of its own and uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for `path`, with `headers` as lines; the host is the server's address if they name none.
pub(crate) async fn get(server: SocketAddr, path: &str, headers: &[&str]) -> anyhow::Result<Reply> {
    read(open(server, path, headers).await?).await
}

/// Sends `body` to `path`.
pub(crate) async fn post(
    server: SocketAddr,
    path: &str,
    headers: &[&str],
    body: &str,
) -> anyhow::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\n{lines}content-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    read(stream).await
}

async fn read(mut stream: TcpStream) -> anyhow::Result<Reply> {
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.context("no answer in time")??;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("no whole head")?;
    let head = String::from_utf8(bytes[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Reply { status, head, body: bytes.split_off(end + 4) })
}

/// Sends the request and reads nothing yet.
pub(crate) async fn open(
    server: SocketAddr,
    path: &str,
    headers: &[&str],
) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    let named = headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:"));
    let host = if named { String::new() } else { format!("host: {server}\r\n") };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\n{host}{lines}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Reads until `wanted` has come; all that came.
pub(crate) async fn read_until(stream: &mut TcpStream, wanted: &str) -> anyhow::Result<String> {
    let mut read = Vec::new();
    let reading = async {
        loop {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).await?;
            anyhow::ensure!(count > 0, "the stream ended without {wanted:?}");
            read.extend_from_slice(&part[..count]);
            if String::from_utf8_lossy(&read).contains(wanted) {
                return Ok(());
            }
        }
    };
    timeout(PATIENCE, reading).await.with_context(|| format!("no {wanted:?} in time"))??;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// True if the other side ends the connection.
pub(crate) async fn ends(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

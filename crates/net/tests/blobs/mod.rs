//! A blob server on loopback that can be told to misbehave.

#![allow(dead_code, reason = "every test uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test fails where its server does")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use potluck_net::platform::BlobCache;
use potluck_net::weights::{Patience, WeightStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request; the last one stands for all further ones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// All that was asked for.
    Good,
    /// Breaks off after so many bytes of the body.
    BreakAfter(usize),
    /// Sends the whole blob whatever range was asked for.
    IgnoreRange,
    /// Says it sends the range asked for, but announces another.
    WrongRange,
    /// Only this status.
    Status(u16),
    /// Accepts, and says nothing.
    Silent,
}

/// Path and `Range` header of each request.
type Requests = Mutex<Vec<(String, Option<String>)>>;

pub(crate) struct BlobServer {
    pub(crate) url: String,
    pub(crate) requests: Arc<Requests>,
}

impl BlobServer {
    pub(crate) async fn start(blob: Vec<u8>, manners: Vec<Manner>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            for index in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let manner = *manners.get(index).or(manners.last()).unwrap();
                let _ = answer(socket, &blob, manner, &heard).await;
            }
        });
        Self { url, requests }
    }

    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.requests.lock().unwrap().iter().map(|(_, range)| range.clone()).collect()
    }
}

async fn answer(
    mut socket: TcpStream,
    blob: &[u8],
    manner: Manner,
    requests: &Requests,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let range = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_owned));
    requests.lock().unwrap().push((path, range.clone()));
    let from: usize =
        range.map_or(0, |range| range["bytes=".len()..].trim_end_matches('-').parse().unwrap());
    let (status, from) = match manner {
        Manner::Silent => {
            // Held open by a task of its own, so that further requests are answered.
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(600)).await;
                drop(socket);
            });
            return Ok(());
        }
        Manner::Status(status) => {
            let text = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            return socket.write_all(text.as_bytes()).await;
        }
        Manner::IgnoreRange => ("200 OK", 0),
        _ if from > 0 => ("206 Partial Content", from),
        _ => ("200 OK", 0),
    };
    let body = &blob[from..];
    let said = if matches!(manner, Manner::WrongRange) { from + 1 } else { from };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-range: bytes {said}-{}/{}\r\n\r\n",
        body.len(),
        blob.len() - 1,
        blob.len()
    );
    socket.write_all(head.as_bytes()).await?;
    let end =
        if let Manner::BreakAfter(bytes) = manner { bytes.min(body.len()) } else { body.len() };
    socket.write_all(&body[..end]).await?;
    socket.shutdown().await
}

pub(crate) fn blob() -> Vec<u8> {
    (0..300_000_u32).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

/// A store in an empty folder, in a hurry.
pub(crate) fn store(folder: &std::path::Path) -> WeightStore {
    let patience = Patience {
        breaks: 3,
        first_wait: Duration::from_millis(1),
        stall: Duration::from_millis(300),
    };
    WeightStore::new(BlobCache::new(folder)).with_patience(patience)
}

pub(crate) fn kept(folder: &std::path::Path) -> Vec<String> {
    std::fs::read_dir(folder).map_or(Vec::new(), |entries| {
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    })
}

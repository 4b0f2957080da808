//! Connections that are opened and say nothing, or half of a request's head, keep nobody out:
//! members go on, new ones come, pages are served.

#[path = "support/http.rs"]
mod http;
mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use support::{Member, Running};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

/// Three times as many as the server takes.
const HALF_OPEN: usize = 300;
const BOUND: usize = 100;

async fn half_open(server: SocketAddr) -> anyhow::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    for index in 0..HALF_OPEN {
        let mut stream = TcpStream::connect(server).await?;
        if index % 2 == 0 {
            // The other end may have been closed already, to make room.
            let _ = stream.write_all(b"GET /api/v1/swarm HTTP/1.1\r\nhost: 127.0.").await;
        }
        streams.push(stream);
    }
    Ok(streams)
}

#[tokio::test]
async fn members_are_unaffected_and_others_come() -> anyhow::Result<()> {
    for per_address in [10_000, BOUND / 2] {
        let server = Running::start_with(|config| {
            config.max_http_connections = BOUND;
            config.max_connections_per_address = per_address;
            // Nothing but what this is about may end them.
            config.timeouts.head = Duration::from_secs(3600);
        })
        .await?;
        let mut stage = Member::join(&server, 1).await?;
        stage.register().await;
        let mut requester = Member::join(&server, 2).await?;
        let mut idle = half_open(server.address).await?;
        assert_eq!(requester.ask().await.stages[0].node, stage.node());
        let mut newcomer = Member::join(&server, 3).await?;
        newcomer.send_register().await;
        assert_eq!(http::get(server.address, "/healthz", &[]).await?.text(), "ok\n");
        // Those who waited longest made room; the others still wait.
        let bound = BOUND.min(per_address);
        for stream in &mut idle[..HALF_OPEN - bound] {
            assert!(http::ends(stream).await);
        }
        let mut last = idle.pop().context("some were opened")?;
        last.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .await?;
        assert!(http::read_until(&mut last, "ok\n").await?.starts_with("HTTP/1.1 200"));
    }
    Ok(())
}

#[tokio::test]
async fn a_head_has_a_time_limit() -> anyhow::Result<()> {
    let server =
        Running::start_with(|config| config.timeouts.head = Duration::from_millis(200)).await?;
    let mut member = Member::join(&server, 1).await?;
    let mut silent = TcpStream::connect(server.address).await?;
    let mut half = TcpStream::connect(server.address).await?;
    half.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ").await?;
    let mut kept_alive = TcpStream::connect(server.address).await?;
    kept_alive.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await?;
    http::read_until(&mut kept_alive, "ok\n").await?;
    for stream in [&mut silent, &mut half, &mut kept_alive] {
        assert!(http::ends(stream).await);
    }
    // A node's connection is no request.
    member.register().await;
    Ok(())
}

#[tokio::test]
async fn a_head_has_a_size_limit() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let long = format!("x: {}", "y".repeat(20_000));
    assert_eq!(http::get(server.address, "/healthz", &[&long]).await?.status, 431);
    Ok(())
}

#[tokio::test]
async fn whoever_does_not_read_an_answer_is_let_go() -> anyhow::Result<()> {
    let server =
        Running::start_with(|config| config.timeouts.write = Duration::from_millis(200)).await?;
    let mut member = Member::join(&server, 1).await?;
    // Far more answers than sockets hold, none of them read.
    let mut stream = TcpStream::connect(server.address).await?;
    let request = b"GET /api/v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    while stream.write_all(request).await.is_ok() {}
    member.register().await;
    Ok(())
}

/// A server as a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts it with this limit of open files.
    async fn start(open_files: u32, data_dir: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n \"$0\"; exec \"$@\"", &open_files.to_string()])
            .args([env!("CARGO_BIN_EXE_potluck-server"), "serve", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("it is piped")?;
        let stderr = BufReader::new(child.stderr.take().context("it is piped")?).lines();
        let line = BufReader::new(stdout).lines().next_line().await?.context("it listens")?;
        let address =
            line.strip_prefix("listening on http://").context("it says where")?.parse()?;
        Ok(Self { child, address, stderr })
    }

    /// Reads what it logs until a line holds this.
    async fn says(&mut self, words: &str) -> anyhow::Result<()> {
        while let Some(line) = self.stderr.next_line().await? {
            if line.contains(words) {
                return Ok(());
            }
        }
        anyhow::bail!("it ended without a word of {words:?}")
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_server_without_files_to_open_goes_on() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Process::start(64, folder.path()).await?;
    server.says("may open 64 files").await?;
    let _idle = half_open(server.address).await?;
    server.says("could not be accepted").await?;
    assert_eq!(http::get(server.address, "/healthz", &[]).await?.text(), "ok\n");
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn open_connections_do_not_keep_a_server_from_ending() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut server = Process::start(4096, folder.path()).await?;
    let mut events = http::open(server.address, "/api/v1/events", &[]).await?;
    http::read_until(&mut events, "event: swarm").await?;
    let _idle = half_open(server.address).await?;
    let id = server.child.id().context("it runs")?;
    let killed = Command::new("kill").arg(id.to_string()).status().await?;
    assert!(killed.success());
    assert!(http::ends(&mut events).await, "whoever is told of changes asks the next server");
    assert!(server.child.wait().await?.success());
    Ok(())
}

//! The proxy that README's deployment shows, with TLS, is one that everything works behind: at the
//! root and below a path.

mod support;

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::{decode_from_server, encode};
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use support::Running;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Join, join};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

/// The name in README.
const NAME: &str = "potluck.example";
const README: &str = include_str!("../../README.md");
/// No answer takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where nginx is; `None` if this test may skip, which is said.
fn nginx() -> anyhow::Result<Option<PathBuf>> {
    let named = std::env::var_os("POTLUCK_NGINX").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = named.or_else(|| folders.map(|it| it.join("nginx")).find(|it| it.exists()));
    if found.is_none() {
        let reason = "no nginx was found; install it, or name it in POTLUCK_NGINX";
        if std::env::var_os("POTLUCK_REQUIRE_NGINX").is_some() {
            bail!(reason);
        }
        eprintln!("SKIPPED: {reason}");
    }
    Ok(found)
}

/// nginx with README's configuration, until dropped.
struct Proxy {
    port: u16,
    folder: TempDir,
    _process: Child,
}

impl Proxy {
    async fn start(nginx: &Path, server: &Running) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=potluck.example"])
            .args(["-addext", "subjectAltName=DNS:potluck.example"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .status()
            .await
            .context("openssl, which makes the certificate, could not be started")?;
        anyhow::ensure!(made.success(), "openssl made no certificate");
        // A free port may be taken by the time that nginx opens it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let configuration = configuration(folder.path(), port, server)?;
            let path = folder.path().join("nginx.conf");
            std::fs::write(&path, configuration)?;
            let mut process = Command::new(nginx)
                .arg("-c")
                .arg(&path)
                .arg("-p")
                .arg(folder.path())
                .args(["-e", "stderr"])
                .kill_on_drop(true)
                .spawn()?;
            let proxy = format!("127.0.0.1:{port}");
            loop {
                if tokio::net::TcpStream::connect(&proxy).await.is_ok() {
                    return Ok(Self { port, folder, _process: process });
                }
                if process.try_wait()?.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        bail!("nginx does not start; its words are above")
    }

    /// A TLS connection to it, by which its certificate is verified.
    fn connect(&self) -> anyhow::Result<(Child, Join<ChildStdout, ChildStdin>)> {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", NAME])
            .args(["-CAfile", "certificate.pem", "-connect", &format!("127.0.0.1:{}", self.port)])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("it is piped")?;
        let stdout = child.stdout.take().context("it is piped")?;
        Ok((child, join(stdout, stdin)))
    }

    /// The whole answer, head and body.
    async fn get(&self, path: &str, headers: &str) -> anyhow::Result<String> {
        let (_child, mut stream) = self.connect()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {NAME}\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("no answer in time")??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Joins the swarm through it, as a page from there does; the sentence if it may not.
    async fn join(&self, path: &str, origin: &str) -> anyhow::Result<Result<Child, String>> {
        let (child, stream) = self.connect()?;
        let mut request = format!("wss://{NAME}{path}").into_client_request()?;
        request.headers_mut().insert("origin", HeaderValue::from_str(origin)?);
        let (mut socket, _) = match timeout(PATIENCE, client_async(request, stream)).await? {
            Err(Error::Http(response)) => {
                let body = response.into_body().unwrap_or_default();
                return Ok(Err(String::from_utf8(body)?));
            }
            opened => opened?,
        };
        let identity = Identity::from_seed(&[7; 32]);
        let node = identity.node();
        let hello =
            ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION, node };
        // A page that may not connect is told so and let go at once, perhaps before this arrives.
        let _ = socket.send(Message::binary(encode(&hello))).await;
        loop {
            let next = timeout(PATIENCE, socket.next()).await?.context("the socket ended")??;
            let Message::Binary(bytes) = next else { continue };
            match decode_from_server(&bytes)? {
                FromServer::Challenge { nonce } => {
                    let bytes = challenge_bytes(&nonce, node, origin);
                    let signature = identity.sign(Purpose::Challenge, &bytes);
                    let prove =
                        ToServer::Prove { origin: origin.to_owned(), signature, room: None };
                    socket.send(Message::binary(encode(&prove))).await?;
                }
                FromServer::Welcome { .. } => return Ok(Ok(child)),
                FromServer::Refused { reason, .. } => return Ok(Err(reason)),
                _ => {}
            }
        }
    }
}

/// README's block, with this test's port, certificate and server in place of what it names.
fn configuration(folder: &Path, port: u16, server: &Running) -> anyhow::Result<String> {
    let (_, rest) = README.split_once("```nginx\n").context("README shows a configuration")?;
    let (mut block, _) = rest
        .split_once("```")
        .map(|(block, rest)| (block.to_owned(), rest))
        .context("the configuration ends")?;
    let folder = folder.display();
    for (named, here) in [
        ("listen 443 ssl;", format!("listen 127.0.0.1:{port} ssl;")),
        ("/etc/ssl/potluck.example.pem", format!("{folder}/certificate.pem")),
        ("/etc/ssl/potluck.example.key", format!("{folder}/key.pem")),
        ("http://127.0.0.1:8080", format!("http://{}", server.address)),
    ] {
        anyhow::ensure!(block.contains(named), "README's configuration has no {named:?}");
        block = block.replace(named, &here);
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    // One process, in the foreground, so that it ends with the test.
    Ok(format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{temporary}{block}}}\n"
    ))
}

#[tokio::test]
async fn everything_works_behind_readmes_proxy() -> anyhow::Result<()> {
    let Some(nginx) = nginx()? else { return Ok(()) };
    let page = tempfile::tempdir()?;
    std::fs::write(page.path().join("index.html"), "<p>the page")?;
    std::fs::write(page.path().join("style-0123456789abcdef.css"), "p {}")?;
    let page_dir = page.path().to_owned();
    let server = Running::start_with(move |config| {
        config.page_dir = Some(page_dir);
        config.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1]).into()];
        config.origins.public_origins = vec![format!("https://{NAME}").parse().expect("one")];
    })
    .await?;
    let proxy = Proxy::start(&nginx, &server).await?;
    for below in ["", "/potluck"] {
        let document = proxy.get(&format!("{below}/"), "").await?;
        assert!(document.starts_with("HTTP/1.1 200"), "{document}");
        assert!(document.contains("<p>the page"), "{document}");
        let head = document.to_ascii_lowercase();
        assert!(head.contains("strict-transport-security: max-age="), "{document}");
        assert!(head.contains("connect-src 'self' wss://potluck.example;"), "{document}");
        let style = proxy.get(&format!("{below}/style-0123456789abcdef.css"), "").await?;
        assert!(style.contains("immutable"), "{style}");
        let models = proxy.get(&format!("{below}/api/v1/models"), "").await?;
        assert!(models.contains("potluck-tiny"), "{models}");
        // A page from there joins; one from elsewhere learns why it may not.
        let socket = format!("{below}/api/v1/socket");
        proxy.join(&socket, "https://potluck.example").await?.map_err(anyhow::Error::msg)?;
        let stranger = proxy.join(&socket, "https://evil.example").await?;
        assert!(stranger.is_err_and(|reason| reason.contains("https://evil.example")));
    }
    Ok(())
}

#[tokio::test]
async fn visitors_are_told_apart_and_cannot_choose_who_they_are() -> anyhow::Result<()> {
    let Some(nginx) = nginx()? else { return Ok(()) };
    let server = Running::start_with(|config| {
        config.max_connections_per_address = 4;
        // The one that the test asks through, and one that stands before it.
        config.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1]).into()];
        config.origins.public_origins = vec![format!("https://{NAME}").parse().expect("one")];
    })
    .await?;
    let proxy = Proxy::start(&nginx, &server).await?;
    // Three quarters of an address's connections may be subscriptions. What stands in the list is
    // believed here, as the test reaches nginx from a trusted address, as a proxy before it would.
    let subscribe = async |visitor: &str| -> anyhow::Result<(_, String)> {
        let (child, mut stream) = proxy.connect()?;
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: {NAME}\r\nX-Forwarded-For: {visitor}\r\n\
             Forwarded: for=9.9.9.9\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut status)).await??;
        // Whoever drops either ends the subscription.
        Ok(((child, stream), String::from_utf8(status.to_vec())?))
    };
    let mut open = Vec::new();
    for visitor in 1..=3 {
        for _ in 0..3 {
            let (subscription, status) = subscribe(&format!("198.51.100.{visitor}")).await?;
            assert_eq!(status, "HTTP/1.1 200");
            open.push(subscription);
        }
    }
    let (_refused, status) = subscribe("1.1.1.1, 198.51.100.3").await?;
    assert_eq!(status, "HTTP/1.1 429");
    Ok(())
}

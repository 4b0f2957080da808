//! Whoever works on the page runs `trunk serve` beside a server, as `Trunk.toml` says: the page
//! that trunk builds and serves lends, asks and is answered through trunk's proxies.
//!
//! Run by `cargo xtask test --only trunk-serve`, which has trunk and what it compiles ready.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use e2e::api;
use e2e::browser::{Browser, Graphics};
use e2e::process::{Folder, Output, Process};
use e2e::programs::{artifacts, root};
use e2e::server::{Server, ServerOptions};
use e2e::wait::until;

/// The ports that the documented commands name.
const DOCUMENTED_SERVER: &str = "127.0.0.1:8080";
const DOCUMENTED_PAGE: &str = "http://127.0.0.1:8000";

/// What cargo and the test runner say about this test in the environment. Build scripts that look
/// at it would run again and have their crates compiled twice.
const ABOUT_THIS_TEST: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "OUT_DIR"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs trunk and the page's artefacts: cargo xtask test --only trunk-serve"]
async fn trunk_serve_works() -> anyhow::Result<()> {
    let configuration = std::fs::read_to_string(root().join("Trunk.toml"))?;
    let server_command = documented(&configuration, "cargo run -p potluck-server -- ")?;
    let trunk_command = documented(&configuration, "trunk ")?;
    for document in ["README.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root().join(document))?;
        ensure!(text.contains(&format!("trunk {trunk_command}")), "{document} says otherwise");
        let origin = format!("--allow-origin {DOCUMENTED_PAGE}");
        ensure!(text.contains(&origin), "{document} does not say {origin}");
    }
    ensure!(server_command == format!("serve --allow-origin {DOCUMENTED_PAGE}"));

    let (folder, logs) = (Folder::new()?, artifacts("trunk_serve_works")?);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let origin = format!("http://127.0.0.1:{port}");
    let mut server = Server::start(&ServerOptions {
        data: &folder.path().join("server"),
        log: &logs.join("server.log"),
        port: 0,
        page: false,
        allow_origin: Some(&origin),
        program: None,
        further: &[],
    })
    .await?;
    let address = format!("127.0.0.1:{}", server.port());
    let config = root().join("target/trunk-serve");
    std::fs::create_dir_all(&config)?;
    let config = config.canonicalize()?.join("Trunk.toml");
    std::fs::write(&config, on_other_ports(&configuration, &address)?)?;
    let dist = folder.path().join("dist");
    let mut trunk = start_trunk(&trunk_command, &config, port, &dist, &logs.join("trunk.log"))?;
    until("trunk to serve the page", async || {
        if !trunk.is_running() {
            bail!("trunk ended; see {}", logs.join("trunk.log").display());
        }
        let answer = reqwest::get(&origin).await.and_then(reqwest::Response::error_for_status);
        Ok(answer.map(|_| ()).map_err(|error| error.to_string()))
    })
    .await?;

    let profile = folder.path().join("browser");
    let browser = Browser::start(&profile, &logs.join("browser.log"), Graphics::Machine).await?;
    browser.open(&format!("{origin}/?backend=cpu&seed=42")).await?;
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text.contains("Serving")).await?;
    browser.write("prompt", "Tell me a story about a fox.").await?;
    browser.click("ask").await?;
    let answer = until("the answer to be whole", async || {
        let answer = browser.text("answer").await?.unwrap_or_default();
        let status = browser.text("answer-status").await?.unwrap_or_default();
        let awaited = "return !!document.querySelector('[data-testid=cancel]:not([disabled])')";
        let asking = browser.read(awaited, &[]).await?;
        Ok(if !answer.is_empty() && asking == false { Ok(answer) } else { Err((answer, status)) })
    })
    .await?;
    assert!(!answer.trim().is_empty());
    let view = api::swarm(&server.url()).await?;
    assert_eq!(view.serving().count(), 1, "the page lends to the server behind trunk: {view:?}");
    browser.wait_for_text("answer-nodes", |text| text.contains(&view.nodes[0].name)).await?;
    // The other proxy, which comes second and whose path holds the first one's.
    let through_trunk = api::swarm(&origin).await?;
    assert_eq!(through_trunk.nodes[0].id, view.nodes[0].id);

    drop(browser);
    trunk.stop().await?;
    server.stop().await
}

/// The arguments of the documented command that starts so; only its comment is read, so that what
/// is tested is what is written.
fn documented(configuration: &str, start: &str) -> anyhow::Result<String> {
    let commands = configuration.lines().filter_map(|line| line.strip_prefix("#     "));
    let arguments = commands.filter_map(|command| command.strip_prefix(start)).next();
    Ok(arguments.with_context(|| format!("Trunk.toml documents no {start}"))?.to_owned())
}

/// The same configuration for a server at `address`, to lie two folders below the repository's
/// root: the documented ports may be in use, as the demo takes one.
fn on_other_ports(configuration: &str, address: &str) -> anyhow::Result<String> {
    let target = "target = \"index.html\"";
    ensure!(configuration.contains(target), "Trunk.toml names another page");
    let proxied = configuration.matches(&format!("://{DOCUMENTED_SERVER}/api")).count();
    ensure!(proxied == 2, "Trunk.toml passes on the WebSocket and the rest of /api");
    Ok(configuration
        .replace(target, "target = \"../../index.html\"")
        .replace(DOCUMENTED_SERVER, address))
}

fn start_trunk(
    documented: &str,
    config: &Path,
    port: u16,
    dist: &Path,
    log: &Path,
) -> anyhow::Result<Process> {
    let names = std::env::vars_os().map(|(name, _)| name);
    let about_this_test = names.filter(|name| {
        let name = name.to_string_lossy();
        ABOUT_THIS_TEST.iter().any(|start| name.starts_with(start))
    });
    let mut arguments: Vec<OsString> =
        about_this_test.flat_map(|name| ["-u".into(), name]).collect();
    arguments.push("trunk".into());
    arguments.extend(documented.split_whitespace().map(OsString::from));
    arguments.extend(["--config".into(), config.into(), "--port".into(), port.to_string().into()]);
    arguments.extend(["--dist".into(), dist.into()]);
    // Relative to the configuration's folder otherwise.
    arguments.extend(["--watch".into(), root().canonicalize()?.join("static").into()]);
    let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
    Process::start(Path::new("/usr/bin/env"), &arguments, Output::Log(log))
}

//! The command line of a native node says at once what it does and what cannot work.

use std::ffi::OsStr;

use e2e::process::{Output, Process};
use e2e::programs::native;
use tokio::io::AsyncReadExt as _;

/// Runs the program to its end; whether it succeeded, and what it printed on stderr.
async fn run(arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let mut node = Process::start(&native("potluck-node")?, &arguments, Output::Piped)?;
    let mut printed = String::new();
    if let Some(mut stderr) = node.stderr() {
        stderr.read_to_string(&mut printed).await?;
    }
    Ok((node.wait().await?, printed))
}

#[tokio::test]
async fn an_impossible_address_is_refused() -> anyhow::Result<()> {
    for arguments in [&["join", "foo"][..], &["ask", "foo", "Why?"]] {
        let (succeeded, printed) = run(arguments).await?;
        assert!(!succeeded);
        assert!(printed.contains("\"foo\" is no server's address"), "{printed}");
        assert!(printed.contains("write it like http://127.0.0.1:8080"), "{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_question_is_refused_by_all_who_take_one() -> anyhow::Result<()> {
    for arguments in [&["local", "nowhere", " "][..], &["ask", "http://127.0.0.1:9", ""]] {
        let (succeeded, printed) = run(arguments).await?;
        assert!(!succeeded);
        assert!(printed.contains("the question is empty; write something first"), "{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn asking_where_nobody_listens_says_so_while_it_tries() -> anyhow::Result<()> {
    let home = e2e::process::Folder::new()?;
    // Bound, so that nobody else takes the port, and not listening, so that it refuses.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let server = format!("http://{}", socket.local_addr()?);
    let arguments: Vec<&OsStr> = ["ask", server.as_str(), "Why?", "--home"]
        .into_iter()
        .map(OsStr::new)
        .chain([home.path().as_os_str()])
        .collect();
    let mut node = Process::start(&native("potluck-node")?, &arguments, Output::Piped)?;
    let mut stderr = node.stderr().expect("piped");
    let mut printed = String::new();
    // What it says while it tries, before it has given up.
    while !printed.contains("trying again in") {
        let mut bytes = [0; 1024];
        let count = stderr.read(&mut bytes).await?;
        assert!(count > 0, "it ended without saying that it tries again: {printed}");
        printed.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(printed.starts_with(&format!("connecting to {server}\n")), "{printed}");
    assert!(printed.contains("no connection to the server ("), "{printed}");
    assert!(!printed.contains("gave up"), "{printed}");
    stderr.read_to_string(&mut printed).await?;
    assert!(!node.wait().await?);
    assert!(printed.contains(&format!("gave up on {server}")), "{printed}");
    assert!(printed.contains("is potluck-server running there?"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn nobody_reads_complaints_about_a_display_that_is_not_needed() -> anyhow::Result<()> {
    let swarm = e2e::swarm::Swarm::start("node_says_what_it_does").await?;
    let program = native("potluck-node")?;
    let arguments: [&OsStr; 10] = [
        "-u".as_ref(),
        "XDG_RUNTIME_DIR".as_ref(),
        program.as_os_str(),
        "local".as_ref(),
        swarm.server.data().as_os_str(),
        "Why?".as_ref(),
        "--max-tokens".as_ref(),
        "1".as_ref(),
        "--backend".as_ref(),
        "gpu".as_ref(),
    ];
    let env = std::path::Path::new("/usr/bin/env");
    let mut node = Process::start(env, &arguments, Output::Piped)?;
    let mut printed = String::new();
    if let Some(mut stderr) = node.stderr() {
        stderr.read_to_string(&mut printed).await?;
    }
    // Whether or not there is an adapter: looking for one is what made Mesa complain.
    node.wait().await?;
    assert!(!printed.contains("XDG_RUNTIME_DIR"), "{printed}");
    swarm.stop().await
}

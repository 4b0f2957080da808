//! A native node says what its volunteer would agree to and lends nothing before they say yes; a yes
//! counts until it is taken back; and who stops is gone from the swarm at once.

use std::ffi::OsStr;
use std::path::Path;

use e2e::api;
use e2e::process::{Folder, Output, Process};
use e2e::programs::native;
use e2e::server::Server;
use e2e::swarm::Swarm;
use e2e::wait::until;
use tokio::io::AsyncReadExt as _;

/// A node of one home folder.
struct Native<'a> {
    server: &'a str,
    home: &'a Path,
}

impl Native<'_> {
    fn start(
        &self,
        command: &str,
        options: &[&str],
        output: Output<'_>,
    ) -> anyhow::Result<Process> {
        let mut arguments: Vec<&OsStr> =
            vec![command.as_ref(), self.server.as_ref(), "--home".as_ref(), self.home.as_os_str()];
        arguments.extend(options.iter().map(OsStr::new));
        Process::start(&native("potluck-node")?, &arguments, output)
    }

    /// Runs a command that ends by itself: its exit status, and what it said.
    async fn run(&self, command: &str, options: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
        let mut process = self.start(command, options, Output::Piped)?;
        let mut said = String::new();
        if let Some(mut stderr) = process.stderr() {
            stderr.read_to_string(&mut said).await?;
        }
        Ok((process.exit_code().await?, said))
    }
}

/// Waits until so many nodes lend to the server.
async fn lenders(server: &Server, count: usize) -> anyhow::Result<()> {
    until(&format!("{count} nodes to lend"), async || {
        let view = api::swarm(&server.url()).await?;
        Ok(if view.nodes.len() == count { Ok(()) } else { Err(view) })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn native_asks_first() -> anyhow::Result<()> {
    let swarm = Swarm::start("native_asks_first").await?;
    let (server, home) = (swarm.url(), Folder::new()?);
    let node = Native { server: &server, home: home.path() };
    let log = swarm.artifacts().join("native.log");
    let limits = ["--backend", "cpu", "--processor", "50", "--memory", "1GiB", "--days", "30"];

    // Without a yes it says what there is to agree to, and has not even spoken to the server.
    let (code, said) = node.run("join", &limits).await?;
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "This is what you would agree to",
        server.as_str(),
        "50 % of the processor",
        "1 GiB of memory",
        "20 GiB a day",
        "Nothing is lent, and nothing has been sent or fetched",
        "--accept",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    let connected = api::swarm(&server).await?.connected;
    assert_eq!(connected, 0);

    // With one it lends, and says under what.
    let accepting = [&limits[..], &["--accept"]].concat();
    let mut lending = node.start("join", &accepting, Output::Log(&log))?;
    lenders(&swarm.server, 1).await?;
    let said = std::fs::read_to_string(&log)?;
    assert!(
        said.contains("You agreed to this") && said.contains("50 % of the processor"),
        "{said}"
    );

    // Ctrl-C takes the machine back: the server hears of it from the node.
    lending.interrupt();
    lenders(&swarm.server, 0).await?;
    assert_eq!(lending.exit_code().await?, Some(0));

    // The yes is kept, for what it was given for.
    let mut again = node.start("join", &limits, Output::Log(&log))?;
    lenders(&swarm.server, 1).await?;
    let said = std::fs::read_to_string(&log)?;
    assert!(said.contains("lending as you agreed on"), "{said}");
    let (code, said) = node.run("join", &["--processor", "100"]).await?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("you agreed to something else"), "{said}");

    // And until it is taken back, which ends a node that runs under it.
    let (code, said) = node.run("withdraw", &[]).await?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("taken back"), "{said}");
    lenders(&swarm.server, 0).await?;
    assert_eq!(again.exit_code().await?, Some(0));
    let (code, said) = node.run("join", &limits).await?;
    assert_eq!(code, Some(2), "{said}");
    swarm.stop().await
}

//! A member at a terminal who lets somebody into a room by a code.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::programs;
use crate::wait::PATIENCE;

/// `potluck-node room LINK --let-in`, which has shown its code.
#[derive(Debug)]
pub struct LettingIn {
    child: Child,
    asked: Lines<BufReader<ChildStderr>>,
    /// What it shows.
    pub code: String,
}

impl LettingIn {
    /// Starts it, as whoever has this folder, and waits for its code.
    ///
    /// # Errors
    /// If it is not built, or shows none.
    pub async fn start(link: &str, home: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(programs::native("potluck-node")?)
            .args(["room", link, "--let-in", "--home"])
            .arg(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let shown = child.stdout.take().context("its output is piped")?;
        let asked = child.stderr.take().context("its questions are piped")?;
        let asked = BufReader::new(asked).lines();
        let code = timeout(PATIENCE, BufReader::new(shown).lines().next_line()).await??;
        Ok(Self { child, asked, code: code.context("it shows no code")? })
    }

    /// Waits until somebody knocks, says yes, and sees that they are in.
    ///
    /// # Errors
    /// If nobody knocks, or nobody is let in.
    pub async fn yes(mut self) -> anyhow::Result<()> {
        loop {
            let line = timeout(PATIENCE, self.asked.next_line()).await??;
            if line.context("nobody knocked")?.contains("wants to come in") {
                break;
            }
        }
        let mut typed = self.child.stdin.take().context("it is typed to")?;
        typed.write_all(b"yes\n").await?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        ensure!(status.success(), "nobody was let in: {status}");
        Ok(())
    }
}

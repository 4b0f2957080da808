//! `potluck-node join` as a child process: a native volunteer.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Output, Process};
use crate::programs;

/// A running native volunteer.
#[derive(Debug)]
pub struct Node {
    process: Process,
    log: PathBuf,
}

impl Node {
    /// Starts one; `home` is its own folder for key and weights, `options` are further arguments
    /// such as `--backend cpu`.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    pub fn start(server: &str, home: &Path, log: &Path, options: &[&str]) -> anyhow::Result<Self> {
        let mut arguments: Vec<&OsStr> = vec![
            "join".as_ref(),
            server.as_ref(),
            "--accept".as_ref(),
            "--home".as_ref(),
            home.as_os_str(),
        ];
        arguments.extend(options.iter().map(OsStr::new));
        Ok(Self {
            process: Process::start(
                &programs::native("potluck-node")?,
                &arguments,
                Output::Log(log),
            )?,
            log: log.to_owned(),
        })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How often the server has welcomed it: once, if it never lost its connection.
    ///
    /// # Errors
    /// If its log cannot be read.
    pub fn welcomes(&self) -> anyhow::Result<usize> {
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.lines().filter(|line| *line == "connected").count())
    }

    /// Ends it without warning, as a crash or a closed lid would.
    ///
    /// # Errors
    /// If the system does not report that it ended.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// As [`Process::pause`].
    pub async fn pause(&self, time: Duration) {
        self.process.pause(time).await;
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// If the system does not report that it ended.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

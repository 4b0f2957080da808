//! `potluck-server` as a child process, with the built-in model in a data folder that outlives it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::process::{Output, Process};
use crate::{programs, wait};

/// What the server prints before its address.
const ANNOUNCEMENT: &str = "listening on ";

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    port: u16,
    data: PathBuf,
    log: PathBuf,
    program: Option<PathBuf>,
    further: Vec<String>,
}

/// How to start one.
#[derive(Debug)]
pub struct ServerOptions<'a> {
    /// Its data folder; the model is imported where it is not yet.
    pub data: &'a Path,
    /// Where its log goes.
    pub log: &'a Path,
    /// 0 takes any free port.
    pub port: u16,
    /// Serve the page; it must be built.
    pub page: bool,
    /// Pages of this origin may connect too, such as `http://127.0.0.1:8000`.
    pub allow_origin: Option<&'a str>,
    /// Another build of the program than the one beside this.
    pub program: Option<&'a Path>,
    /// Further options of `serve`, such as `--max-connections 20000`.
    pub further: &'a [&'a str],
}

impl Server {
    /// Imports the model if need be, starts the server and waits until it listens.
    ///
    /// # Errors
    /// If a program or the page is not built, the port is in use, or the server ends before it
    /// listens.
    pub async fn start(options: &ServerOptions<'_>) -> anyhow::Result<Self> {
        let program = match options.program {
            Some(program) => program.to_owned(),
            None => programs::native("potluck-server")?,
        };
        import_model(&program, options).await?;
        let listen = format!("127.0.0.1:{}", options.port);
        let page = if options.page { Some(programs::page()?) } else { None };
        let mut arguments = vec![
            "serve".as_ref(),
            "--listen".as_ref(),
            listen.as_ref(),
            "--data-dir".as_ref(),
            options.data.as_os_str(),
        ];
        if let Some(page) = &page {
            arguments.extend(["--page-dir".as_ref(), page.as_os_str()]);
        }
        if let Some(origin) = options.allow_origin {
            let origin: [&OsStr; 2] = ["--allow-origin".as_ref(), origin.as_ref()];
            arguments.extend(origin);
        }
        arguments.extend(options.further.iter().map(OsStr::new));
        let mut process = Process::start(&program, &arguments, Output::Log(options.log))?;
        let port = wait::until("the server to listen", async || {
            let log = std::fs::read_to_string(options.log).unwrap_or_default();
            if let Some(port) = announced_port(&log) {
                return Ok(Ok(port));
            }
            if process.is_running() {
                Ok(Err(()))
            } else {
                bail!("the server ended: {}", last_line(&log))
            }
        })
        .await?;
        Ok(Self {
            process,
            port,
            data: options.data.to_owned(),
            log: options.log.to_owned(),
            program: options.program.map(Path::to_owned),
            further: options.further.iter().map(ToString::to_string).collect(),
        })
    }

    /// Its address, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its data folder, with the imported model in it.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Kills it without warning and starts another one on the same port and data.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn crash_and_restart(&mut self, page: bool) -> anyhow::Result<()> {
        self.process.kill().await?;
        let log = self.log.with_extension("restarted.log");
        let (data, port, program) = (self.data.clone(), self.port, self.program.clone());
        let further = self.further.clone();
        let further: Vec<&str> = further.iter().map(String::as_str).collect();
        let options = ServerOptions {
            data: &data,
            log: &log,
            port,
            page,
            allow_origin: None,
            program: program.as_deref(),
            further: &further,
        };
        *self = Self::start(&options).await?;
        Ok(())
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

async fn import_model(program: &Path, options: &ServerOptions<'_>) -> anyhow::Result<()> {
    let model = programs::model();
    let name = model.file_name().context("the model has a name")?.to_string_lossy().into_owned();
    if options.data.join("models").join(format!("{name}.json")).is_file() {
        return Ok(());
    }
    let arguments = [
        "model".as_ref(),
        "add".as_ref(),
        model.as_os_str(),
        "--data-dir".as_ref(),
        options.data.as_os_str(),
    ];
    let log = options.log.with_extension("import.log");
    let mut import = Process::start(program, &arguments, Output::Log(&log))?;
    if !import.wait().await? {
        bail!(
            "the model could not be imported: {}",
            last_line(&std::fs::read_to_string(&log).unwrap_or_default())
        );
    }
    Ok(())
}

fn announced_port(log: &str) -> Option<u16> {
    let address = log.lines().find_map(|line| line.strip_prefix(ANNOUNCEMENT))?;
    address.rsplit(':').next()?.trim_end_matches('/').parse().ok()
}

fn last_line(log: &str) -> &str {
    log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it printed nothing")
}

/// True if nothing listens on this port of this machine.
///
/// # Errors
/// If the system refuses for another reason than that the port is taken.
pub fn port_is_free(port: u16) -> anyhow::Result<bool> {
    match std::net::TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error).with_context(|| format!("port {port} cannot be used")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_announcement() {
        assert_eq!(announced_port("listening on http://127.0.0.1:40123\n"), Some(40123));
        assert_eq!(
            announced_port("2026 INFO hello\nlistening on http://127.0.0.1:80\nmore"),
            Some(80)
        );
        assert_eq!(announced_port("address already in use"), None);
    }

    #[test]
    fn a_taken_port_is_not_free() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!port_is_free(listener.local_addr().unwrap().port()).unwrap());
    }
}

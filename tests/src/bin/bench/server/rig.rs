//! The server that is measured.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use e2e::programs;
use e2e::server::{Server, ServerOptions};

/// Raised, as everybody here comes from one address; the messages of a whole crowd of receipts may
/// come over one connection.
const LIMITS: [&str; 6] = [
    "--max-connections",
    "20000",
    "--max-connections-per-address",
    "20000",
    "--max-messages-per-second",
    "20000",
];

/// Starts servers of one build.
#[derive(Debug)]
pub(super) struct Builder {
    program: PathBuf,
    logs: PathBuf,
}

impl Builder {
    /// Of this build; of the optimised one (`--profile server`) if left out, or where that is not
    /// built, of the one beside this program.
    pub(super) fn new(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program,
            None => match programs::optimised("potluck-server") {
                Ok(program) => program,
                Err(_) => programs::native("potluck-server")?,
            },
        };
        ensure!(program.is_file(), "{} is no program", program.display());
        Ok(Self { program, logs: programs::artifacts("bench-server")? })
    }

    /// Which build it is, for people.
    pub(super) fn build(&self) -> String {
        let profile = self.program.parent().and_then(Path::file_name);
        let profile = profile.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match profile.as_str() {
            "debug" => "the development build: hardly optimised".to_owned(),
            "server" => "the optimised build".to_owned(),
            _ => format!("{}", self.program.display()),
        }
    }

    /// Starts a server on this data; `part` names its log.
    pub(super) async fn start(
        &self,
        data: &Path,
        part: &str,
        page: bool,
    ) -> anyhow::Result<Server> {
        let options = ServerOptions {
            data,
            log: &self.logs.join(format!("{part}.log")),
            port: 0,
            page,
            allow_origin: None,
            program: Some(&self.program),
            further: &LIMITS,
        };
        Server::start(&options).await.context("the server to be measured does not start")
    }
}

//! A swarm: one server and whoever lends to it, on this machine, with a folder of its own.
//!
//! Logs go to `artifacts/<name>/` and stay; keys, weights, profiles and the server's data go when
//! the value is dropped.

use std::path::{Path, PathBuf};

use potluck_protocol::api::SwarmView;

use crate::api;
use crate::browser::{Browser, Graphics, Kind};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::process::Folder;
use crate::programs;
use crate::question::{Answer, Asking, Question};
use crate::server::{Server, ServerOptions};
use crate::wait::until;

/// A running swarm. Dropped, all its processes end.
#[derive(Debug)]
pub struct Swarm {
    // In this order: volunteers leave before the server ends, and the folder goes last.
    /// Browsers that lend or look on.
    pub browsers: Vec<Browser>,
    /// Native volunteers.
    pub natives: Vec<Node>,
    /// The server.
    pub server: Server,
    folder: Folder,
    logs: PathBuf,
    started: usize,
    page: bool,
}

impl Swarm {
    /// Starts a server without a page on a free port. `name` is the folder of its logs.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        Self::start_on(name, 0, false).await
    }

    /// Starts a server with the page on a free port.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_page(name: &str) -> anyhow::Result<Self> {
        Self::start_on(name, 0, true).await
    }

    /// The same with further options, such as `--no-widgets`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with_page_and(name: &str, further: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(name, 0, true, further).await
    }

    /// Starts a server on this port, with or without the page.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_on(name: &str, port: u16, page: bool) -> anyhow::Result<Self> {
        Self::start_as(name, port, page, &[]).await
    }

    async fn start_as(name: &str, port: u16, page: bool, further: &[&str]) -> anyhow::Result<Self> {
        let (folder, logs) = (Folder::new()?, programs::artifacts(name)?);
        let (data, log) = (folder.path().join("server"), logs.join("server.log"));
        let options = ServerOptions {
            data: &data,
            log: &log,
            port,
            page,
            allow_origin: None,
            program: None,
            further,
        };
        let server = Server::start(&options).await?;
        Ok(Self {
            browsers: Vec::new(),
            natives: Vec::new(),
            server,
            folder,
            logs,
            started: 0,
            page,
        })
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Where logs and pictures of this swarm go.
    #[must_use]
    pub fn artifacts(&self) -> &Path {
        &self.logs
    }

    /// Adds a native volunteer with further arguments such as `--backend cpu`.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn add_native(&mut self, options: &[&str]) -> anyhow::Result<()> {
        let (home, log) = self.folder_and_log("native");
        self.natives.push(Node::start(&self.url(), &home, &log, options)?);
        Ok(())
    }

    /// Adds a browser without opening anything in it.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub async fn add_browser(&mut self, graphics: Graphics) -> anyhow::Result<&Browser> {
        self.add_browser_as(graphics, Kind::Usual).await
    }

    /// The same of another kind.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub async fn add_browser_as(
        &mut self,
        graphics: Graphics,
        kind: Kind,
    ) -> anyhow::Result<&Browser> {
        let (profile, log) = self.folder_and_log("browser");
        self.browsers.push(Browser::start_as(&profile, &log, graphics, kind).await?);
        Ok(&self.browsers[self.browsers.len() - 1])
    }

    /// Adds a browser that opens the page with this query (such as `?backend=cpu`) and lends.
    ///
    /// # Errors
    /// If there is no browser, or the page cannot be clicked.
    pub async fn add_lending_browser(
        &mut self,
        graphics: Graphics,
        query: &str,
    ) -> anyhow::Result<()> {
        let url = format!("{}/{query}", self.url());
        let browser = self.add_browser(graphics).await?;
        browser.open(&url).await?;
        browser.click("lend").await
    }

    /// Waits until so many nodes serve and together hold every layer.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn serving(&self, count: usize) -> anyhow::Result<SwarmView> {
        let url = self.url();
        let layers = api::models(&url).await?.first().map_or(0, |model| model.layers);
        until(&format!("{count} nodes to serve all {layers} layers"), async || {
            let view = api::swarm(&url).await?;
            let ready = layers > 0 && view.serving().count() == count && view.covers(layers);
            Ok(if ready { Ok(view) } else { Err(view) })
        })
        .await
    }

    /// Asks as a stranger would who holds nothing, and waits for the answer.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub async fn ask(&self, question: &Question) -> anyhow::Result<Answer> {
        self.start_asking(question)?.answer().await
    }

    /// Starts asking.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    pub fn start_asking(&self, question: &Question) -> anyhow::Result<Asking> {
        question.start(&self.url(), &self.folder.path().join("requester"))
    }

    /// The same as somebody of this name: several can ask at once.
    ///
    /// # Errors
    /// As [`Swarm::start_asking`].
    pub fn start_asking_as(&self, name: &str, question: &Question) -> anyhow::Result<Asking> {
        question.start(&self.url(), &self.folder.path().join(name))
    }

    /// What the scalar specification answers on this machine alone; every answer must equal it.
    ///
    /// # Errors
    /// If it cannot be computed.
    pub async fn reference_answer(&self, question: &Question) -> anyhow::Result<Answer> {
        question.local(self.server.data(), "scalar").await
    }

    /// Kills the server without warning and starts another on the same port and data.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn crash_and_restart_server(&mut self) -> anyhow::Result<()> {
        self.server.crash_and_restart(self.page).await
    }

    /// Starts a gateway for programs, with further arguments such as `--api-key`.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn add_gateway(&mut self, options: &[&str]) -> anyhow::Result<Gateway> {
        let (home, log) = self.folder_and_log("gateway");
        Gateway::start(&self.url(), &home, &log, options).await
    }

    /// Asks everyone to leave and the server to end, and waits.
    ///
    /// # Errors
    /// If the system does not report that a process ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.browsers.clear();
        for native in &mut self.natives {
            native.stop().await?;
        }
        self.server.stop().await
    }

    /// A folder and a log of its own for the next volunteer.
    fn folder_and_log(&mut self, kind: &str) -> (PathBuf, PathBuf) {
        self.started += 1;
        let name = format!("{kind}-{}", self.started);
        (self.folder.path().join(&name), self.logs.join(format!("{name}.log")))
    }
}

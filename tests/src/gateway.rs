//! `potluck-node gateway` as a child process, and what programs say to it.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context as _;
use futures::StreamExt as _;
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::process::{Output, Process};
use crate::programs;
use crate::wait::until;

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    _process: Process,
    url: String,
    client: reqwest::Client,
}

/// A whole answer of the gateway's.
#[derive(Debug)]
pub struct Reply {
    /// Of HTTP.
    pub status: StatusCode,
    /// After how many seconds to come back, if it says so.
    pub retry_after: Option<String>,
    /// Fields that nobody knew, if there were some.
    pub ignored: Option<String>,
    /// What it says.
    pub body: Value,
}

impl Gateway {
    /// Starts one on a free port, which asks this server; `options` are further arguments such as
    /// `--api-key`.
    ///
    /// # Errors
    /// If the program is not built, or does not begin to listen.
    pub async fn start(
        server: &str,
        home: &Path,
        log: &Path,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        let mut arguments: Vec<&OsStr> = vec![
            "gateway".as_ref(),
            server.as_ref(),
            "--listen".as_ref(),
            "127.0.0.1:0".as_ref(),
            "--home".as_ref(),
            home.as_os_str(),
        ];
        arguments.extend(options.iter().map(OsStr::new));
        let program = programs::native("potluck-node")?;
        let process = Process::start(&program, &arguments, Output::Log(log))?;
        let url = until("the gateway to listen", async || {
            let words = std::fs::read_to_string(log)?;
            let named = words.lines().find_map(|line| line.split("for programs at ").nth(1));
            Ok(named.map(str::to_owned).ok_or(words))
        })
        .await?;
        Ok(Self { _process: process, url, client: reqwest::Client::new() })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a body, with further headers; the answer as it begins.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub async fn send(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&'static str, &'static str)],
    ) -> anyhow::Result<Response> {
        let request = self.client.post(format!("{}{path}", self.url)).json(body);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.with_context(|| format!("{path} does not answer"))
    }

    /// Sends a body, and waits for the whole answer.
    ///
    /// # Errors
    /// If the gateway does not answer with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Reply> {
        Reply::of(self.send(path, body, &[]).await?).await
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If the gateway does not answer with JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        Reply::of(self.client.get(format!("{}{path}", self.url)).send().await?).await
    }
}

impl Reply {
    /// Of a response whose body is JSON.
    ///
    /// # Errors
    /// If it is not.
    pub async fn of(response: Response) -> anyhow::Result<Self> {
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (retry_after, ignored) = (header("retry-after"), header("x-potluck-ignored"));
        let text = response.text().await?;
        let body = serde_json::from_str(&text).with_context(|| format!("{status}: {text:?}"))?;
        Ok(Self { status, retry_after, ignored, body })
    }
}

/// The data of all events of a stream, to its end.
///
/// # Errors
/// If it breaks off, or an event's data is not JSON, but for the mark at the end.
pub async fn events(response: Response) -> anyhow::Result<Vec<Value>> {
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(more) = stream.next().await {
        bytes.extend(more?);
    }
    let text = String::from_utf8(bytes)?;
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let json = |data: &str| match data {
        "[DONE]" => Ok(Value::from("[DONE]")),
        data => serde_json::from_str(data).with_context(|| format!("no JSON: {data:?}")),
    };
    data.map(json).collect()
}

//! A question put to the swarm (`potluck-node ask`) or to this machine alone
//! (`potluck-node local`), and the answer.
//!
//! The answer of `local` with the scalar backend is the reference: whatever a swarm answers must
//! equal it, token for token.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context as _, bail};
use potluck_protocol::api::InclusiveLayers;
use potluck_protocol::id::NodeId;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::process::{Output, Process};
use crate::programs;
use crate::wait::PATIENCE;

/// What to ask, and how tokens are sampled.
#[derive(Clone, Debug)]
pub struct Question {
    /// What a person would write.
    pub prompt: String,
    /// Seed of the sampling.
    pub seed: u64,
    /// Tokens that the answer may have; `None` is the model's own limit.
    pub max_tokens: Option<u32>,
    /// As a decimal, such as `0.7`; `None` is the model's own.
    pub temperature: Option<String>,
    /// Likewise.
    pub repetition_penalty: Option<String>,
    /// Further options for asking a swarm, such as `--local`.
    pub further: Vec<String>,
}

/// A whole answer, as `--json` prints it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The sampled tokens, the one that ends the answer included.
    pub token_ids: Vec<u32>,
    /// Seed of the sampling.
    pub seed: u64,
    /// Why it ended: `stop` or `length`.
    pub end: String,
    /// Who computed it, in order; empty for `local`.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// From the route to the first token.
    #[serde(default)]
    pub first_token_ms: f64,
    /// From the first token to the last.
    #[serde(default)]
    pub decode_ms: f64,
}

/// One node's part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Stage {
    /// The node.
    pub node: NodeId,
    /// Its layers in this session.
    pub layers: InclusiveLayers,
}

impl Answer {
    /// Tokens a second after the first; 0 where there was only one.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        let after_first = self.token_ids.len().saturating_sub(1);
        if self.decode_ms > 0.0 { after_first as f64 * 1000.0 / self.decode_ms } else { 0.0 }
    }
}

impl Question {
    /// A question with a seed and the model's own settings for the rest.
    #[must_use]
    pub fn new(prompt: &str, seed: u64) -> Self {
        let (prompt, further) = (prompt.to_owned(), Vec::new());
        let (max_tokens, temperature, repetition_penalty) = (None, None, None);
        Self { prompt, seed, max_tokens, temperature, repetition_penalty, further }
    }

    /// The same, asked with further options.
    #[must_use]
    pub fn with(&self, further: &[&str]) -> Self {
        let further = further.iter().map(|option| (*option).to_owned()).collect();
        Self { further, ..self.clone() }
    }

    /// The same, with at most so many tokens.
    #[must_use]
    pub fn at_most(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Asks the swarm and waits for the answer.
    ///
    /// # Errors
    /// If there is no whole answer; the message holds what the program wrote.
    pub async fn ask(&self, server: &str, home: &Path) -> anyhow::Result<Answer> {
        self.start(server, home)?.answer().await
    }

    /// Starts asking the swarm.
    ///
    /// # Errors
    /// If the program is not built or cannot be started.
    pub fn start(&self, server: &str, home: &Path) -> anyhow::Result<Asking> {
        let mut arguments: Vec<OsString> = vec!["ask".into(), server.into(), (&self.prompt).into()];
        arguments.extend(["--json".into(), "--home".into(), home.into()]);
        arguments.extend(self.further.iter().map(OsString::from));
        Asking::start(arguments, self)
    }

    /// Computes the answer on this machine alone; `models` is a server's data folder, `backend` is
    /// `scalar`, `cpu` or `gpu`.
    ///
    /// # Errors
    /// If it cannot be computed; the message holds what the program wrote.
    pub async fn local(&self, models: &Path, backend: &str) -> anyhow::Result<Answer> {
        let mut arguments: Vec<OsString> =
            vec!["local".into(), models.into(), (&self.prompt).into()];
        arguments.extend(["--json".into(), "--backend".into(), backend.into()]);
        Asking::start(arguments, self)?.answer().await
    }

    fn options(&self) -> Vec<OsString> {
        let mut options: Vec<OsString> = vec!["--seed".into(), self.seed.to_string().into()];
        if let Some(tokens) = self.max_tokens {
            options.extend(["--max-tokens".into(), tokens.to_string().into()]);
        }
        if let Some(temperature) = &self.temperature {
            options.extend(["--temperature".into(), temperature.into()]);
        }
        if let Some(penalty) = &self.repetition_penalty {
            options.extend(["--repetition-penalty".into(), penalty.into()]);
        }
        options
    }
}

/// A question being answered. Dropped, it is cancelled.
#[derive(Debug)]
pub struct Asking {
    process: Process,
    stderr: ChildStderr,
    stdout: JoinHandle<Vec<u8>>,
}

impl Asking {
    fn start(mut arguments: Vec<OsString>, question: &Question) -> anyhow::Result<Self> {
        arguments.extend(question.options());
        let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
        let mut process =
            Process::start(&programs::native("potluck-node")?, &arguments, Output::Piped)?;
        let stderr = process.stderr().context("stderr is piped")?;
        // Read all along: a full pipe would stop the program.
        let stdout = tokio::spawn(read_all(process.stdout().context("stdout is piped")?));
        Ok(Self { process, stderr, stdout })
    }

    /// What it writes next for the person who asked, notes and text as they come; `None` when it
    /// has ended.
    ///
    /// # Errors
    /// If it writes nothing for as long as anything may take.
    pub async fn next_words(&mut self) -> anyhow::Result<Option<String>> {
        let mut bytes = [0; 4096];
        let count =
            timeout(PATIENCE, self.stderr.read(&mut bytes)).await.with_context(|| {
                format!("the requester wrote nothing for {} s", PATIENCE.as_secs())
            })??;
        Ok((count > 0).then(|| String::from_utf8_lossy(&bytes[..count]).into_owned()))
    }

    /// Reads until these words were written.
    ///
    /// # Errors
    /// If it ends before that.
    pub async fn wait_for_words(&mut self, words: &str) -> anyhow::Result<()> {
        self.read_until(&format!("to write {words:?}"), |text| text.contains(words)).await
    }

    /// Reads until so many stages were named and the first words of the answer are there.
    ///
    /// # Errors
    /// If it ends before that.
    pub async fn wait_for_first_token(&mut self, stages: usize) -> anyhow::Result<()> {
        self.read_until("to begin the answer", |text| has_begun(text, stages)).await
    }

    async fn read_until(
        &mut self,
        what: &str,
        is_enough: impl Fn(&str) -> bool,
    ) -> anyhow::Result<()> {
        let mut text = String::new();
        while !is_enough(&text) {
            match self.next_words().await? {
                Some(more) => text.push_str(&more),
                None => bail!("expected the requester {what}, it ended after {text:?}"),
            }
        }
        Ok(())
    }

    /// Waits for the whole answer.
    ///
    /// # Errors
    /// If there is none; the message is what the program wrote.
    pub async fn answer(self) -> anyhow::Result<Answer> {
        match self.outcome().await? {
            Ok(answer) => Ok(answer),
            Err(text) => bail!("no answer: {}", text.trim()),
        }
    }

    /// Waits for the end: the answer, or what the program wrote where it failed.
    ///
    /// # Errors
    /// If it hangs, or claims success without an answer.
    pub async fn outcome(mut self) -> anyhow::Result<Result<Answer, String>> {
        let mut text = String::new();
        while let Some(more) = self.next_words().await? {
            text.push_str(&more);
        }
        let stdout = timeout(PATIENCE, self.stdout)
            .await
            .context("the requester closed stderr but not stdout")??;
        if timeout(PATIENCE, self.process.wait())
            .await
            .context("the requester closed its output but does not end")??
        {
            let stdout = String::from_utf8_lossy(&stdout);
            Ok(Ok(serde_json::from_str(&stdout)
                .with_context(|| format!("not one JSON object: {stdout:?}"))?))
        } else {
            Ok(Err(text))
        }
    }
}

/// One line a stage, "… computes layers 0 to 2", then the text.
fn has_begun(text: &str, stages: usize) -> bool {
    let mut lines = text
        .split_inclusive('\n')
        .filter(|line| !line.ends_with('\n') || line.contains(" computes "));
    lines.by_ref().take(stages).filter(|line| line.ends_with('\n')).count() == stages
        && lines.any(|line| !line.trim().is_empty())
}

async fn read_all(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What came before an error is still the best there is to show.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

#[cfg(test)]
mod tests {
    use super::has_begun;

    #[test]
    fn an_answer_begins_after_the_stages() {
        let notes = "layer 0 of potluck-tiny has no volunteer yet\n\
                     Amber Oat computes layers 0 to 2\nCalm Fig computes layers 3 to 5\n";
        assert!(!has_begun(notes, 2));
        assert!(!has_begun(&notes[..notes.len() - 3], 2));
        assert!(has_begun(&format!("{notes}Once"), 2));
        assert!(!has_begun(&format!("{notes}Once"), 3));
    }
}

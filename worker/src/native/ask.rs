//! `potluck-node ask`: one question, the answer streamed to the terminal.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_protocol::chat::Conversation;
use potluck_protocol::id::RequestId;
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Ask, Command, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_protocol::terminal::printable;
use potluck_worker::node::Node;
use potluck_worker::run::{SETTLE, run};
use serde_json::json;

use super::arguments::AskOptions;
use super::clock::local_time_s;
use super::home;
use super::terminal::{cut_off, say, say_no_proxy, word};

/// How long the first connection may take before it is called a failure; later losses are ridden
/// out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn ask(options: AskOptions) -> anyhow::Result<ExitCode> {
    let (identity, store, _in_use) = home::open(options.home.clone()).await?;
    let node = Node::new(identity, NodeKind::Native);
    let (server, room) = options.server.clone().with(options.room);
    let transport = NativeTransport::new(NetConfig::for_server(&server));
    let (mut commands, receiver) = mpsc::channel(8);
    let (notices, mut received) = mpsc::unbounded();
    commands.try_send(Command::Connect { server: server.clone(), room })?;
    commands.try_send(Command::Ask(Ask {
        sampled: Vec::new(),
        request: RequestId(0),
        model: options.model.clone(),
        conversation: Conversation::question(&options.prompt),
        asked_at_s: local_time_s(),
        sampling: options.sampling.choice()?,
        max_tokens: options.sampling.max_tokens,
        own: options.own.own(),
        stops: Vec::new(),
        keeps: false,
        counts_only: false,
    }))?;
    let running = run(node, transport, receiver, store, move |notice| {
        // Nobody listens any more once the answer is whole.
        let _ = notices.unbounded_send(notice);
    });
    tokio::pin!(running);
    let mut answer = Answer::new(&options);
    let started = tokio::time::Instant::now();
    let (mut connected, mut has_been_lost) = (false, false);
    // Why the last attempt to connect failed.
    let mut failure = "it does not answer".to_owned();
    say(&format!("connecting to {server}"));
    loop {
        let patience = if !connected {
            CONNECT_TIMEOUT.saturating_sub(started.elapsed())
        } else if options.timeout > 0 {
            Duration::from_secs(options.timeout).saturating_sub(started.elapsed())
        } else {
            Duration::MAX
        };
        let notice = tokio::select! {
            () = &mut running => bail!("the node stopped"),
            notice = received.next() => notice,
            () = tokio::time::sleep(patience) => {
                if connected {
                    bail!("no whole answer after {} s; the text so far is above", options.timeout);
                }
                bail!(
                    "gave up on {server} after {} s: {failure}; is potluck-server running there?",
                    CONNECT_TIMEOUT.as_secs()
                );
            }
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
        };
        match notice {
            None => bail!("the node stopped"),
            Some(Notice::Link(Link::Open)) => connected = true,
            Some(Notice::Link(Link::Lost { reason, retry_ms })) => {
                let seconds = f64::from(retry_ms) / 1000.0;
                say(&format!(
                    "no connection to the server ({reason}); trying again in {seconds:.1} s"
                ));
                if !connected && !has_been_lost {
                    say_no_proxy();
                }
                has_been_lost = true;
                failure = reason;
            }
            Some(Notice::Link(Link::Refused { reason })) => {
                bail!("the server refused this node: {reason}")
            }
            Some(Notice::Answer { event, .. }) => {
                if answer.handle(event)? {
                    break;
                }
            }
            Some(_) => {}
        }
    }
    // No more commands: the loop ends when the stages' last receipts are signed.
    drop(commands);
    let _ = tokio::time::timeout(SETTLE, &mut running).await;
    answer.print()?;
    Ok(ExitCode::SUCCESS)
}

/// The answer as it comes.
struct Answer<'a> {
    options: &'a AskOptions,
    text: String,
    token_ids: Vec<u32>,
    session: String,
    seed: u64,
    stages: Vec<serde_json::Value>,
    /// What this machine computes was said.
    has_said_own: bool,
    end: AnswerEnd,
    first_token_ms: u32,
    decode_ms: u32,
}

impl<'a> Answer<'a> {
    fn new(options: &'a AskOptions) -> Self {
        Self {
            options,
            text: String::new(),
            token_ids: Vec::new(),
            session: String::new(),
            seed: 0,
            stages: Vec::new(),
            has_said_own: false,
            end: AnswerEnd::Cancelled,
            first_token_ms: 0,
            decode_ms: 0,
        }
    }

    /// True when the answer is whole.
    fn handle(&mut self, event: AnswerEvent) -> anyhow::Result<bool> {
        match event {
            AnswerEvent::Waiting { model, missing } => {
                let missing = AnswerEvent::waiting_text(&model, &missing);
                say(&format!("{missing}; waiting (Ctrl-C cancels)"));
            }
            AnswerEvent::Resuming { reason } => {
                if !self.text.is_empty() {
                    say("");
                }
                say(&format!("{reason}; others go on"));
            }
            AnswerEvent::Route { session, stages, sampling, .. } => {
                self.stages.clear();
                self.session = session;
                self.seed = sampling.seed;
                for stage in &stages {
                    let layers = [stage.layers.first, stage.layers.end - 1];
                    say(&format!("{} computes {}", stage.node.name(), stage.layers));
                    self.stages.push(
                        json!({ "node": stage.node, "name": stage.node.name(), "layers": layers }),
                    );
                }
            }
            AnswerEvent::Token { token, text } => {
                self.token_ids.push(token);
                self.text.push_str(&text);
                // With --json, stdout is for the object alone, but the text still streams.
                let text = printable(&text);
                if self.options.json {
                    write!(std::io::stderr(), "{text}")?;
                } else {
                    write!(std::io::stdout(), "{text}")?;
                    std::io::stdout().flush()?;
                }
            }
            AnswerEvent::Done { end, first_token_ms, decode_ms, .. } => {
                self.end = end;
                self.first_token_ms = first_token_ms;
                self.decode_ms = decode_ms;
                return Ok(true);
            }
            AnswerEvent::Own { layers, bytes, .. } => {
                if !std::mem::replace(&mut self.has_said_own, true) {
                    let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
                    let megabytes = bytes as f64 / 1e6;
                    say(&format!(
                        "this machine computes {}; it downloads {megabytes:.1} MB of weights for \
                         that, or less if it has some already (Ctrl-C cancels)",
                        layers.join(" and ")
                    ));
                }
            }
            AnswerEvent::Counted { .. } => {}
            AnswerEvent::Failed { reason, .. } => {
                if !self.text.is_empty() {
                    say("");
                }
                bail!("{reason}");
            }
        }
        Ok(false)
    }

    fn print(&self) -> anyhow::Result<()> {
        let after_first = self.token_ids.len().saturating_sub(1);
        let rate = if self.decode_ms == 0 {
            0.0
        } else {
            after_first as f64 * 1000.0 / f64::from(self.decode_ms)
        };
        if self.options.json {
            say("");
            let object = json!({
                "prompt": self.options.prompt,
                "text": self.text,
                "token_ids": self.token_ids,
                "seed": self.seed,
                "session": self.session,
                "stages": self.stages,
                "first_token_ms": self.first_token_ms,
                "decode_ms": self.decode_ms,
                "tokens": self.token_ids.len(),
                "end": word(self.end),
                "tokens_per_second": rate,
            });
            writeln!(std::io::stdout(), "{object}")?;
        } else {
            writeln!(std::io::stdout())?;
            let tokens = self.token_ids.len();
            let cut_off = cut_off(self.end);
            say(&format!("{cut_off}{tokens} tokens, {rate:.1} a second, seed {}", self.seed));
        }
        Ok(())
    }
}

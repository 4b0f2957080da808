//! `potluck-node join`: lend this machine until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_protocol::page::{Command, LendingPhase, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::node::Node;
use potluck_worker::run::run;

use super::arguments::JoinOptions;
use super::home;

/// How long the last receipts and the farewell may take after Ctrl-C.
const FAREWELL: Duration = Duration::from_millis(500);

pub(super) async fn join(options: JoinOptions) -> anyhow::Result<ExitCode> {
    let (identity, store) = home::open(options.home).await?;
    let node = Node::new(identity, NodeKind::Native);
    let transport = NativeTransport::new(NetConfig::for_server(&options.server));
    let (mut commands, receiver) = mpsc::channel(8);
    commands.try_send(Command::Connect { server: options.server })?;
    commands.try_send(Command::Lend {
        backend: options.backend.into(),
        memory_bytes: options.memory,
    })?;
    let (notices, mut refusals) = mpsc::unbounded();
    let mut log = Log::default();
    let running = run(node, transport, receiver, store, move |notice| {
        log.print(&notice);
        if let Notice::Link(Link::Refused { reason }) = notice {
            // The receiver outlives the loop.
            let _ = notices.unbounded_send(reason);
        }
    });
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => Ok(ExitCode::SUCCESS),
        Some(reason) = refusals.next() => anyhow::bail!("the server refused this node: {reason}"),
        () = stop_requested() => {
            commands.try_send(Command::StopLending)?;
            // If the time runs out, the server still sees the connection close.
            let _ = tokio::time::timeout(FAREWELL, &mut running).await;
            tracing::warn!("stopped lending");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Ctrl-C or SIGTERM.
async fn stop_requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is nothing to wait for but the end of the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Prints what changed, a line each, on stderr.
#[derive(Default)]
struct Log {
    printed: Option<(LendingPhase, Option<String>)>,
}

impl Log {
    fn print(&mut self, notice: &Notice) {
        match notice {
            Notice::Identity { node } => {
                eprintln!("this node is {} ({})", node.name(), node.short())
            }
            Notice::Link(Link::Open) => eprintln!("connected"),
            Notice::Link(Link::Lost { reason, retry_ms }) => {
                eprintln!(
                    "lost the server ({reason}); trying again in {:.1} s",
                    f64::from(*retry_ms) / 1000.0
                );
            }
            Notice::Lending(lending) => {
                let layers = lending.layers.map(|layers| layers.to_string());
                let now = (lending.phase.clone(), layers.clone());
                if self.printed.as_ref() == Some(&now) {
                    return;
                }
                let model = lending.model.as_deref().unwrap_or("the model");
                match (&lending.phase, layers) {
                    (LendingPhase::Waiting, _) => {
                        eprintln!("computing with {} ({})", lending.backend, lending.adapter)
                    }
                    (LendingPhase::Fetching, Some(layers)) => {
                        eprintln!("fetching {layers} of {model}")
                    }
                    (LendingPhase::Serving, Some(layers)) => {
                        eprintln!("serving {layers} of {model}")
                    }
                    (LendingPhase::Failed { reason }, _) => eprintln!("{reason}"),
                    _ => {}
                }
                self.printed = Some(now);
            }
            Notice::Ready | Notice::Link(_) | Notice::Answer { .. } => {}
        }
    }
}

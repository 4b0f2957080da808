//! Letting somebody in by a code, and being let in, from a terminal.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_protocol::door::{DoorCode, DoorCommand, DoorEnd, DoorNotice};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::Invitation;
use potluck_protocol::page::{Command, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::node::Node;
use potluck_worker::run::run;

use crate::native::home;
use crate::native::terminal::say;

/// Shows a code, and asks who knocks with it in.
pub(super) async fn let_in(
    server: &str,
    room: Invitation,
    home: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let first = DoorCommand::Open { seed: seed()? };
    at_door(server, Some(room), home, first, async |notice| {
        Ok(match notice {
            DoorNotice::Opened { code } => {
                say("say this code to one person, and stay here; it holds for ten minutes, once:");
                writeln!(std::io::stdout(), "{code}")?;
                Next::Wait
            }
            DoorNotice::Knocked { who } => {
                Next::Say(DoorCommand::Answer { yes: asked(who).await? })
            }
            DoorNotice::Ended { why: why @ DoorEnd::LetIn } => {
                say(&why.to_string());
                Next::Done(ExitCode::SUCCESS)
            }
            DoorNotice::Ended { why } => bail!("{why}"),
            _ => Next::Wait,
        })
    })
    .await
}

/// Knocks with a code, and waits until the member has said yes.
pub(in crate::native) async fn come_in(
    server: &str,
    code: DoorCode,
    home: Option<PathBuf>,
) -> anyhow::Result<Invitation> {
    let first = DoorCommand::Knock { code, seed: seed()? };
    at_door(server, None, home, first, async |notice| {
        Ok(match notice {
            DoorNotice::Knocking { me } => {
                say(&format!("knocking as {} ({}); the member is asked", me.name(), me.short()));
                Next::Wait
            }
            DoorNotice::Invited { room } => Next::Done(room),
            DoorNotice::Ended { why } => bail!("{why}"),
            _ => Next::Wait,
        })
    })
    .await
}

/// What follows on a notice.
enum Next<T> {
    Wait,
    Say(DoorCommand),
    Done(T),
}

/// Runs a node beside whoever this machine is, says `first` as soon as it is connected, and lets
/// `follow` say how it goes on.
async fn at_door<T>(
    server: &str,
    room: Option<Invitation>,
    home: Option<PathBuf>,
    first: DoorCommand,
    mut follow: impl AsyncFnMut(DoorNotice) -> anyhow::Result<Next<T>>,
) -> anyhow::Result<T> {
    let (identity, store, _in_use) = home::open(home).await?;
    let node = Node::new(identity, NodeKind::Native).beside();
    let transport = NativeTransport::new(NetConfig::for_server(server));
    let (mut commands, receiver) = mpsc::channel(8);
    let (notices, mut received) = mpsc::unbounded();
    commands.try_send(Command::Connect { server: server.to_owned(), room })?;
    let running = run(node, transport, receiver, store, move |notice| {
        // Nobody listens any more once it is over.
        let _ = notices.unbounded_send(notice);
    });
    tokio::pin!(running);
    let talk = async {
        let mut first = Some(first);
        loop {
            let next = match received.next().await.context("the node stopped")? {
                Notice::Link(Link::Open) => first.take().map_or(Next::Wait, Next::Say),
                Notice::Link(Link::Refused { reason }) => {
                    bail!("the server refused this node: {reason}")
                }
                Notice::Link(Link::Lost { reason, .. }) => {
                    bail!("no connection to {server}: {reason}")
                }
                Notice::Door(notice) => follow(notice).await?,
                _ => Next::Wait,
            };
            match next {
                Next::Wait => {}
                Next::Say(command) => commands.try_send(Command::Door(command))?,
                Next::Done(done) => return Ok(done),
            }
        }
    };
    tokio::select! {
        () = &mut running => bail!("the node stopped"),
        done = talk => done,
    }
}

/// Whether who knocks may come in, by the next line that is typed. The end of what is typed is a no.
async fn asked(who: NodeId) -> anyhow::Result<bool> {
    say(&format!(
        "{} ({}) knows the code and wants to come in. Is that what they see? yes or no:",
        who.name(),
        who.short()
    ));
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = line.await??;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("this system has no randomness")?;
    Ok(seed)
}

//! `potluck-node join`: lend this machine until Ctrl-C.
//!
//! It ends by itself only where nothing could go on: the server refuses this node for good, or this
//! machine cannot compute. Everything else passes, and is waited out.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_protocol::consent::date;
use potluck_protocol::grant::{Grant, SignedGrant};
use potluck_protocol::page::{Command, LendingPhase, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::node::{Node, server_origin};
use potluck_worker::run::run;

use super::arguments::JoinOptions;
use super::battery;
use super::grants::{Decision, Kept, decide, lines};
use super::home;
use super::room;
use super::terminal::{say, say_no_proxy};

/// How long the last receipts and the farewell may take after Ctrl-C.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a program returns that was asked for something it does not do without a yes, as for wrong
/// arguments.
const NOT_AGREED: u8 = 2;
/// How often a node looks whether its volunteer has taken the grant back in another terminal.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn join(options: JoinOptions) -> anyhow::Result<ExitCode> {
    let folder = home::folder(options.home.clone())?;
    let (identity, store, _in_use) = home::open(options.home.clone()).await?;
    let terms = options.terms();
    let (server, mut room) = options.server.with(options.room);
    if let Some(code) = options.code {
        let invitation = room::code::come_in(&server, code, options.home).await?;
        say(
            "you may come in. To come back later, with no code, use this link in place of the address:",
        );
        say(&invitation.link(&server));
        room = Some(invitation);
    }
    let to = server_origin(&server).context("no server has such an address")?;
    let kept = Kept::of(&folder, &to, room);
    let node = room.map_or(identity.node(), |room| identity.in_room(room.room()).node());
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let backend = options.backend.into();
    let lend = match decide(options.accept, kept.read(), &terms, (node, &to), now_s) {
        Decision::Yes => Command::Lend { backend, terms },
        Decision::Again(grant) => Command::LendAgain { backend, grant },
        Decision::Ask { because } => {
            ask(because, &terms.grant(node, to, now_s));
            return Ok(ExitCode::from(NOT_AGREED));
        }
    };
    // Fewer threads all of the time are a better way to give a part of a processor than rests of all of
    // them. Nothing has computed yet, so it is not too late.
    potluck_engine::use_threads(threads(options.processor));
    let node = Node::new(identity, NodeKind::Native);
    let transport = NativeTransport::new(NetConfig::for_server(&server));
    let (mut commands, receiver) = mpsc::channel(8);
    commands.try_send(Command::Connect { server, room })?;
    commands.try_send(lend)?;
    let (notices, mut ends) = mpsc::unbounded();
    let mut log = Log::new(kept.clone());
    let running = run(node, transport, receiver, store, move |notice| {
        log.print(&notice);
        if let Some(reason) = end(notice) {
            // The receiver outlives the loop.
            let _ = notices.unbounded_send(reason);
        }
    });
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => return Ok(ExitCode::SUCCESS),
        Some(reason) = ends.next() => return Err(anyhow::Error::msg(reason)),
        () = stop_requested() => {}
        () = withdrawn(&kept) => say("you have taken the grant back"),
        () = battery::watch(commands.clone()) => {}
    }
    commands.try_send(Command::StopLending)?;
    // If the time runs out, the server still sees the connection close.
    let _ = tokio::time::timeout(FAREWELL, &mut running).await;
    tracing::warn!("stopped lending");
    Ok(ExitCode::SUCCESS)
}

/// Threads that are at most so much of the processor, percent, and one at least.
fn threads(percent: u8) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores * usize::from(percent) / 100).max(1)
}

/// Says what the person would agree to, and how.
fn ask(because: Option<String>, grant: &Grant) {
    if let Some(because) = because {
        say(&because);
    }
    say("This is what you would agree to:");
    for line in lines(grant) {
        say(&line);
    }
    say(
        "A node on the command line lends more of a machine than a page does: it is yours, and you see \
         that it runs. --processor, --gpu, --memory, --data-a-day and --days set other limits.",
    );
    say(
        "Nothing is lent, and nothing has been sent or fetched. To agree, run the same command with \
         --accept.",
    );
}

/// The grant that was kept is not kept any more: `potluck-node withdraw` took it back.
async fn withdrawn(kept: &Kept) {
    // One that could not be kept cannot be missed.
    let mut was_there = false;
    loop {
        let is_there = kept.is_there();
        if was_there && !is_there {
            return;
        }
        was_there |= is_there;
        tokio::time::sleep(LOOK).await;
    }
}

/// Why this program ends, if it has to: nothing goes on by itself any more.
fn end(notice: Notice) -> Option<String> {
    match notice {
        Notice::Link(Link::Refused { reason }) => {
            Some(format!("the server refused this node for good: {reason}"))
        }
        Notice::Lending(lending) => match lending.phase {
            LendingPhase::Failed { reason } => Some(reason),
            _ => None,
        },
        Notice::Link(_)
        | Notice::Ready
        | Notice::Identity { .. }
        | Notice::Models(_)
        | Notice::Answer { .. }
        | Notice::Grant(_)
        | Notice::Door(_)
        | Notice::Key(_) => None,
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
struct Log {
    /// Where the grant is kept for the next time.
    kept: Kept,
    printed: Option<(LendingPhase, Option<String>)>,
    has_been_lost: bool,
}

impl Log {
    fn new(kept: Kept) -> Self {
        Self { kept, printed: None, has_been_lost: false }
    }

    /// The machine is lent from now on: says under what, and keeps that.
    fn granted(&self, signed: &SignedGrant) {
        if self.kept.read().as_ref() == Some(signed) {
            let Grant { given_s, until_s, .. } = signed.grant;
            say(&format!(
                "lending as you agreed on {}, until {}; Ctrl-C stops",
                date(given_s),
                date(until_s)
            ));
            return;
        }
        say("You agreed to this:");
        for line in lines(&signed.grant) {
            say(&line);
        }
        match self.kept.write(signed) {
            Ok(()) => say(&format!("kept in {}", self.kept.path().display())),
            Err(error) => say(&format!(
                "{} could not be written ({error}): next time you will be asked again",
                self.kept.path().display()
            )),
        }
    }

    fn print(&mut self, notice: &Notice) {
        match notice {
            Notice::Identity { node } => {
                say(&format!("this node is {} ({})", node.name(), node.short()));
            }
            Notice::Link(Link::Open) => say("connected"),
            Notice::Link(Link::Lost { reason, retry_ms }) => {
                let seconds = f64::from(*retry_ms) / 1000.0;
                say(&format!("lost the server ({reason}); trying again in {seconds:.1} s"));
                if !self.has_been_lost {
                    say_no_proxy();
                    self.has_been_lost = true;
                }
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
                        say(&format!("computing with {} ({})", lending.backend, lending.adapter));
                    }
                    (LendingPhase::Fetching, Some(layers)) => {
                        say(&format!("fetching {layers} of {model}"));
                    }
                    (LendingPhase::Serving, Some(layers)) => {
                        say(&format!("serving {layers} of {model}"));
                    }
                    (LendingPhase::Retrying { reason, retry_ms }, _) => {
                        let seconds = f64::from(*retry_ms) / 1000.0;
                        say(&format!("{reason}; trying again in {seconds:.0} s"));
                    }
                    (LendingPhase::Paused { why }, _) => {
                        say(&format!("paused: nothing is computed while {}", why.words()));
                    }
                    // The end of this program, which says why.
                    (LendingPhase::Failed { .. }, _) => {}
                    _ => {}
                }
                self.printed = Some(now);
            }
            Notice::Grant(Some(granted)) => self.granted(&granted.signed),
            Notice::Ready
            | Notice::Link(_)
            | Notice::Models(_)
            | Notice::Answer { .. }
            | Notice::Grant(None)
            | Notice::Door(_)
            | Notice::Key(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::page::Lending;

    use super::*;

    #[test]
    fn it_ends_by_itself_only_where_nothing_goes_on() {
        let lending = |phase| Notice::Lending(Lending { phase, ..Lending::default() });
        let reason = || "why".to_owned();
        for goes_on in [
            Notice::Link(Link::Connecting),
            Notice::Link(Link::Open),
            Notice::Link(Link::Lost { reason: reason(), retry_ms: 500 }),
            lending(LendingPhase::Starting),
            lending(LendingPhase::Waiting),
            lending(LendingPhase::Fetching),
            lending(LendingPhase::Serving),
            lending(LendingPhase::Retrying { reason: reason(), retry_ms: 500 }),
        ] {
            assert_eq!(end(goes_on), None);
        }
        assert_eq!(end(lending(LendingPhase::Failed { reason: reason() })), Some(reason()));
        let refused = end(Notice::Link(Link::Refused { reason: reason() }));
        assert!(refused.is_some_and(|said| said.ends_with("for good: why")));
    }
}

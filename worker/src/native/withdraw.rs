//! `potluck-node withdraw`: takes a kept yes back. A node that runs under it sees that and stops.

use std::process::ExitCode;

use anyhow::Context as _;
use potluck_worker::node::server_origin;

use super::arguments::WithdrawOptions;
use super::grants::Kept;
use super::home;
use super::terminal::say;

pub(super) fn withdraw(options: WithdrawOptions) -> anyhow::Result<ExitCode> {
    let folder = home::folder(options.home)?;
    let (server, room) = options.server.with(options.room);
    let origin = server_origin(&server).context("no server has such an address")?;
    let kept = Kept::of(&folder, &origin, room);
    let was_there = kept.remove().with_context(|| {
        format!("{} could not be removed; you have agreed still", kept.path().display())
    })?;
    if was_there {
        say(&format!(
            "taken back: this machine is not lent to {origin} any more, and not again before you say so"
        ));
    } else {
        say(&format!("there was nothing to take back: no yes to {origin} is kept"));
    }
    Ok(ExitCode::SUCCESS)
}

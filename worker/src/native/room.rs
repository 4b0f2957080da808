//! `potluck-node room`: a link that invites to a room of its own.
//!
//! A room is made of nothing but its secret, so nothing is sent to the server: the first who comes
//! with the link opens it.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use potluck_protocol::room::RoomSecret;

use super::arguments::RoomOptions;
use super::terminal::say;

pub(super) fn room(options: &RoomOptions) -> anyhow::Result<ExitCode> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).context("this system has no randomness")?;
    say("whoever has this link is in the room; give it to nobody else:");
    writeln!(std::io::stdout(), "{}", RoomSecret(secret).link(&options.server))?;
    Ok(ExitCode::SUCCESS)
}

//! `potluck-node room`: makes rooms, and lets others in.
//!
//! A room is made of nothing but its secret, and a list of nothing but its keeper's signatures, so only
//! a code needs the server: see `code`.

pub(super) mod code;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use potluck_protocol::consent::date;
use potluck_protocol::door::DoorEnd;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::{Invitation, RoomTicket, ticket_end_s};
use potluck_protocol::room::{ModelTag, RoomSecret};

use super::arguments::RoomOptions;
use super::home;
use super::terminal::say;

pub(super) async fn room(options: RoomOptions) -> anyhow::Result<ExitCode> {
    let (server, room) = options.server.clone().with(options.room);
    let Some(room) = room else { return make(&server, options).await };
    if options.let_in {
        return code::let_in(&server, room, options.home).await;
    }
    let (identity, _, _in_use) = home::open(options.home).await?;
    if options.admit.is_empty() {
        say("your key in this room:");
        writeln!(std::io::stdout(), "{}", identity.in_room(room.room()).node())?;
        return Ok(ExitCode::SUCCESS);
    }
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let until_s = ticket_end_s(now_s, options.days);
    for member in options.admit {
        let own = admit(room, &identity, member, until_s)?;
        say(&format!(
            "{} may be in the room until {}, with this link:",
            member.name(),
            date(until_s)
        ));
        writeln!(std::io::stdout(), "{}", own.link(&server))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A room that nobody is in yet.
async fn make(server: &str, options: RoomOptions) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        !options.let_in && options.admit.is_empty(),
        "which room? give the link to it in place of the server's address, or with --room"
    );
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).context("this system has no randomness")?;
    let secret = RoomSecret(secret);
    let room = if options.list {
        let (identity, _, _in_use) = home::open(options.home).await?;
        say(
            "with this link you are in the room, and others are once you have let them in by a code \
             or put their key on the list:",
        );
        Invitation::kept_by(&identity, secret)
    } else {
        say("whoever has this link is in the room; give it to nobody else:");
        Invitation::from(secret)
    };
    let room = room.computing(options.model.as_deref().map(ModelTag::of));
    writeln!(std::io::stdout(), "{}", room.link(server))?;
    Ok(ExitCode::SUCCESS)
}

/// The invitation for one key on the list.
fn admit(
    room: Invitation,
    maker: &Identity,
    member: NodeId,
    until_s: u64,
) -> anyhow::Result<Invitation> {
    anyhow::ensure!(
        room.keeper.is_some(),
        "this room has no list: whoever has the link is in it. Make one with --list"
    );
    let keeper = room.keeper_of(maker).with_context(|| DoorEnd::NotKeeper.to_string())?;
    Ok(room.with(Some(RoomTicket::new(&keeper, room.room(), member, until_s))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_made_a_room_with_a_list_puts_keys_on_it() {
        let (maker, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let room = Invitation::kept_by(&maker, RoomSecret([3; 16]));
        let member = other.in_room(room.room()).node();
        let own = admit(room, &maker, member, 100).expect("it is the maker's");
        assert_eq!(own.entry().check(member, 99), Ok(()));
        let refused = admit(own, &other, member, 100).expect_err("a member's");
        assert!(refused.to_string().contains("only whoever made the room"), "{refused}");
        let open = Invitation::from(RoomSecret([3; 16]));
        let refused = admit(open, &maker, member, 100).expect_err("no list");
        assert!(refused.to_string().contains("no list"), "{refused}");
    }
}

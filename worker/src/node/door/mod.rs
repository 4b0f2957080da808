//! The node at a door: as the member who lets somebody in by a code, and as the newcomer who has one.
//!
//! Each of them has one door at a time, and every way out of it ends with one notice. Whoever knocks is
//! shown to the member before anything is given; the room's secret goes out sealed, once.

mod member;
mod newcomer;
mod secrets;
#[cfg(test)]
mod tests;

use std::time::Duration;

use potluck_protocol::door::{DOOR_S, DoorCommand, DoorEnd, DoorNotice, FromDoor, ToDoor};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::{Invitation, RoomTicket, ticket_end_s};
use potluck_protocol::page::Notice;
use potluck_protocol::room::RoomSecret;
use potluck_protocol::server::ToServer;

use self::member::Member;
use self::newcomer::Newcomer;
use super::context::Context;

/// How long either of them waits.
const PATIENCE: Duration = Duration::from_secs(DOOR_S);

/// The doors of this node.
#[derive(Debug, Default)]
pub(super) struct Door {
    /// The person wants to let somebody in, and there is no link to the server yet.
    wanted: Option<[u8; 32]>,
    /// As a member.
    member: Option<Member>,
    /// As a newcomer.
    newcomer: Option<Newcomer>,
}

impl Door {
    pub(super) fn command(&mut self, command: DoorCommand, context: &mut Context) {
        match command {
            DoorCommand::Open { seed } => {
                self.close(context);
                if context.link.is_open() || context.link.is_off() {
                    self.open(&seed, context);
                } else {
                    self.wanted = Some(seed);
                }
            }
            DoorCommand::Close => self.close(context),
            DoorCommand::Answer { yes } => {
                // One that comes late, when the door is closed, lets nobody in.
                self.member = self.member.take().and_then(|member| member.answer(yes, context));
            }
            DoorCommand::Knock { code, seed } => {
                self.close(context);
                self.newcomer = Some(Newcomer::new(code, seed, context));
            }
            DoorCommand::Found { secret } => {
                let room = Invitation::kept_by(&context.own, RoomSecret(secret));
                notice(DoorNotice::Invited { room }, context);
            }
            DoorCommand::Admit { member, days } => match admit(member, days, context) {
                Ok(room) => notice(DoorNotice::Admitted { room }, context),
                Err(why) => ended(why, context),
            },
        }
    }

    /// The server says something of a door.
    pub(super) fn handle(&mut self, message: FromDoor, context: &mut Context) {
        match message {
            FromDoor::Opened { door } => {
                self.member = self.member.take().map(|member| member.opened(door, context));
            }
            FromDoor::Knocked { door, knock } => {
                let member = self.member.take();
                self.member = member.and_then(|member| member.knocked(door, &knock, context));
            }
            FromDoor::Passed { door } => {
                let member = self.member.take();
                self.member = member.and_then(|member| member.passed(door, context));
            }
            FromDoor::Hello { door, hello } => {
                let newcomer = self.newcomer.take();
                self.newcomer = newcomer.and_then(|newcomer| newcomer.hello(door, &hello, context));
            }
            FromDoor::Answered { door, sealed } => {
                let newcomer = self.newcomer.take();
                self.newcomer =
                    newcomer.and_then(|newcomer| newcomer.answered(door, &sealed, context));
            }
            FromDoor::Closed { door, why } => {
                let is_members = self.member.take_if(|member| member.is_at(door)).is_some();
                let is_newcomers = self.newcomer.take_if(|one| one.is_at(door)).is_some();
                if is_members || is_newcomers {
                    ended(why, context);
                }
            }
        }
    }

    /// The server has welcomed this node: who waited for that goes to the door.
    pub(super) fn handle_link_open(&mut self, context: &mut Context) {
        if let Some(seed) = self.wanted.take() {
            self.open(&seed, context);
        }
        if let Some(newcomer) = &mut self.newcomer {
            newcomer.try_door(context);
        }
    }

    /// The server has forgotten who stood where.
    pub(super) fn handle_link_lost(&mut self, context: &mut Context) {
        let is_newcomers = self.newcomer.take_if(|newcomer| newcomer.has_tried()).is_some();
        if self.member.take().is_some() || is_newcomers {
            ended(DoorEnd::Left, context);
        }
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now;
        let is_late = |until: Duration| now >= until;
        let member = self.member.take_if(|member| is_late(member.until()));
        let newcomer = self.newcomer.take_if(|newcomer| is_late(newcomer.until()));
        let door = member.as_ref().and_then(Member::door);
        for door in [door, newcomer.as_ref().map(Newcomer::door)].into_iter().flatten() {
            say(ToDoor::Close { door, why: DoorEnd::Expired }, context);
        }
        if member.is_some() || newcomer.is_some() {
            ended(DoorEnd::Expired, context);
        }
    }

    fn open(&mut self, seed: &[u8; 32], context: &mut Context) {
        match Member::open(seed, context) {
            Ok(member) => self.member = Some(member),
            Err(why) => ended(why, context),
        }
    }

    /// Nobody is let in any more, and nobody knocks.
    fn close(&mut self, context: &mut Context) {
        self.wanted = None;
        let door = self.member.take().as_ref().and_then(Member::door);
        let tried = self.newcomer.take().filter(Newcomer::has_tried);
        for door in [door, tried.as_ref().map(Newcomer::door)].into_iter().flatten() {
            say(ToDoor::Close { door, why: DoorEnd::Left }, context);
        }
    }
}

/// The invitation to this node's room for `member`, with a pass where there is a list.
fn admit(member: NodeId, days: u16, context: &Context) -> Result<Invitation, DoorEnd> {
    let room = context.room.ok_or(DoorEnd::NotInRoom)?.with(None);
    if room.keeper.is_none() {
        return Ok(room);
    }
    let keeper = room.keeper_of(&context.own).ok_or(DoorEnd::NotKeeper)?;
    let until_s = ticket_end_s(context.calendar_s, days);
    Ok(room.with(Some(RoomTicket::new(&keeper, room.room(), member, until_s))))
}

fn say(message: ToDoor, context: &mut Context) {
    context.send_server(&ToServer::Door(message));
}

fn notice(notice: DoorNotice, context: &mut Context) {
    context.outbox.notice(Notice::Door(notice));
}

fn ended(why: DoorEnd, context: &mut Context) {
    notice(DoorNotice::Ended { why }, context);
}

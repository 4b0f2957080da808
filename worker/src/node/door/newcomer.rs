//! The newcomer's side of a door.
//!
//! ```text
//! Waiting for the link -> Trying -Hello-> Knocking -Answered-> in, or sent away
//! ```

use std::time::Duration;

use potluck_protocol::door::{DoorCode, DoorEnd, DoorNotice, ToDoor};
use potluck_protocol::invitation::Invitation;
use potluck_protocol::room::RoomId;

use super::secrets::{EXCHANGE_BYTES, Half, Key};
use super::{PATIENCE, ended, notice, say};
use crate::node::context::Context;

/// A door that this node has the code of.
#[derive(Debug)]
pub(super) struct Newcomer {
    code: DoorCode,
    seed: [u8; 32],
    until: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is no link to the server yet.
    Waiting,
    /// The server was asked for the door.
    Trying,
    /// The member is asked.
    Knocking { room: RoomId, answer: Key },
}

/// Bytes of what a door says first: a room's name, and the member's part of the exchange.
const HELLO_BYTES: usize = 16 + EXCHANGE_BYTES;

impl Newcomer {
    /// Tries the door of this code now, or as soon as there is a link.
    pub(super) fn new(code: DoorCode, seed: [u8; 32], context: &mut Context) -> Self {
        let until = context.now + PATIENCE;
        let mut newcomer = Self { code, seed, until, state: State::Waiting };
        if context.link.is_open() {
            newcomer.try_door(context);
        }
        newcomer
    }

    pub(super) fn door(&self) -> u32 {
        self.code.door
    }

    pub(super) fn until(&self) -> Duration {
        self.until
    }

    pub(super) fn is_at(&self, door: u32) -> bool {
        self.code.door == door && self.has_tried()
    }

    pub(super) fn has_tried(&self) -> bool {
        !matches!(self.state, State::Waiting)
    }

    pub(super) fn try_door(&mut self, context: &mut Context) {
        if !self.has_tried() {
            self.state = State::Trying;
            say(ToDoor::Try { door: self.code.door }, context);
        }
    }

    /// The door says which room it is of: this node knocks, as whoever it would be there.
    pub(super) fn hello(mut self, door: u32, hello: &[u8], context: &mut Context) -> Option<Self> {
        if door != self.code.door || !matches!(self.state, State::Trying) {
            return Some(self);
        }
        let read = <&[u8; HELLO_BYTES]>::try_from(hello).ok().and_then(|hello| {
            let (name, exchange) = hello.split_at(16);
            let room = RoomId(name.try_into().ok()?);
            let (half, own) = Half::newcomer(self.code.letters, room, &self.seed);
            Some((room, own, half.finish(exchange)?))
        });
        let Some((room, exchange, keys)) = read else {
            say(ToDoor::Close { door, why: DoorEnd::Left }, context);
            ended(DoorEnd::NoDoor, context);
            return None;
        };
        let me = context.own.in_room(room).node();
        let knock = [exchange, keys.knock.seal(&me.0)].concat();
        say(ToDoor::Knock { door, knock }, context);
        notice(DoorNotice::Knocking { me }, context);
        self.state = State::Knocking { room, answer: keys.answer };
        Some(self)
    }

    /// The member has answered. What cannot be opened, or is of another room than this node knocked
    /// at, is nobody's word.
    pub(super) fn answered(self, door: u32, sealed: &[u8], context: &mut Context) -> Option<Self> {
        let (room, answer) = match &self.state {
            State::Knocking { room, answer } if door == self.code.door => (*room, answer),
            _ => return Some(self),
        };
        let said = answer.open(sealed).and_then(|said| String::from_utf8(said).ok());
        let invitation = said.as_ref().and_then(|said| said.parse::<Invitation>().ok());
        match (said, invitation.filter(|invitation| invitation.room() == room)) {
            (_, Some(room)) => notice(DoorNotice::Invited { room }, context),
            (Some(said), None) if said.is_empty() => ended(DoorEnd::SentAway, context),
            _ => ended(DoorEnd::WrongCode, context),
        }
        None
    }
}

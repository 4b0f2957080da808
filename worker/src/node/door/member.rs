//! The member's side of a door.
//!
//! ```text
//! Opening -Opened-> Open -Knocked-> Asking -yes, no-> Answered -Passed-> over
//!                        └ wrong letters: over
//! ```

use std::time::Duration;

use potluck_protocol::door::{CODE_LETTERS, DoorCode, DoorEnd, DoorNotice, ToDoor};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::TICKET_DAYS;

use super::secrets::{EXCHANGE_BYTES, Half, Key, letters};
use super::{PATIENCE, admit, ended, notice, say};
use crate::node::context::Context;

/// A door that this node opens for one.
#[derive(Debug)]
pub(super) struct Member {
    until: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The server has not said its number yet.
    Opening { letters: [u8; CODE_LETTERS], half: Half },
    /// It waits for whoever has the code.
    Open { door: u32, half: Half },
    /// The person is asked.
    Asking { door: u32, who: NodeId, answer: Key },
    /// The person has answered.
    Answered { door: u32, yes: bool },
}

impl Member {
    /// Asks the server for a door to the room that this node is in.
    pub(super) fn open(seed: &[u8; 32], context: &mut Context) -> Result<Self, DoorEnd> {
        // For nobody yet: whether this node can let anybody in.
        let room = admit(context.me, 0, context)?.room();
        if !context.link.is_open() {
            return Err(DoorEnd::Left);
        }
        let letters = letters(seed);
        let (half, exchange) = Half::member(letters, room, seed);
        let hello = [&room.0[..], &exchange].concat();
        say(ToDoor::Open { hello }, context);
        Ok(Self { until: context.now + PATIENCE, state: State::Opening { letters, half } })
    }

    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// Its number, once the server has said it.
    pub(super) fn door(&self) -> Option<u32> {
        match self.state {
            State::Opening { .. } => None,
            State::Open { door, .. }
            | State::Asking { door, .. }
            | State::Answered { door, .. } => Some(door),
        }
    }

    /// True of the door of this number; 0 is one that is not open yet.
    pub(super) fn is_at(&self, door: u32) -> bool {
        self.door().unwrap_or(0) == door
    }

    pub(super) fn opened(self, door: u32, context: &mut Context) -> Self {
        match self.state {
            State::Opening { letters, half } => {
                notice(DoorNotice::Opened { code: DoorCode { door, letters } }, context);
                Self { state: State::Open { door, half }, ..self }
            }
            state => Self { state, ..self },
        }
    }

    /// Somebody knocks. Wrong letters are the end of this door: the next guess needs another.
    pub(super) fn knocked(self, at: u32, knock: &[u8], context: &mut Context) -> Option<Self> {
        let (door, half) = match self.state {
            State::Open { door, half } if door == at => (door, half),
            state => return Some(Self { state, ..self }),
        };
        let (exchange, sealed) = knock.split_at_checked(EXCHANGE_BYTES).unwrap_or_default();
        let opened = half.finish(exchange).and_then(|keys| {
            let who: [u8; 32] = keys.knock.open(sealed)?.try_into().ok()?;
            Some((NodeId(who), keys.answer))
        });
        let Some((who, answer)) = opened else {
            let why = DoorEnd::WrongCode;
            say(ToDoor::Close { door, why }, context);
            ended(why, context);
            return None;
        };
        notice(DoorNotice::Knocked { who }, context);
        Some(Self { state: State::Asking { door, who, answer }, ..self })
    }

    /// The person said whether it may come in; nothing if nobody knocks.
    pub(super) fn answer(self, yes: bool, context: &mut Context) -> Option<Self> {
        let (door, who, answer) = match self.state {
            State::Asking { door, who, answer } => (door, who, answer),
            state => return Some(Self { state, ..self }),
        };
        let invitation = yes.then(|| admit(who, TICKET_DAYS, context));
        let said = match invitation.transpose() {
            Ok(invitation) => invitation.map_or_else(String::new, |room| room.to_string()),
            // The room was left meanwhile.
            Err(why) => {
                say(ToDoor::Close { door, why: DoorEnd::Left }, context);
                ended(why, context);
                return None;
            }
        };
        say(ToDoor::Answer { door, sealed: answer.seal(said.as_bytes()) }, context);
        Some(Self { state: State::Answered { door, yes }, ..self })
    }

    /// The server has passed the answer on.
    pub(super) fn passed(self, at: u32, context: &mut Context) -> Option<Self> {
        match self.state {
            State::Answered { door, yes } if door == at => {
                ended(if yes { DoorEnd::LetIn } else { DoorEnd::SentAway }, context);
                None
            }
            state => Some(Self { state, ..self }),
        }
    }
}

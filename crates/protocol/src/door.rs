//! Doors: how a member lets somebody into a room by a short code, said over the telephone.
//!
//! ```text
//! member                    server                      newcomer
//!  | Open{hello}               |                            |
//!  |                Opened{4821}                            |   the member reads out 4821-KQ7M
//!  |                           |                  Try{4821} |   who must type it
//!  |                           | Hello{hello}               |   once: the door is taken now
//!  |                           |                Knock{…}    |
//!  |               Knocked{…}  |                            |   wrong letters end it here
//!  | Answer{sealed}            |                            |   the member said yes, or no
//!  |                   Passed  | Answered{sealed}           |
//! ```
//! The number is the server's, and names the door there. The letters behind it never reach the server:
//! they are the password of a key exchange that gives whoever does not know them exactly one guess
//! (SPAKE2). What the two then tell each other, the room's secret above all, is sealed with the key.
//! What `hello`, `knock` and `sealed` hold is the nodes' business (`worker/src/node/door`).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::id::NodeId;
use crate::invitation::Invitation;
use crate::room::RoomSecret;

/// From a node to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDoor {
    /// A member wants to let one in. Its earlier door closes.
    Open {
        /// What the newcomer is shown, at most [`MAX_DOOR_BYTES`](crate::limits::MAX_DOOR_BYTES).
        hello: Vec<u8>,
    },
    /// A newcomer has a code.
    Try {
        /// The number in it.
        door: u32,
    },
    /// Whoever tried is shown to the member.
    Knock {
        /// As in [`ToDoor::Try`].
        door: u32,
        /// For the member, at most [`MAX_DOOR_BYTES`](crate::limits::MAX_DOOR_BYTES).
        knock: Vec<u8>,
    },
    /// The member's answer.
    Answer {
        /// The member's door.
        door: u32,
        /// For the newcomer, at most [`MAX_DOOR_BYTES`](crate::limits::MAX_DOOR_BYTES).
        sealed: Vec<u8>,
    },
    /// Either of them goes.
    Close {
        /// The door.
        door: u32,
        /// What the other is told.
        why: DoorEnd,
    },
}

/// From the server to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromDoor {
    /// The member's door is open, for [`DOOR_S`].
    Opened {
        /// Its number.
        door: u32,
    },
    /// The newcomer is the first who tries this door, and the last.
    Hello {
        /// The door.
        door: u32,
        /// As in [`ToDoor::Open`].
        hello: Vec<u8>,
    },
    /// Somebody knocks at the member's door.
    Knocked {
        /// The door.
        door: u32,
        /// As in [`ToDoor::Knock`].
        knock: Vec<u8>,
    },
    /// The member answered.
    Answered {
        /// The door.
        door: u32,
        /// As in [`ToDoor::Answer`].
        sealed: Vec<u8>,
    },
    /// The member's answer was passed on, and the door is closed.
    Passed {
        /// The door.
        door: u32,
    },
    /// The door is closed, or was none.
    Closed {
        /// The door; 0 of one that was not opened.
        door: u32,
        /// Why.
        why: DoorEnd,
    },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoorEnd {
    /// The newcomer was let in.
    LetIn,
    /// The member said no.
    SentAway,
    /// The code was not the door's.
    WrongCode,
    /// Somebody else has tried this code before.
    Taken,
    /// No door has this number, or none any more.
    NoDoor,
    /// Nobody came in time.
    Expired,
    /// The other one went, or closed the door.
    Left,
    /// The server has no place for another door, or too many codes came from one address.
    TooMany,
    /// Whoever wanted to open it is in no room.
    NotInRoom,
    /// The room has a list, and only whoever made the room can put somebody on it.
    NotKeeper,
}

impl fmt::Display for DoorEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LetIn => "they are in",
            Self::SentAway => "the answer was no: nobody was let in",
            Self::WrongCode => {
                "the code was not the right one: nobody was let in; a new try needs a new code"
            }
            Self::Taken => "this code was tried before; ask for a new one",
            Self::NoDoor => "nobody waits with this code now; ask for a new one",
            Self::Expired => "nobody came in ten minutes; make a new code",
            Self::Left => "the other one is gone: nobody was let in; make a new code",
            Self::TooMany => "too many codes come from your address, or to this server; try later",
            Self::NotInRoom => "only who is in a room can let somebody in",
            Self::NotKeeper => {
                "this room has a list, and only whoever made the room can let others in"
            }
        })
    }
}

/// What a person wants at a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoorCommand {
    /// Open one, and let me read out its code.
    Open {
        /// Random, and used once.
        seed: [u8; 32],
    },
    /// Close it, or stop waiting at one.
    Close,
    /// Whether the one who knocks may come in.
    Answer {
        /// They may.
        yes: bool,
    },
    /// Knock with a code. The node has to be connected, or about to be.
    Knock {
        /// As it was read out.
        code: DoorCode,
        /// Random, and used once.
        seed: [u8; 32],
    },
    /// Make a room with a list that this node keeps.
    Found {
        /// Random, and used once.
        secret: [u8; 16],
    },
    /// Put a key on the list.
    Admit {
        /// Its key in the room.
        member: NodeId,
        /// For so many days.
        days: u16,
    },
}

/// What a person is told of doors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoorNotice {
    /// One is open.
    Opened {
        /// To be read out to one person.
        code: DoorCode,
    },
    /// Somebody knocks who knows the code.
    Knocked {
        /// Its key in the room.
        who: NodeId,
    },
    /// The member is asked.
    Knocking {
        /// What this node is in that room, as the member sees it.
        me: NodeId,
    },
    /// It is over.
    Ended {
        /// How.
        why: DoorEnd,
    },
    /// This node may come in with this, now and later.
    Invited {
        /// With its pass, where the room has a list.
        room: Invitation,
    },
    /// A key is on the list.
    Admitted {
        /// To be given to whoever has the key.
        room: Invitation,
    },
}

/// How long a door stays open, seconds: a telephone call.
pub const DOOR_S: u64 = 600;
/// The numbers that doors have: four digits, many times as many as there may be doors, so that one who
/// tries numbers mostly finds none.
pub const DOOR_NUMBERS: core::ops::RangeInclusive<u32> = 1_000..=9_999;
/// Letters of a code: 2^20 of them, and one guess a door.
pub const CODE_LETTERS: usize = 4;
/// Digits and letters without those that look or sound alike (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What a member reads out: a door's number, and its letters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DoorCode {
    /// In [`DOOR_NUMBERS`].
    pub door: u32,
    /// Capital letters and digits.
    pub letters: [u8; CODE_LETTERS],
}

/// A text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is four digits and four letters or digits, like 4821-KQ7M")]
pub struct ParseCodeError;

impl DoorCode {
    /// Letters for a code from random bytes.
    #[must_use]
    pub fn letters(random: [u8; CODE_LETTERS]) -> [u8; CODE_LETTERS] {
        random.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()])
    }
}

/// `4821-KQ7M`.
impl fmt::Display for DoorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{}", self.door, self.letters.map(char::from).iter().collect::<String>())
    }
}

/// Takes it as people type it: small letters, spaces and other hyphens, O for 0, I and L for 1.
impl FromStr for DoorCode {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let mut typed = text.chars().filter(|it| !it.is_whitespace() && !"-–—_.".contains(*it));
        let mut code = [0; 4 + CODE_LETTERS];
        for place in &mut code {
            let letter = match typed.next().ok_or(ParseCodeError)?.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                letter => letter,
            };
            *place = u8::try_from(letter).map_err(|_| ParseCodeError)?;
        }
        let (number, letters) = code.split_at(4);
        let door = number.iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
        });
        let door = door.filter(|door| DOOR_NUMBERS.contains(door)).ok_or(ParseCodeError)?;
        let letters: [u8; CODE_LETTERS] = letters.try_into().map_err(|_| ParseCodeError)?;
        let is_code = letters.iter().all(|letter| ALPHABET.contains(letter));
        (is_code && typed.next().is_none()).then_some(Self { door, letters }).ok_or(ParseCodeError)
    }
}

impl Serialize for DoorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DoorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for DoorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DoorCode({}-…)", self.door)
    }
}

impl DoorCommand {
    /// The secret of a room to be made.
    #[must_use]
    pub fn found(secret: RoomSecret) -> Self {
        Self::Found { secret: secret.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_was_heard() {
        let code = DoorCode { door: 4821, letters: *b"K07M" };
        assert_eq!(code.to_string(), "4821-K07M");
        for text in
            ["4821-K07M", "4821k07m", " 4821 - ko7m\n", "4821–KO7M", "482I-KO7M", "48 21 k o7 m"]
        {
            assert_eq!(text.parse(), Ok(code), "{text:?}");
        }
        for text in [
            "",
            "4821",
            "4821-K07",
            "4821-K07MM",
            "0821-K07M",
            "A821-K07M",
            "4821-KU7M",
            "4821-é07M",
        ] {
            assert_eq!(text.parse::<DoorCode>(), Err(ParseCodeError), "{text:?}");
        }
        assert!(!format!("{code:?}").contains("K07M"));
    }

    #[test]
    fn letters_are_drawn_evenly_and_read_back() {
        let mut seen = std::collections::HashMap::new();
        for byte in 0..=u8::MAX {
            let letters = DoorCode::letters([byte; CODE_LETTERS]);
            let code = DoorCode { door: 1_000, letters };
            assert_eq!(code.to_string().parse(), Ok(code));
            *seen.entry(letters).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 32);
        assert!(seen.values().all(|count| *count == 8), "{seen:?}");
    }
}

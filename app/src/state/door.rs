//! Letting somebody into a room by a code, and being let in: what the page knows of it.

use potluck_protocol::door::{DoorCode, DoorCommand, DoorEnd, DoorNotice};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::{Invitation, TICKET_DAYS};
use potluck_protocol::room::ModelTag;

use crate::say;

/// What the page shows of doors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Door {
    /// Where it stands.
    pub stage: Stage,
    /// The code as typed so far.
    pub code: String,
    /// The key for the list as typed so far.
    pub key: String,
    /// The model that a room to be made computes, where the server has several.
    pub model: Option<ModelTag>,
    /// A room with a list is being made.
    is_founding: bool,
    /// The invitation for the key that was put on the list last.
    pub admitted: Option<Invitation>,
}

/// Where a door stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stage {
    /// There is none.
    #[default]
    None,
    /// The worker was asked.
    Asked,
    /// It waits for whoever has the code.
    Open(DoorCode),
    /// Somebody knocks; the person is asked.
    Knocked(NodeId),
    /// The member is asked whether this computer may come in, which is known so there.
    Knocking(NodeId),
    /// It is over: why.
    Ended(DoorEnd),
    /// What was typed is not what it should be: what is.
    Mistyped(String),
}

/// What a person does at a door.
#[derive(Clone, Debug, PartialEq)]
pub enum DoorAction {
    /// **Show a code** was pressed.
    Open {
        /// Random.
        seed: [u8; 32],
    },
    /// **Close** was pressed.
    Close,
    /// **Yes** or **No** was pressed.
    Answer {
        /// It was yes.
        yes: bool,
    },
    /// The code as typed so far.
    TypeCode(String),
    /// **Knock** was pressed.
    Knock {
        /// Random.
        seed: [u8; 32],
    },
    /// A model was chosen for a room to be made; none is the server's first.
    ChooseModel(Option<ModelTag>),
    /// **Make a room with a list** was pressed.
    Found {
        /// Random.
        secret: [u8; 16],
    },
    /// The key for the list as typed so far.
    TypeKey(String),
    /// **Put on the list** was pressed.
    Admit,
}

impl Door {
    /// Handles what a person did; returns what the worker is to do.
    pub(super) fn act(&mut self, action: DoorAction) -> Option<DoorCommand> {
        match action {
            DoorAction::Open { seed } => {
                self.stage = Stage::Asked;
                Some(DoorCommand::Open { seed })
            }
            DoorAction::Close => {
                self.stage = Stage::None;
                Some(DoorCommand::Close)
            }
            DoorAction::Answer { yes } => {
                // Pressed once: what comes of it is told.
                let is_asked = matches!(self.stage, Stage::Knocked(_));
                is_asked.then(|| self.stage = Stage::Asked)?;
                Some(DoorCommand::Answer { yes })
            }
            DoorAction::TypeCode(code) => {
                self.code = code;
                None
            }
            DoorAction::Knock { seed } => match self.code.parse() {
                Ok(code) => {
                    self.stage = Stage::Asked;
                    Some(DoorCommand::Knock { code, seed })
                }
                Err(_) => {
                    self.stage = Stage::Mistyped(say!("door-mistyped-code"));
                    None
                }
            },
            DoorAction::ChooseModel(model) => {
                self.model = model;
                None
            }
            DoorAction::Found { secret } => {
                self.is_founding = true;
                Some(DoorCommand::Found { secret })
            }
            DoorAction::TypeKey(key) => {
                self.key = key;
                None
            }
            DoorAction::Admit => match self.key.trim().parse() {
                Ok(member) => Some(DoorCommand::Admit { member, days: TICKET_DAYS }),
                Err(_) => {
                    self.stage = Stage::Mistyped(say!("door-mistyped-key"));
                    None
                }
            },
        }
    }

    /// The worker is no more: whoever stood at a door stands there no longer.
    pub(super) fn worker_ended(&mut self) {
        if matches!(
            self.stage,
            Stage::Asked | Stage::Open(_) | Stage::Knocked(_) | Stage::Knocking(_)
        ) {
            self.stage = Stage::Ended(DoorEnd::Left);
        }
    }

    /// Handles what the worker told; returns the room to enter, if there is one.
    pub(super) fn handle(&mut self, notice: DoorNotice) -> Option<Invitation> {
        match notice {
            DoorNotice::Opened { code } => self.stage = Stage::Open(code),
            DoorNotice::Knocked { who } => self.stage = Stage::Knocked(who),
            DoorNotice::Knocking { me } => self.stage = Stage::Knocking(me),
            DoorNotice::Ended { why } => self.stage = Stage::Ended(why),
            DoorNotice::Admitted { room } => self.admitted = Some(room),
            DoorNotice::Invited { room } if self.is_founding => {
                return Some(room.computing(self.model));
            }
            DoorNotice::Invited { room } => return Some(room),
        }
        None
    }
}

/// How it ended, for people.
#[must_use]
pub fn ending(why: DoorEnd) -> String {
    match why {
        DoorEnd::LetIn => say!("door-let-in"),
        DoorEnd::SentAway => say!("door-sent-away"),
        DoorEnd::WrongCode => say!("door-wrong-code"),
        DoorEnd::Taken => say!("door-taken"),
        DoorEnd::NoDoor => say!("door-no-door"),
        DoorEnd::Expired => say!("door-expired"),
        DoorEnd::Left | DoorEnd::NotInRoom => say!("door-left"),
        DoorEnd::TooMany => say!("door-too-many"),
        DoorEnd::NotKeeper => say!("door-not-keeper"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_goes_to_the_worker_once_it_is_one() {
        let mut door = Door::default();
        let knock = |door: &mut Door| door.act(DoorAction::Knock { seed: [1; 32] });
        assert_eq!(knock(&mut door), None);
        assert!(matches!(door.stage, Stage::Mistyped(_)));
        assert_eq!(door.act(DoorAction::TypeCode(" 4821 kq7m".to_owned())), None);
        let code = DoorCode { door: 4821, letters: *b"KQ7M" };
        assert_eq!(knock(&mut door), Some(DoorCommand::Knock { code, seed: [1; 32] }));
        let room = Invitation::from(potluck_protocol::room::RoomSecret([3; 16]));
        assert_eq!(door.handle(DoorNotice::Invited { room }), Some(room));
    }

    #[test]
    fn a_room_that_is_made_computes_what_was_chosen() {
        let room = Invitation::from(potluck_protocol::room::RoomSecret([3; 16]));
        let model = Some(ModelTag::of("second"));
        let invited = || DoorNotice::Invited { room };
        let mut door = Door::default();
        door.act(DoorAction::ChooseModel(model));
        assert_eq!(door.handle(invited()), Some(room), "one that another made");
        let found = DoorAction::Found { secret: [3; 16] };
        assert_eq!(door.act(found), Some(DoorCommand::Found { secret: [3; 16] }));
        assert_eq!(door.handle(invited()), Some(room.computing(model)));
    }

    #[test]
    fn nobody_is_answered_who_has_not_knocked() {
        let mut door = Door::default();
        let yes = || DoorAction::Answer { yes: true };
        assert_eq!(door.act(yes()), None);
        door.handle(DoorNotice::Knocked { who: NodeId([3; 32]) });
        assert_eq!(door.act(yes()), Some(DoorCommand::Answer { yes: true }));
        assert_eq!(door.act(yes()), None, "pressed twice");
        door.handle(DoorNotice::Ended { why: DoorEnd::LetIn });
        assert_eq!(door.act(yes()), None, "late");
        door.worker_ended();
        assert_eq!(door.stage, Stage::Ended(DoorEnd::LetIn), "it was over before");
        door.handle(DoorNotice::Knocked { who: NodeId([3; 32]) });
        door.worker_ended();
        assert_eq!(door.act(yes()), None, "there is nobody to tell");
    }

    #[test]
    fn only_a_key_is_put_on_the_list() {
        let mut door = Door::default();
        door.act(DoorAction::TypeKey("Quiet Fox".to_owned()));
        assert_eq!(door.act(DoorAction::Admit), None);
        let member = NodeId([3; 32]);
        door.act(DoorAction::TypeKey(format!(" {member}\n")));
        let admit = DoorCommand::Admit { member, days: TICKET_DAYS };
        assert_eq!(door.act(DoorAction::Admit), Some(admit));
    }
}

//! What a person does with their key, or by it: a state machine without I/O. The key never leaves the
//! worker but in a file that the person asked for, and a file's key gets in only after a second yes.

use core::fmt;

use potluck_protocol::identity::Identity;
use potluck_protocol::invitation::Invitation;
use potluck_protocol::key_file::KeyFile;
use potluck_protocol::page::{Command, KeyNotice, KeyTask, SecretText};
use potluck_protocol::people::{Says, SignedStatement, Statement};

use crate::node::server_origin;

/// The key of this machine, and where it is used.
pub struct Keys {
    secret: [u8; 32],
    /// It is the one that this machine keeps, and not one of a visit's own.
    is_own: bool,
    server: String,
    room: Option<Invitation>,
    /// The key of the file that was looked at last.
    found: Option<[u8; 32]>,
}

/// What follows from a task.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Tell this.
    Say(KeyNotice),
    /// Keep this secret in the place of the one before, and hand the outcome to [`Keys::kept`].
    Keep([u8; 32]),
}

/// Secrets stay out of logs.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The same.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(notice) => notice.fmt(f),
            Self::Keep(_) => f.write_str("Keep"),
        }
    }
}

impl Keys {
    /// Around the secret that is used now. It `is_own` if this machine keeps it.
    #[must_use]
    pub fn new(secret: [u8; 32], is_own: bool) -> Self {
        Self { secret, is_own, server: String::new(), room: None, found: None }
    }

    /// Takes note of where the node connects to: statements are for that server, in that room.
    pub fn note(&mut self, command: &Command) {
        if let Command::Connect { server, room } = command {
            self.server = server_origin(server).unwrap_or_default();
            self.room = *room;
        }
    }

    /// Does a task. `fresh` is random, `now_ms` the calendar's time since 1970.
    pub fn handle(&mut self, task: KeyTask, fresh: [u8; 32], now_ms: u64) -> Step {
        match task {
            KeyTask::Sign(says) => Step::Say(self.sign(says, now_ms)),
            _ if !self.is_own => failed(
                "another tab of this browser uses your key; nothing was changed. Do it there, or close \
                 that tab and reload this one",
            ),
            KeyTask::Backup => {
                let file = KeyFile::new(&self.secret, &self.server);
                let text = SecretText(file.text());
                Step::Say(KeyNotice::Backup { name: file.name(), text })
            }
            KeyTask::Look { text } => {
                self.found = None;
                match KeyFile::read(&text.0) {
                    Ok((file, secret)) => {
                        self.found = Some(secret);
                        let is_present = secret == self.secret;
                        let server = file.server.chars().take(200).collect();
                        Step::Say(KeyNotice::Found { node: file.node(), server, is_present })
                    }
                    Err(error) => failed(&error.to_string()),
                }
            }
            KeyTask::Restore => match self.found.take() {
                Some(secret) => Step::Keep(secret),
                None => failed("no file was chosen; nothing was changed. Choose your backup again"),
            },
            KeyTask::Reset => Step::Keep(fresh),
        }
    }

    /// Whether a secret could be kept, or why not.
    pub fn kept(&mut self, secret: [u8; 32], outcome: Result<(), String>) -> KeyNotice {
        match outcome {
            Ok(()) => {
                self.secret = secret;
                KeyNotice::Changed { node: Identity::from_seed(&secret).node() }
            }
            Err(reason) => KeyNotice::Failed { reason },
        }
    }

    fn sign(&self, says: Says, at_ms: u64) -> KeyNotice {
        let identity = Identity::from_seed(&self.secret);
        let identity = match self.room {
            Some(room) => identity.in_room(room.room()),
            None => identity,
        };
        let is_change = says != Says::Look;
        let statement = Statement { to: self.server.clone(), at_ms, says };
        let signed = SignedStatement::new(&identity, &statement);
        match signed.and_then(|signed| serde_json::to_string(&signed)) {
            Ok(body) => KeyNotice::Signed { body, is_change },
            Err(error) => KeyNotice::Failed { reason: error.to_string() },
        }
    }
}

fn failed(reason: &str) -> Step {
    Step::Say(KeyNotice::Failed { reason: reason.to_owned() })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [1; 32];
    const FRESH: [u8; 32] = [2; 32];

    fn keys() -> Keys {
        let mut keys = Keys::new(SECRET, true);
        keys.note(&Command::Connect {
            server: "https://here.example/below".to_owned(),
            room: None,
        });
        keys
    }

    fn look(keys: &mut Keys, text: &str) -> KeyNotice {
        match keys.handle(KeyTask::Look { text: SecretText(text.to_owned()) }, FRESH, 0) {
            Step::Say(notice) => notice,
            Step::Keep(_) => panic!("nobody said yes"),
        }
    }

    fn backup(keys: &mut Keys) -> String {
        match keys.handle(KeyTask::Backup, FRESH, 0) {
            Step::Say(KeyNotice::Backup { text, .. }) => text.0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_backup_gives_the_key_back_after_a_second_yes() {
        let mut keys = keys();
        let text = backup(&mut keys);
        assert!(text.contains("https://here.example"), "{text}");
        assert_eq!(keys.handle(KeyTask::Reset, FRESH, 0), Step::Keep(FRESH));
        let changed = keys.kept(FRESH, Ok(()));
        assert_eq!(changed, KeyNotice::Changed { node: Identity::from_seed(&FRESH).node() });
        let node = Identity::from_seed(&SECRET).node();
        let server = "https://here.example".to_owned();
        assert_eq!(look(&mut keys, &text), KeyNotice::Found { node, server, is_present: false });
        assert_eq!(keys.handle(KeyTask::Restore, FRESH, 0), Step::Keep(SECRET));
        assert_eq!(keys.kept(SECRET, Ok(())), KeyNotice::Changed { node });
        assert!(matches!(look(&mut keys, &text), KeyNotice::Found { is_present: true, .. }));
    }

    #[test]
    fn nothing_is_lost_by_a_bad_file_or_a_full_disk() {
        let mut keys = keys();
        let good = backup(&mut keys);
        assert!(matches!(look(&mut keys, "{}"), KeyNotice::Failed { .. }));
        let refused = keys.handle(KeyTask::Restore, FRESH, 0);
        assert!(matches!(refused, Step::Say(KeyNotice::Failed { .. })), "{refused:?}");
        // A good one before a bad one does not count either.
        look(&mut keys, &good);
        look(&mut keys, "hello");
        let refused = keys.handle(KeyTask::Restore, FRESH, 0);
        assert!(matches!(refused, Step::Say(KeyNotice::Failed { .. })), "{refused:?}");
        let full = keys.kept(FRESH, Err("the disk is full".to_owned()));
        assert_eq!(full, KeyNotice::Failed { reason: "the disk is full".to_owned() });
        assert_eq!(backup(&mut keys), good);
    }

    #[test]
    fn a_second_tab_touches_no_key_and_signs_as_itself() {
        let mut keys = Keys::new(SECRET, false);
        for task in [KeyTask::Backup, KeyTask::Restore, KeyTask::Reset] {
            let step = keys.handle(task, FRESH, 0);
            let Step::Say(KeyNotice::Failed { reason }) = step else { panic!("{step:?}") };
            assert!(reason.contains("another tab"), "{reason}");
        }
        let signed = keys.handle(KeyTask::Sign(Says::Look), FRESH, 0);
        assert!(matches!(signed, Step::Say(KeyNotice::Signed { .. })), "{signed:?}");
    }

    #[test]
    fn a_statement_is_for_the_server_and_by_the_key_of_the_room() {
        let mut keys = keys();
        let mut said = |says: Says| match keys.handle(KeyTask::Sign(says), FRESH, 7) {
            Step::Say(KeyNotice::Signed { body, .. }) => {
                serde_json::from_str::<SignedStatement>(&body).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let signed = said(Says::Leave);
        let to = "https://here.example".to_owned();
        assert_eq!(signed.read(), Some(Statement { to, at_ms: 7, says: Says::Leave }));
        assert_eq!(signed.node, Identity::from_seed(&SECRET).node());
        let room = Invitation::from(potluck_protocol::room::RoomSecret([3; 16]));
        let server = "https://here.example".to_owned();
        keys.note(&Command::Connect { server, room: Some(room) });
        let Step::Say(KeyNotice::Signed { body, .. }) =
            keys.handle(KeyTask::Sign(Says::Look), FRESH, 7)
        else {
            panic!("not signed")
        };
        let signed: SignedStatement = serde_json::from_str(&body).unwrap();
        assert_eq!(signed.node, Identity::from_seed(&SECRET).in_room(room.room()).node());
    }

    #[test]
    fn secrets_are_in_no_log() {
        let mut keys = keys();
        let step = keys.handle(KeyTask::Backup, FRESH, 0);
        let task = KeyTask::Look { text: SecretText(backup(&mut keys)) };
        let said = format!("{keys:?} {step:?} {task:?} {:?}", Step::Keep(SECRET));
        assert!(!said.contains(&"01".repeat(4)) && !said.contains("1, 1"), "{said}");
    }
}

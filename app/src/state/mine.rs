//! What a person has of their own: their key, a name, a team, receipts, and their place on the boards.
//! Fetched when they open it. The key is where the node is, in the worker: what of it passes through
//! here goes into a file, or comes from one, and is not kept.
//!
//! ```text
//! opened ──▶ the worker signs "who am I?" ──▶ the server answers ──▶ receipts, boards
//! name, team ──▶ the worker signs it ──▶ the server takes it, or says why not
//! file ──▶ the worker says whose key it holds ──▶ the person says yes ──▶ kept; another worker begins
//! ```

use std::collections::VecDeque;

use potluck_protocol::api::{BoardOf, BoardView, HardwareClass, Period, ReceiptsPage};
use potluck_protocol::id::{NodeId, TeamId};
use potluck_protocol::page::{Command, KeyNotice, KeyTask, SecretText};
use potluck_protocol::people::{PersonView, Says, TeamView};

use super::{Effect, State};
use crate::say;

/// Receipts kept at most. Nobody reads more; the file has them all.
pub const MAX_RECEIPTS: usize = 200;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mine {
    /// The person wants to see it.
    pub is_open: bool,
    /// What the server knows of this key.
    pub person: Option<PersonView>,
    /// The name as typed so far.
    pub typed_name: String,
    /// The name of a team to be made, as typed so far.
    pub typed_team: String,
    /// The newest receipts, as far as they were asked for.
    pub receipts: ReceiptsPage,
    /// Which board is shown.
    pub which: Which,
    /// That board.
    pub board: Option<BoardView>,
    /// The team that the page's address invites to, once the server has told of it.
    pub invitation: Option<TeamView>,
    /// The key of a file, until the person says whether to use it.
    pub found: Option<Found>,
    /// The person is asked whether they mean it.
    pub asks_reset: bool,
    /// What was done last.
    pub done: Option<String>,
    /// Why something was not.
    pub failure: Option<String>,
    /// The statement that was sent and is not answered yet.
    on_its_way: Option<OnItsWay>,
    /// Those that are signed and wait for that answer: answers that overtook each other would leave
    /// what the older one knew.
    waiting: VecDeque<Signed>,
}

/// What the statement is that an answer is awaited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnItsWay {
    /// Nothing was said by it.
    Look,
    /// It changes what others see.
    Change,
    /// The worker that signed it has ended, so its answer is of no use.
    Outdated,
}

/// A statement as the worker signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    body: String,
    is_change: bool,
}

/// Whom a board is of, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// People or teams.
    pub of: BoardOf,
    /// With what hardware.
    pub class: HardwareClass,
    /// In which time.
    pub period: Period,
}

/// A key in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose it is.
    pub node: NodeId,
    /// The server that it was kept from; may be empty.
    pub server: String,
    /// It is the present one.
    pub is_present: bool,
}

/// What can happen to it.
#[derive(Clone, Debug, PartialEq)]
pub enum MineAction {
    /// It was opened, or closed.
    Toggle,
    /// The name as typed so far.
    TypeName(String),
    /// The name of a team as typed so far.
    TypeTeam(String),
    /// **Use this name**, or **Make the team**, or another thing to be said and signed. Names are in
    /// Unicode's normal form C.
    Say(Says),
    /// **Join** was pressed, beside an invitation.
    Join,
    /// The page's address invites to a team.
    LookAtTeam,
    /// More receipts were asked for.
    MoreReceipts,
    /// All receipts were asked for, as a file.
    SaveReceipts,
    /// Another board was chosen.
    Choose(Which),
    /// A backup was asked for.
    BackUp,
    /// A file was chosen.
    Look(SecretText),
    /// The file cannot be a backup.
    NoFile,
    /// **Use this key** was pressed.
    Restore,
    /// **A new key** was pressed.
    AskReset,
    /// It was pressed again.
    Reset,
    /// The person thought better of it.
    GiveUp,
    /// The server answered to a statement, or refused it.
    Person(Result<PersonView, String>),
    /// It sent the receipts behind this one.
    Receipts(Option<u32>, Result<ReceiptsPage, String>),
    /// It sent a board.
    Board(Which, Result<BoardView, String>),
    /// It told of the team that invites.
    Invitation(Result<TeamView, String>),
    /// Something could not be had.
    Failed(String),
}

/// What has to be done for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MineEffect {
    /// Send a statement that was signed; answered by [`MineAction::Person`].
    Post(String),
    /// Answered by [`MineAction::Receipts`].
    FetchReceipts {
        /// Whose.
        node: NodeId,
        /// Behind which; the newest if `None`.
        before: Option<u32>,
    },
    /// Fetch them all and save them as a file.
    SaveReceipts(NodeId),
    /// Answered by [`MineAction::Board`].
    FetchBoard(Which, Option<String>),
    /// Answered by [`MineAction::Invitation`].
    FetchTeam(TeamId),
    /// Have the browser save a file, and forget what is in it.
    Save {
        /// What to call it.
        name: String,
        /// What is in it.
        text: SecretText,
    },
}

impl State {
    pub(super) fn mine(&mut self, action: MineAction) -> Vec<Effect> {
        match action {
            MineAction::Toggle => return self.toggle_mine(),
            MineAction::TypeName(name) => self.mine.typed_name = name,
            MineAction::TypeTeam(name) => self.mine.typed_team = name,
            MineAction::Say(says) => return self.with_key(KeyTask::Sign(says)),
            MineAction::Join => {
                let Some(team) = self.opened.team else { return Vec::new() };
                self.mine.is_open = true;
                let mut effects = self.with_key(KeyTask::Sign(Says::Join { team }));
                effects.push(self.fetch_board());
                return effects;
            }
            MineAction::LookAtTeam => {
                let team = self.opened.team.filter(|_| self.opened.room.is_none());
                return team.map(MineEffect::FetchTeam).map(Effect::Mine).into_iter().collect();
            }
            MineAction::MoreReceipts => {
                let (Some(node), before) = (self.node, self.mine.receipts.next) else {
                    return Vec::new();
                };
                return vec![Effect::Mine(MineEffect::FetchReceipts { node, before })];
            }
            MineAction::SaveReceipts => {
                let node = self.node;
                return node.map(MineEffect::SaveReceipts).map(Effect::Mine).into_iter().collect();
            }
            MineAction::Choose(which) => {
                self.mine.which = which;
                self.mine.board = None;
                return vec![self.fetch_board()];
            }
            MineAction::BackUp => return self.with_key(KeyTask::Backup),
            MineAction::Look(text) => {
                self.mine.found = None;
                return self.with_key(KeyTask::Look { text });
            }
            MineAction::NoFile => {
                self.mine.found = None;
                self.mine.failure = Some(say!("mine-no-file"));
            }
            MineAction::Restore if self.mine.found.is_some() => {
                return self.change_key(KeyTask::Restore);
            }
            MineAction::Reset if self.mine.asks_reset => return self.change_key(KeyTask::Reset),
            MineAction::Restore | MineAction::Reset => {}
            MineAction::AskReset => (self.mine.asks_reset, self.mine.found) = (true, None),
            MineAction::GiveUp => (self.mine.asks_reset, self.mine.found) = (false, None),
            MineAction::Person(answer) => return self.heard_of_me(answer),
            MineAction::Receipts(before, answer) => self.mine.take_receipts(before, answer),
            MineAction::Board(which, answer) if which == self.mine.which => match answer {
                Ok(board) => self.mine.board = Some(board),
                Err(reason) => self.mine.failure = Some(reason),
            },
            // Another was chosen meanwhile.
            MineAction::Board(..) => {}
            MineAction::Invitation(Ok(team)) => self.mine.invitation = Some(team),
            MineAction::Invitation(Err(reason)) | MineAction::Failed(reason) => {
                self.mine.failure = Some(reason);
            }
        }
        Vec::new()
    }

    /// Something came of what the key was needed for.
    pub(super) fn key(&mut self, notice: KeyNotice) -> Vec<Effect> {
        match notice {
            KeyNotice::Signed { body, is_change } => {
                self.mine.waiting.push_back(Signed { body, is_change });
                return self.mine.post().into_iter().collect();
            }
            KeyNotice::Backup { name, text } => {
                self.mine.done = Some(say!("mine-backed-up", name = &name));
                return vec![Effect::Mine(MineEffect::Save { name, text })];
            }
            KeyNotice::Found { node, server, is_present } => {
                self.mine.found = Some(Found { node, server, is_present });
            }
            KeyNotice::Failed { reason } => {
                self.mine.failure = Some(reason);
            }
            KeyNotice::Changed { node } => {
                // The one that runs has the old key still.
                let mut effects = self.end_worker();
                self.contribution = None;
                self.mine.is_open = true;
                self.mine.done =
                    Some(say!("mine-changed", name = node.name(), short = node.short()));
                effects.extend(self.connected());
                return effects;
            }
        }
        Vec::new()
    }

    /// Who is asked again whenever the node has another name, as long as somebody looks.
    pub(super) fn look_at_me(&mut self) -> Vec<Effect> {
        if !self.mine.is_open || self.node.is_none() {
            return Vec::new();
        }
        self.with_key(KeyTask::Sign(Says::Look))
    }

    fn toggle_mine(&mut self) -> Vec<Effect> {
        self.mine.is_open = !self.mine.is_open;
        if !self.mine.is_open {
            return Vec::new();
        }
        let mut effects = vec![self.fetch_board()];
        if self.node.is_some() {
            effects.extend(self.look_at_me());
        } else {
            // It asks as soon as it has a name.
            effects.extend(self.connected());
        }
        effects
    }

    fn with_key(&mut self, task: KeyTask) -> Vec<Effect> {
        (self.mine.done, self.mine.failure) = (None, None);
        let mut effects = self.connected();
        effects.push(Effect::Send(Command::Key(task)));
        effects
    }

    /// Lending ends before its key changes: what was agreed to was agreed to by the old one.
    fn change_key(&mut self, task: KeyTask) -> Vec<Effect> {
        if self.asking.is_open() {
            self.mine.failure = Some(say!("mine-busy"));
            return Vec::new();
        }
        let mut effects = Vec::new();
        if self.volunteer.is_lending() {
            self.volunteer.reset();
            if self.worker_runs {
                effects.push(Effect::Send(Command::StopLending));
            }
            effects.push(Effect::ReleaseLock);
        }
        (self.mine.asks_reset, self.mine.found) = (false, None);
        effects.extend(self.with_key(task));
        effects
    }

    fn heard_of_me(&mut self, answer: Result<PersonView, String>) -> Vec<Effect> {
        let was = self.mine.on_its_way.take();
        let mut effects: Vec<_> = self.mine.post().into_iter().collect();
        if was != Some(OnItsWay::Outdated) {
            match answer {
                Ok(person) => effects.extend(self.know_me(person, was == Some(OnItsWay::Change))),
                Err(reason) => self.mine.failure = Some(reason),
            }
        }
        effects
    }

    fn know_me(&mut self, person: PersonView, has_changed: bool) -> [Effect; 2] {
        if has_changed {
            self.mine.done = Some(say!("mine-said"));
            self.mine.typed_team = String::new();
        }
        let known = self.mine.person.as_ref().and_then(|person| person.called.as_ref());
        if has_changed || person.called.as_ref() != known {
            self.mine.typed_name = person.called.clone().unwrap_or_default();
        }
        let node = person.node;
        self.mine.person = Some(person);
        [Effect::Mine(MineEffect::FetchReceipts { node, before: None }), self.fetch_board()]
    }

    fn fetch_board(&self) -> Effect {
        let team = self.mine.person.as_ref().and_then(|person| person.team.as_ref());
        let own = match self.mine.which.of {
            BoardOf::People => self.node.map(|node| node.to_string()),
            BoardOf::Teams => team.map(|team| team.id.tag()),
        };
        Effect::Mine(MineEffect::FetchBoard(self.mine.which, own))
    }
}

impl Mine {
    /// What is shown was the worker's, which has ended.
    pub(super) fn close(&mut self) {
        let Self { which, invitation, on_its_way, .. } = core::mem::take(self);
        let on_its_way = on_its_way.map(|_| OnItsWay::Outdated);
        *self = Self { which, invitation, on_its_way, ..Self::default() };
    }

    /// Sends the next statement, once the one before is answered.
    fn post(&mut self) -> Option<Effect> {
        if self.on_its_way.is_some() {
            return None;
        }
        let Signed { body, is_change } = self.waiting.pop_front()?;
        self.on_its_way = Some(if is_change { OnItsWay::Change } else { OnItsWay::Look });
        Some(Effect::Mine(MineEffect::Post(body)))
    }

    /// Adds the page behind `before`, or begins with the newest.
    fn take_receipts(&mut self, before: Option<u32>, answer: Result<ReceiptsPage, String>) {
        let page = match answer {
            Ok(page) => page,
            Err(reason) => {
                self.failure = Some(reason);
                return;
            }
        };
        match before {
            None => self.receipts = page,
            Some(_) if before == self.receipts.next => {
                self.receipts.receipts.extend(page.receipts);
                self.receipts.next = page.next;
            }
            // It was asked for twice, or begun anew meanwhile.
            Some(_) => {}
        }
        if self.receipts.receipts.len() >= MAX_RECEIPTS {
            self.receipts.receipts.truncate(MAX_RECEIPTS);
            self.receipts.next = None;
        }
    }
}

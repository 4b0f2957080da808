//! Everything the page knows, everything that can happen to it, and the one pure function that
//! joins them.
//!
//! No clock, no randomness, no browser: what must come from outside comes inside an [`Action`],
//! what must happen outside leaves as an [`Effect`].

pub mod asking;
pub mod door;
pub mod feed;
pub mod lending;
pub mod mine;
pub mod names;
pub mod numbers;
pub mod options;
pub mod problem;
pub mod sensing;
pub mod swarm;

use potluck_protocol::api::{ContributionView, ModelView, NodesPage, SwarmView, TallyRow};
use potluck_protocol::grant::{Limits, MAX_GRANT_DAYS};
use potluck_protocol::id::{NodeId, SiteKey, TeamId};
use potluck_protocol::invitation::Invitation;
use potluck_protocol::page::{BackendPreference, Command, Link, Notice, OwnPart};
use potluck_protocol::room::ModelTag;

use asking::{Asking, Kept};
use door::{Door, DoorAction};
use lending::{Volunteer, looks};
use mine::{Mine, MineAction, MineEffect};
use names::Names;
use options::Options;
use problem::Problem;
use sensing::Sensed;
use swarm::{Heard, Swarm, Tie};

use crate::say;
use crate::words::{self, Language};

/// What the page knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Where this page is and how it came here.
    pub opened: Opened,
    /// The server has another page than this one.
    pub is_old: bool,
    /// This tab's name among the nodes, once its worker runs.
    pub node: Option<NodeId>,
    /// True from starting the worker until ending it.
    pub worker_runs: bool,
    /// The worker's link to the server; `None` while no worker runs.
    pub link: Option<Link>,
    /// Lending this computer.
    pub volunteer: Volunteer,
    /// Asking the swarm.
    pub asking: Asking,
    /// Who sits at the table.
    pub swarm: Heard<Swarm>,
    /// Whom this tab is connected to.
    pub ties: Vec<Tie>,
    /// Names of those at a table too large to list, as far as they were asked for.
    pub names: Names,
    /// Who was credited with what.
    pub tally: Heard<Vec<TallyRow>>,
    /// What this computer was credited with, day by day.
    pub contribution: Option<ContributionView>,
    /// Parts of the page's program that came later: it is drawn anew for each.
    pub parts: u32,
    /// What this visitor has of their own, if they look at it.
    pub mine: Mine,
    /// The models of this swarm.
    pub models: Vec<ModelView>,
    /// Letting somebody into a room, or being let in.
    pub door: Door,
    /// Something went wrong.
    pub problem: Option<Problem>,
    /// The language that the page speaks.
    pub language: Language,
}

/// Where a page is and how it came here, as its browser says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Address of the folder that the page lies in, which is the server's: `https://host` or
    /// `https://host/potluck`.
    pub server: String,
    /// Which page this is; `None` where its builder says nothing, as `trunk serve`.
    pub build: Option<String>,
    /// Without HTTPS a browser gives a page of another machine no graphics processor and nothing to
    /// keep copies in.
    pub is_secure: bool,
    /// The site in whose page this is a widget; `None` on the swarm's own page.
    pub site: Option<SiteKey>,
    /// The widget is on a phone, and its visitor wanted to be asked all the same.
    pub chose_phone: bool,
    /// The room that the page's address invites to.
    pub room: Option<Invitation>,
    /// It invites to one that cannot be read.
    pub is_room_unreadable: bool,
    /// The team that the page's address invites to.
    pub team: Option<TeamId>,
}

/// What can happen to the page.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// **Lend a hand** was pressed.
    Lend,
    /// The browser answered whether this tab is its only one that lends.
    LockAnswered {
        /// True if it is.
        granted: bool,
    },
    /// **Stop** was pressed.
    Stop,
    /// The page's senses told something, while this computer is lent.
    Sensed(Sensed),
    /// Whether the screen is to stay on while this computer is lent.
    KeepAwake(bool),
    /// What may compute here.
    ChooseBackend(BackendPreference),
    /// How much of the machine is lent, and when.
    ChooseLimits(Limits),
    /// For how many days the next yes is to hold.
    ChooseDays(u16),
    /// **Take a break** was pressed.
    Pause,
    /// **Go on** was pressed, after a break.
    Resume,
    /// More time was given.
    Extend,
    /// The question as typed so far.
    TypePrompt(String),
    /// The seed as typed so far.
    TypeSeed(String),
    /// The temperature as typed so far.
    TypeTemperature(String),
    /// What of the next answers this computer is to compute itself.
    ChoosePart(Option<OwnPart>),
    /// **Ask** was pressed.
    Ask {
        /// The seed to use if none was typed; below 2^53.
        random_seed: u64,
        /// What the person's clock shows: seconds from 1970-01-01 00:00 as it reads there.
        asked_at_s: i64,
    },
    /// **Go on** was pressed, beside an answer that a reload broke off.
    GoOn,
    /// **Cancel** was pressed.
    Cancel,
    /// The worker reported something.
    Notice(Notice),
    /// The worker could not be started, or broke.
    WorkerFailed {
        /// What happened.
        reason: String,
    },
    /// The server has no file of this page's worker: it serves another page by now.
    WorkerMissing,
    /// The server said which page it has.
    Build(String),
    /// What was fetched to be drawn is here.
    PartArrived,
    /// **Reload** was pressed.
    Reload,
    /// The server stopped telling; it may come back.
    Silent(String),
    /// The server sent who is connected, or did not answer.
    Swarm(Result<SwarmView, String>),
    /// Whom this tab is connected to changed.
    Ties(Vec<Tie>),
    /// Names of those at the table were asked for, the first or the next ones.
    ShowNames,
    /// The server sent some, or did not answer.
    Names(Result<NodesPage, String>),
    /// The server sent the tally, or did not answer.
    Tally(Result<Vec<TallyRow>, String>),
    /// The server sent what this computer was credited with.
    Contribution(ContributionView),
    /// The server sent its models.
    Models(Vec<ModelView>),
    /// Something about what is the visitor's own.
    Mine(MineAction),
    /// **Make a room** was pressed.
    MakeRoom,
    /// **Leave the room** was pressed.
    LeaveRoom,
    /// Somebody is to be let into a room.
    Door(DoorAction),
    /// The message about a problem was read.
    DismissProblem,
    /// A language was chosen.
    ChooseLanguage(Language),
    /// The page speaks it now, or its words could not be fetched.
    Spoken(Result<Language, String>),
}

/// What the page has to do outside itself, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask the browser to be its only tab that lends; answered by [`Action::LockAnswered`].
    TakeLock,
    /// Let another tab lend.
    ReleaseLock,
    /// Start the worker.
    StartWorker,
    /// End the worker at once, and with it all its connections.
    EndWorker,
    /// Send this to the worker.
    Send(Command),
    /// Keep this in the tab, over a reload, instead of what is kept now.
    Keep(Option<Kept>),
    /// Keep what was agreed to, for the next visit to start from. Nothing is lent by it.
    KeepLimits(Limits),
    /// Ask the server for names behind this one; answered by [`Action::Names`].
    FetchNames {
        /// The last name that is here.
        after: Option<NodeId>,
    },
    /// Ask the server what this node was credited with; answered by [`Action::Contribution`].
    FetchContribution(NodeId),
    /// Something for what is the visitor's own.
    Mine(MineEffect),
    /// Load the page anew.
    Reload,
    /// Load the page anew in a room that nobody else is in yet, for this model.
    MakeRoom(Option<ModelTag>),
    /// Load the page anew in this room, and keep the pass to it for the next visit.
    EnterRoom(Invitation),
    /// Load the page anew outside of the room.
    LeaveRoom,
    /// Speak this language from now on, and keep the choice; answered by [`Action::Spoken`].
    Speak(Language),
}

impl State {
    /// The state of a page just opened: nothing runs. `kept` is an answer that a reload broke off.
    #[must_use]
    pub fn new(opened: Opened, options: &Options, kept: Option<Kept>) -> Self {
        let problem = opened.is_room_unreadable.then(|| Problem::new(&say!("room-unreadable")));
        Self {
            volunteer: Volunteer::new(options.backend, options.memory_mib)
                .at(opened.site, opened.chose_phone),
            opened,
            asking: Asking::new(options.seed, kept),
            language: words::spoken(),
            problem,
            ..Self::default()
        }
    }

    /// Handles what happened; returns what has to be done outside.
    pub fn reduce(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Lend => return self.lend(),
            Action::LockAnswered { granted } => return self.lock_answered(granted),
            Action::Stop => return self.stop(),
            Action::Sensed(sensed) => return self.sensed(sensed),
            Action::KeepAwake(on) => self.volunteer.keeps_awake = on,
            Action::ChooseBackend(backend) => self.volunteer.backend = backend,
            Action::ChooseLimits(limits) => return self.choose_limits(limits),
            Action::ChooseDays(days) => self.volunteer.days = days.clamp(1, MAX_GRANT_DAYS),
            Action::Pause => return self.while_lending(Command::Pause),
            Action::Resume => return self.while_lending(Command::Resume),
            Action::Extend => return self.while_lending(Command::Extend),
            Action::TypePrompt(prompt) => self.asking.prompt = prompt,
            Action::TypeSeed(seed) => self.asking.seed = seed,
            Action::TypeTemperature(temperature) => self.asking.temperature = temperature,
            Action::ChoosePart(part) => self.asking.part = part,
            Action::Ask { random_seed, asked_at_s } => return self.ask(random_seed, asked_at_s),
            Action::GoOn => return self.go_on(),
            Action::Cancel => return self.asking.cancel(),
            Action::Notice(notice) => return self.notice(notice),
            Action::WorkerFailed { reason } => return self.worker_failed(&reason),
            Action::WorkerMissing => return self.worker_missing(),
            Action::PartArrived => self.parts += 1,
            Action::Build(server) => {
                self.is_old = self.opened.build.as_ref().is_some_and(|ours| *ours != server);
            }
            Action::Reload => return vec![Effect::Reload],
            Action::Silent(failure) => {
                self.swarm.failure = Some(failure.clone());
                self.tally.failure = Some(failure);
            }
            Action::Swarm(answer) => {
                let before = self.swarm.value.as_ref();
                self.swarm.handle(answer.map(|view| Swarm::new(view, before)));
            }
            // What was under way when the worker was ended does not count.
            Action::Ties(ties) if self.worker_runs => self.ties = ties,
            Action::Ties(_) => {}
            Action::ShowNames => return self.names.ask(),
            Action::Names(answer) => self.names.handle(answer),
            Action::Tally(answer) => self.tally.handle(answer),
            Action::Contribution(view) => self.contribution = Some(view),
            Action::Models(models) => {
                let of_room = self.opened.room.and_then(|room| room.model);
                let is_here = |name: &str| of_room.is_none_or(|tag| ModelTag::of(name) == tag);
                self.models = models.into_iter().filter(|model| is_here(&model.name)).collect();
            }
            Action::Mine(action) => return self.mine(action),
            Action::MakeRoom => return vec![Effect::MakeRoom(self.door.model)],
            Action::LeaveRoom => return vec![Effect::LeaveRoom],
            Action::Door(action) => return self.at_door(action),
            Action::DismissProblem => self.problem = None,
            Action::ChooseLanguage(language) => return vec![Effect::Speak(language)],
            Action::Spoken(Ok(language)) => self.language = language,
            Action::Spoken(Err(reason)) => {
                self.problem = Some(Problem::new(&say!("language-missing", reason = reason)));
            }
        }
        Vec::new()
    }

    /// The model people ask and lend for: the swarm's first.
    #[must_use]
    pub fn model(&self) -> Option<&ModelView> {
        self.models.first()
    }

    /// Starts the worker and connects it, unless it runs already.
    fn connected(&mut self) -> Vec<Effect> {
        if self.worker_runs {
            return Vec::new();
        }
        self.worker_runs = true;
        self.link = Some(Link::Connecting);
        let (server, room) = (self.opened.server.clone(), self.opened.room);
        vec![Effect::StartWorker, Effect::Send(Command::Connect { server, room })]
    }

    fn at_door(&mut self, action: DoorAction) -> Vec<Effect> {
        let Some(command) = self.door.act(action) else { return Vec::new() };
        let mut effects = self.connected();
        effects.push(Effect::Send(Command::Door(command)));
        effects
    }

    /// Ends the worker; what it was doing is over.
    fn end_worker(&mut self) -> Vec<Effect> {
        self.worker_runs = false;
        self.link = None;
        self.node = None;
        self.ties.clear();
        self.mine.close();
        self.volunteer.reset();
        self.door.worker_ended();
        vec![Effect::EndWorker, Effect::ReleaseLock]
    }

    fn notice(&mut self, notice: Notice) -> Vec<Effect> {
        if !self.worker_runs {
            // It was posted before the worker was ended.
            return Vec::new();
        }
        match notice {
            Notice::Ready | Notice::Models(_) => Vec::new(),
            Notice::Identity { node } => {
                self.node = Some(node);
                let mut effects: Vec<Effect> = self.contribution_of(node).into_iter().collect();
                effects.extend(self.look_at_me());
                effects
            }
            Notice::Link(Link::Refused { reason }) => self.refused(&reason),
            Notice::Link(link) => {
                self.link = Some(link);
                Vec::new()
            }
            Notice::Lending(lending) => {
                let is_more = looks(lending.receipts) > looks(self.volunteer.lending.receipts);
                let node = self.node.filter(|_| is_more);
                let mut effects = self.lending(lending);
                effects.extend(node.and_then(|node| self.contribution_of(node)));
                effects
            }
            Notice::Grant(grant) => {
                self.volunteer.grant = grant;
                let limits = self.volunteer.grant.as_ref().map(|it| it.signed.grant.limits.clone());
                limits.map(Effect::KeepLimits).into_iter().collect()
            }
            Notice::Door(notice) => {
                self.door.handle(notice).map(Effect::EnterRoom).into_iter().collect()
            }
            Notice::Answer { request, event } => {
                let mut effects = self.asking.answer(request, event);
                effects.extend(self.leave_if_nothing_is_left());
                effects
            }
            Notice::Key(notice) => self.key(notice),
        }
    }

    /// What is asked about a node's days; by a widget nothing, as it does not show them.
    fn contribution_of(&self, node: NodeId) -> Option<Effect> {
        self.opened.site.is_none().then_some(Effect::FetchContribution(node))
    }

    /// The server does not want this node: the worker is of no use any more.
    fn refused(&mut self, reason: &str) -> Vec<Effect> {
        self.asking.fail_open(&say!("ended-refused", reason = reason));
        self.problem = Some(Problem::refused(reason));
        self.end_worker()
    }

    fn worker_failed(&mut self, reason: &str) -> Vec<Effect> {
        self.asking.fail_open(&say!("ended-worker"));
        self.problem = Some(Problem::worker_failed(reason));
        self.end_worker()
    }

    fn worker_missing(&mut self) -> Vec<Effect> {
        self.asking.fail_open(&say!("ended-old"));
        self.is_old = true;
        self.problem = Some(Problem::old_page());
        self.end_worker()
    }

    /// After **Stop** the worker stays only for the answer that was being written.
    fn leave_if_nothing_is_left(&mut self) -> Vec<Effect> {
        if self.volunteer.leaves_after_answer && !self.asking.is_open() {
            self.end_worker()
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests;

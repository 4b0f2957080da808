//! Lending this computer: from the click to **Stop**.
//!
//! ```text
//!  No ──Lend──▶ Checking ──lock granted──▶ Yes ──Stop──▶ No, the worker has ended
//!                   └──another tab lends──▶ No  ├─Stop, an answer is being written──▶ Stopping ──Idle──▶ No
//!                                               └─Failed, the node is told to stop──▶ No
//! ```
//! What the node does meanwhile is the worker's to report ([`Lending`]); here is only what the
//! person wants. The two never part: **Stop** is there in every state but `No`, and a node that
//! reports that it lends in `No` is told to stop.

use potluck_protocol::grant::{Limits, MAX_GRANT_DAYS, Place, Terms};
use potluck_protocol::id::SiteKey;
use potluck_protocol::page::{
    BackendPreference, Command, Conditions, Granted, Lending, LendingPhase, PauseReason,
};

use super::problem::Problem;
use super::{Effect, State, options};
use crate::say;

/// What the person wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// Not to lend.
    #[default]
    No,
    /// To lend; the browser is being asked whether another tab does already.
    Checking,
    /// To lend.
    Yes,
    /// Not to lend any more; the node, which still writes this person's answer, has not confirmed
    /// it yet.
    Stopping,
}

/// Lending, as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volunteer {
    /// What the person wants.
    pub intent: Intent,
    /// What may compute.
    pub backend: BackendPreference,
    /// How much of the machine is lent, and when.
    pub limits: Limits,
    /// For how many days the next yes holds.
    pub days: u16,
    /// The site in whose page this is a widget.
    pub site: Option<SiteKey>,
    /// There, on a phone, the visitor wanted to be asked all the same.
    pub chose_phone: bool,
    /// What the node reported last.
    pub lending: Lending,
    /// What the machine is lent under, as the node signed it; `None` while it is not.
    pub grant: Option<Box<Granted>>,
    /// What the page's senses told since the click.
    pub seen: Conditions,
    /// The page is drawn too late, whoever's fault it is.
    pub is_drawn_late: bool,
    /// The screen is to stay on while this computer is lent.
    pub keeps_awake: bool,
    /// Lending was stopped while an answer was being written; the worker ends with it.
    pub leaves_after_answer: bool,
}

impl Volunteer {
    /// Not lending, with these choices.
    #[must_use]
    pub fn new(backend: BackendPreference, memory_mib: u64) -> Self {
        let memory_bytes = options::clamp_memory(memory_mib) << 20;
        let limits = Limits { memory_bytes, ..Limits::default() };
        Self { backend, limits, days: MAX_GRANT_DAYS, ..Self::default() }
    }

    /// The same in the widget of a site.
    #[must_use]
    pub fn at(self, site: Option<SiteKey>, chose_phone: bool) -> Self {
        Self { site, chose_phone, ..self }
    }

    /// Why the node cannot go on, if it cannot.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.lending.phase {
            LendingPhase::Failed { reason } => Some(reason),
            _ => None,
        }
    }

    /// What the click says yes to.
    #[must_use]
    pub fn terms(&self) -> Terms {
        if let Some(site) = self.site {
            // What the widget asks for, and nobody has chosen otherwise.
            let limits = Limits { on_phone: self.chose_phone, ..Limits::default() };
            return Terms { place: Place::Widget { site }, limits, ..Terms::default() };
        }
        Terms { limits: self.limits.clone(), days: self.days, ..Terms::default() }
    }

    /// True from the click until nothing is computed for others any more. As long as it is, **Stop**
    /// is on the page.
    #[must_use]
    pub fn is_lending(&self) -> bool {
        self.intent != Intent::No
    }

    /// Where lending stands, in a few words.
    #[must_use]
    pub fn phase_text(&self) -> String {
        match (self.intent, &self.lending.phase) {
            (_, LendingPhase::Failed { .. }) => say!("phase-failed"),
            (Intent::No, _) => say!("phase-idle"),
            (Intent::Stopping, _) => say!("phase-stopping"),
            (_, LendingPhase::Idle | LendingPhase::Starting) => say!("phase-starting"),
            (_, LendingPhase::Waiting) => say!("phase-waiting"),
            (_, LendingPhase::Fetching) => say!("phase-fetching"),
            (_, LendingPhase::Serving) => say!("phase-serving"),
            (_, LendingPhase::Retrying { .. }) => say!("phase-retrying"),
            (_, LendingPhase::Paused { .. }) => say!("phase-paused"),
        }
    }

    /// Back to not lending; the choices stay.
    pub(super) fn reset(&mut self) {
        let Self { backend, days, site, chose_phone, keeps_awake, .. } = *self;
        let limits = core::mem::take(&mut self.limits);
        *self = Self { backend, limits, days, site, chose_phone, keeps_awake, ..Self::default() };
    }

    /// True while the screen has to stay on: the person asked for it, and something is computed.
    #[must_use]
    pub fn holds_screen(&self) -> bool {
        let is_paused = matches!(self.lending.phase, LendingPhase::Paused { .. });
        self.keeps_awake && self.intent == Intent::Yes && !is_paused
    }

    /// True while the person themselves wants a pause.
    #[must_use]
    pub fn is_on_a_break(&self) -> bool {
        self.lending.phase == LendingPhase::Paused { why: PauseReason::Asked }
    }

    /// True while the minutes that were agreed on are over.
    #[must_use]
    pub fn is_out_of_time(&self) -> bool {
        self.lending.phase == LendingPhase::Paused { why: PauseReason::TimeIsUp }
    }
}

impl State {
    pub(super) fn lend(&mut self) -> Vec<Effect> {
        if self.volunteer.is_lending() {
            return Vec::new();
        }
        self.problem = None;
        self.volunteer.reset();
        self.volunteer.intent = Intent::Checking;
        vec![Effect::TakeLock]
    }

    pub(super) fn lock_answered(&mut self, granted: bool) -> Vec<Effect> {
        if self.volunteer.intent != Intent::Checking {
            // Stop was pressed while the browser thought about it.
            return if granted { vec![Effect::ReleaseLock] } else { Vec::new() };
        }
        if !granted {
            self.volunteer.reset();
            self.problem = Some(Problem::new(&say!("other-tab")));
            return Vec::new();
        }
        self.volunteer.intent = Intent::Yes;
        let mut effects = self.connected();
        if self.volunteer.seen != Conditions::default() {
            // Before the yes: what stands against it stops it before it begins.
            effects.extend(self.tell_conditions());
        }
        let (backend, terms) = (self.volunteer.backend, self.volunteer.terms());
        effects.push(Effect::Send(Command::Lend { backend, terms }));
        effects
    }

    /// Changes how much is lent. What is lent already, is lent under the new limits from now on.
    pub(super) fn choose_limits(&mut self, limits: Limits) -> Vec<Effect> {
        if limits.check().is_err() || limits == self.volunteer.limits {
            return Vec::new();
        }
        self.volunteer.limits = limits.clone();
        self.while_lending(Command::SetLimits(limits))
    }

    /// What the node is told, if it lends.
    pub(super) fn while_lending(&self, command: Command) -> Vec<Effect> {
        let lends = self.volunteer.intent == Intent::Yes && self.worker_runs;
        lends.then_some(Effect::Send(command)).into_iter().collect()
    }

    /// Ends computing for others. The worker is ended with all it does, unless it is writing this
    /// person's own answer; pressed again, that is ended too.
    pub(super) fn stop(&mut self) -> Vec<Effect> {
        if !self.worker_runs {
            self.volunteer.reset();
            return vec![Effect::ReleaseLock];
        }
        if self.volunteer.intent == Intent::Checking {
            // The node has not heard of it; it stays for whatever the person asks.
            self.volunteer.reset();
            return Vec::new();
        }
        let is_insisting = self.volunteer.intent == Intent::Stopping;
        if is_insisting {
            self.asking.fail_open(&say!("ended-with-tab"));
        }
        if is_insisting || !self.asking.is_open() {
            return self.end_worker();
        }
        self.volunteer.reset();
        self.volunteer.intent = Intent::Stopping;
        self.volunteer.leaves_after_answer = true;
        vec![Effect::Send(Command::StopLending), Effect::ReleaseLock]
    }

    pub(super) fn lending(&mut self, lending: Lending) -> Vec<Effect> {
        let goes_on = !matches!(lending.phase, LendingPhase::Idle | LendingPhase::Failed { .. });
        match self.volunteer.intent {
            // The node lends though the page says that it does not: it was reported before the node
            // heard of the end, or the node has not understood.
            Intent::No | Intent::Checking if goes_on => vec![Effect::Send(Command::StopLending)],
            Intent::No | Intent::Checking => Vec::new(),
            Intent::Stopping => {
                if !goes_on {
                    self.volunteer.intent = Intent::No;
                }
                Vec::new()
            }
            Intent::Yes => {
                let failed = matches!(lending.phase, LendingPhase::Failed { .. });
                self.volunteer.lending = lending;
                if !failed {
                    return self.judge_frames();
                }
                // The reason stays on the card; the button comes back, and another tab may try. The
                // node is told, so that no patience of its own lends behind that button.
                self.volunteer.intent = Intent::No;
                vec![Effect::Send(Command::StopLending), Effect::ReleaseLock]
            }
        }
    }
}

/// The plot of what was done is looked up again with each of the first receipts, and after so many
/// from then on: each is a minute's work of a slow computer, or a second's of a fast one.
const RECEIPTS_A_LOOK: u32 = 16;

/// How often the plot has been looked up by the time of so many receipts.
pub(super) fn looks(receipts: u32) -> u32 {
    receipts.min(RECEIPTS_A_LOOK) + receipts / RECEIPTS_A_LOOK
}

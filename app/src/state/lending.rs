//! Lending this computer: from the click to **Stop**.
//!
//! ```text
//!  No ──Lend──▶ Checking ──lock granted──▶ Yes ──Stop, failure──▶ No
//!                   └──another tab lends──▶ No
//! ```
//! What the node does meanwhile is the worker's to report ([`Lending`]); here is only what the
//! person wants.

use potluck_protocol::page::{BackendPreference, Command, Lending, LendingPhase};

use super::{Effect, State, options};

/// Shown when another tab of this browser holds the lock.
pub const OTHER_TAB: &str =
    "Another tab of this browser is already lending. One is enough: this one has started nothing.";

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
}

/// Lending, as a person sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volunteer {
    /// What the person wants.
    pub intent: Intent,
    /// What may compute.
    pub backend: BackendPreference,
    /// Memory that may be used, MiB.
    pub memory_mib: u64,
    /// What the node reported last.
    pub lending: Lending,
    /// Lending was stopped while an answer was being written; the worker ends with it.
    pub leaves_after_answer: bool,
}

impl Volunteer {
    /// Not lending, with these choices.
    #[must_use]
    pub fn new(backend: BackendPreference, memory_mib: u64) -> Self {
        Self { backend, memory_mib: options::clamp_memory(memory_mib), ..Self::default() }
    }

    /// True from the click to **Stop**.
    #[must_use]
    pub fn is_lending(&self) -> bool {
        self.intent != Intent::No
    }

    /// Where lending stands, in a few words.
    #[must_use]
    pub fn phase_text(&self) -> &'static str {
        match (self.intent, &self.lending.phase) {
            (_, LendingPhase::Failed { .. }) => "Failed",
            (Intent::No, _) => "Not lending",
            (_, LendingPhase::Idle | LendingPhase::Starting) => "Starting",
            (_, LendingPhase::Waiting) => "Waiting",
            (_, LendingPhase::Fetching) => "Fetching",
            (_, LendingPhase::Serving) => "Serving",
            (_, LendingPhase::Retrying { .. }) => "Trying again",
        }
    }

    /// Back to not lending; the choices stay.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.backend, self.memory_mib);
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
            self.problem = Some(OTHER_TAB.to_owned());
            return Vec::new();
        }
        self.volunteer.intent = Intent::Yes;
        let mut effects = self.connected();
        effects.push(Effect::Send(Command::Lend {
            backend: self.volunteer.backend,
            memory_bytes: self.volunteer.memory_mib << 20,
        }));
        effects
    }

    /// Ends computing for others. The worker is ended with all it does, unless it is writing this
    /// person's own answer.
    pub(super) fn stop(&mut self) -> Vec<Effect> {
        if !self.worker_runs {
            self.volunteer.reset();
            return vec![Effect::ReleaseLock];
        }
        if !self.asking.is_open() {
            return self.end_worker();
        }
        self.volunteer.reset();
        self.volunteer.leaves_after_answer = true;
        vec![Effect::Send(Command::StopLending), Effect::ReleaseLock]
    }

    pub(super) fn lending(&mut self, lending: Lending) -> Vec<Effect> {
        if self.volunteer.intent != Intent::Yes {
            // It was reported before the node stopped.
            return Vec::new();
        }
        let failed = matches!(lending.phase, LendingPhase::Failed { .. });
        self.volunteer.lending = lending;
        if failed {
            // The reason stays on the card; the button comes back, and another tab may try.
            self.volunteer.intent = Intent::No;
            return vec![Effect::ReleaseLock];
        }
        Vec::new()
    }
}

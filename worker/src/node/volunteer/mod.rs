//! The node of a volunteer: what it computes with, what the server assigned, and the weights on
//! their way here.
//!
//! ```text
//! Idle -Lend-> Starting -EngineReady-> Waiting -Assign-> Fetching -all loaded-> Serving
//! ```
//! A new assignment changes what is loaded, not what runs: parts that a running session needs stay
//! until it ends.

mod fetching;
mod speed;
mod statistics;
mod view;

use std::time::Duration;

use potluck_protocol::page::{BackendPreference, LendingPhase};
use potluck_protocol::server::{Capabilities, NodeKind, Report, ToServer};

use self::fetching::{Assignment, Parts};
use self::speed::Speed;
use self::statistics::Statistics;
use self::view::Notices;
use super::context::Context;
use super::{Action, EngineDescription, StepResult};

/// The volunteer's node.
#[derive(Debug)]
pub(super) struct Volunteer {
    kind: NodeKind,
    phase: LendingPhase,
    memory_bytes: u64,
    engine: Option<RunningEngine>,
    assignment: Option<Assignment>,
    parts: Parts,
    /// When to try again after a failed download.
    retry_at: Option<Duration>,
    statistics: Statistics,
    credit_macs: u64,
    receipts: u32,
    notices: Notices,
    /// The counters that the server has, and since when.
    reported: Option<(Report, Duration)>,
}

#[derive(Debug)]
struct RunningEngine {
    description: EngineDescription,
    speed: Speed,
    /// The speed that the server has, multiply-accumulates a millisecond, and since when.
    registered: Option<(u64, Duration)>,
}

/// The server gets the counters at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The server gets another speed at most this often: each one makes it plan anew.
const REGISTER_EVERY: Duration = Duration::from_secs(30);

impl Volunteer {
    pub(super) fn new(kind: NodeKind) -> Self {
        Self {
            kind,
            phase: LendingPhase::Idle,
            memory_bytes: 0,
            engine: None,
            assignment: None,
            parts: Parts::default(),
            retry_at: None,
            statistics: Statistics::default(),
            credit_macs: 0,
            receipts: 0,
            notices: Notices::default(),
            reported: None,
        }
    }

    pub(super) fn is_lending(&self) -> bool {
        self.phase != LendingPhase::Idle
    }

    /// The person lends this machine.
    pub(super) fn lend(
        &mut self,
        backend: BackendPreference,
        memory_bytes: u64,
        context: &mut Context,
    ) {
        if self.is_lending() && !matches!(self.phase, LendingPhase::Failed { .. }) {
            return;
        }
        *self = Self { phase: LendingPhase::Starting, memory_bytes, ..Self::new(self.kind) };
        context.outbox.act(Action::StartEngine { backend });
        self.notices.ask_now();
    }

    /// The person does not lend it any more.
    pub(super) fn stop(&mut self, context: &mut Context) {
        context.send_server(&ToServer::Deregister);
        context.outbox.act(Action::StopEngine);
        *self = Self::new(self.kind);
        self.notices.ask_now();
    }

    pub(super) fn handle_engine_ready(
        &mut self,
        description: EngineDescription,
        context: &mut Context,
    ) {
        if self.phase != LendingPhase::Starting {
            return; // stopped meanwhile
        }
        self.set_engine(description);
        self.phase = LendingPhase::Waiting;
        self.register(context);
        self.notices.ask_now();
    }

    /// Everything goes on as it was, at another speed, which the server gets at once.
    pub(super) fn handle_engine_replaced(
        &mut self,
        description: EngineDescription,
        context: &mut Context,
    ) {
        if self.engine.is_some() {
            self.set_engine(description);
            self.register(context);
            self.notices.ask_now();
        }
    }

    pub(super) fn handle_engine_failed(&mut self, reason: String) {
        *self = Self { phase: LendingPhase::Failed { reason }, ..Self::new(self.kind) };
        self.notices.ask_now();
    }

    fn set_engine(&mut self, description: EngineDescription) {
        let speed = Speed::new(description.macs_per_ms);
        self.engine = Some(RunningEngine { description, speed, registered: None });
    }

    /// Sends the server what this machine brings and, after a reconnection, what it still holds.
    pub(super) fn register(&mut self, context: &mut Context) {
        let Some(engine) = &mut self.engine else { return };
        let macs_per_ms = engine.speed.macs_per_ms();
        engine.registered = Some((macs_per_ms, context.now));
        let capabilities = Capabilities {
            kind: self.kind,
            backend: engine.description.backend.clone(),
            memory_bytes: self.memory_bytes,
            macs_per_ms,
        };
        context.send_server(&ToServer::Register { capabilities, lease: None });
        if let Some((model, layers)) = self.ready_layers() {
            context.send_server(&ToServer::LayersReady { model, layers });
        }
        self.reported = None;
    }

    /// A step of `macs` multiply-accumulates came out of the engine.
    pub(super) fn handle_result(&mut self, step: &StepResult, macs: u64, context: &mut Context) {
        self.statistics.record(step.rows, step.elapsed, context.now);
        if let Some(engine) = &mut self.engine
            && step.output.is_ok()
        {
            engine.speed.record(macs, step.elapsed);
        }
        self.notices.ask_soon();
    }

    /// The server credited a receipt.
    pub(super) fn handle_credit(&mut self, balance_macs: u64) {
        self.receipts += 1;
        self.credit_macs = balance_macs;
        self.notices.ask_soon();
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now;
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.continue_fetching(context);
        }
        if self.engine.is_none() {
            return;
        }
        if self.has_another_speed(now) && context.link.is_open() {
            self.register(context);
        }
        if self.reported.is_none_or(|(_, at)| now >= at + REPORT_EVERY) {
            self.report(context);
        }
        self.notices.ask_soon();
    }

    /// True if the server plans with a speed that this machine does not have, and has planned with
    /// it for a while.
    fn has_another_speed(&self, now: Duration) -> bool {
        let Some(RunningEngine { speed, registered: Some((registered, at)), .. }) = &self.engine
        else {
            return false;
        };
        now >= *at + REGISTER_EVERY && speed.differs_from(*registered)
    }

    /// Sends the server the counters, if they changed. Also at the end of a session, so that who
    /// asked can read them at once.
    pub(super) fn report(&mut self, context: &mut Context) {
        let report = Report {
            tokens: self.statistics.rows,
            us_per_token_p50: self.statistics.us_per_token_p50(),
        };
        let changed = self.reported.is_none_or(|(last, _)| last != report);
        if changed && context.link.is_open() && self.engine.is_some() {
            context.send_server(&ToServer::Report(report));
            self.reported = Some((report, context.now));
        }
    }
}

//! The node of a volunteer: what it computes with, what the server assigned, and the weights on
//! their way here.
//!
//! ```text
//! Idle -Lend-> Starting -EngineReady-> Waiting -Assign-> Fetching -all loaded-> Serving
//!                                                            └─ Retrying, after a wait again
//! ```
//! A new assignment changes what is loaded, not what runs: parts that a running session needs stay
//! until it ends.
//!
//! All of it is done under the person's grant, which is kept in the node's context: `consent` makes it,
//! `fetching` looks at it before every download, and so do a registration and every step.
//!
//! Whatever it does, it may be paused (`resting`), and goes on from there.
//!
//! The person sees a phase, and what goes on is what the phase says. In Idle and Failed there is no
//! engine, no download and no registration; in every other phase the machine is lent, and can be
//! taken back.

mod budget;
mod consent;
mod energy;
mod fetching;
mod pauses;
mod resting;
mod statistics;
mod view;

use std::time::Duration;

use potluck_protocol::grant::SignedGrant;
use potluck_protocol::id::{GrantId, ModelId};
use potluck_protocol::page::{
    BackendPreference, Conditions, Granted, LendingPhase, Notice, PauseReason,
};
use potluck_protocol::server::{Capabilities, NodeKind, Report, ToServer};

use self::budget::Budget;
use self::energy::Energy;
use self::fetching::{Assignment, Parts, Retry};
use self::pauses::Pauses;
pub(super) use self::resting::Rest;
use self::statistics::Statistics;
use self::view::Notices;
use super::context::{Context, Traffic};
use super::{Action, EngineDescription, StepResult};

/// The volunteer's node.
#[derive(Debug)]
pub(super) struct Volunteer {
    kind: NodeKind,
    /// What goes on, or would if it did not rest.
    phase: LendingPhase,
    /// Why it rests, if it does.
    rests: Option<PauseReason>,
    /// Whether it should; there while it is lent.
    pauses: Option<Pauses>,
    /// What is seen of the machine since shortly before it was lent.
    conditions: Conditions,
    /// What may compute.
    backend: BackendPreference,
    /// Share of the time that the engine computes, percent.
    share_percent: u8,
    /// Of its speed, what the server knows that it gives, on this link.
    told_pace: u8,
    budget: Budget,
    /// Of the day's bytes, how many are not kept yet.
    unkept_bytes: u64,
    /// Of what the sessions sent and received, how much is in the budget already.
    counted_bytes: u64,
    /// Size of a part that was not downloaded for want of budget.
    withheld_bytes: Option<u64>,
    /// Bytes of weights that came over the network since lending began.
    fetched_bytes: u64,
    energy: Energy,
    engine: Option<RunningEngine>,
    assignment: Option<Assignment>,
    parts: Parts,
    retry: Retry,
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
    /// What the server knows of it, on this link, and under which grant.
    registered: Option<(Capabilities, GrantId)>,
}

/// The server gets the counters at most this often.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// All of the time, and all of its speed, percent: what a server assumes, and an engine does, of whom
/// nothing else was said.
const WHOLE: u8 = 100;

impl Volunteer {
    pub(super) fn new(kind: NodeKind) -> Self {
        Self {
            kind,
            phase: LendingPhase::Idle,
            rests: None,
            pauses: None,
            conditions: Conditions::default(),
            backend: BackendPreference::Auto,
            share_percent: WHOLE,
            told_pace: WHOLE,
            budget: Budget::default(),
            unkept_bytes: 0,
            counted_bytes: 0,
            withheld_bytes: None,
            fetched_bytes: 0,
            energy: Energy::default(),
            engine: None,
            assignment: None,
            parts: Parts::default(),
            retry: Retry::default(),
            statistics: Statistics::default(),
            credit_macs: 0,
            receipts: 0,
            notices: Notices::default(),
            reported: None,
        }
    }

    /// True if the person has lent this machine, and nothing has ended that.
    pub(super) fn is_lending(&self) -> bool {
        !matches!(self.phase, LendingPhase::Idle | LendingPhase::Failed { .. })
    }

    /// Lends nothing, and knows what was seen of the machine, and what it has fetched today.
    fn anew(&mut self) -> Self {
        let budget = std::mem::take(&mut self.budget);
        Self { conditions: self.conditions, budget, ..Self::new(self.kind) }
    }

    /// The machine is lent under `grant`, which holds.
    fn start(&mut self, backend: BackendPreference, grant: SignedGrant, context: &mut Context) {
        context.outbox.notice(Notice::Grant(Some(Box::new(Granted::new(grant.clone())))));
        let limits = grant.grant.limits.clone();
        context.grant = Some(grant);
        context.traffic = Traffic::default();
        *self = Self { phase: LendingPhase::Starting, backend, ..self.anew() };
        if self.begin(&limits, context) {
            context.outbox.act(Action::StartEngine { backend });
        }
        self.notices.ask_now();
    }

    /// It is not lent any more: the person wants it back, or it cannot go on. Returns the model
    /// whose manifest is not fetched any more.
    pub(super) fn end(
        &mut self,
        failure: Option<String>,
        context: &mut Context,
    ) -> Option<ModelId> {
        if self.engine.is_some() {
            context.send_server(&ToServer::Deregister);
        }
        context.outbox.act(Action::StopEngine);
        let awaited = self.assignment.as_ref().map(|assignment| assignment.model);
        let awaited = awaited.filter(|model| !context.library.manifests.contains_key(model));
        if let Some(model) = awaited {
            context.outbox.act(Action::CancelManifest { model });
        }
        if context.grant.take().is_some() {
            context.outbox.notice(Notice::Grant(None));
        }
        let phase = failure.map_or(LendingPhase::Idle, |reason| LendingPhase::Failed { reason });
        self.keep_budget(context);
        // Nobody looks any more; whoever lends again says first what is seen then.
        let conditions = Conditions::default();
        *self = Self { phase, conditions, ..self.anew() };
        self.notices.ask_now();
        awaited
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
        self.set_share(context);
        self.register(context);
        self.notices.ask_now();
    }

    /// Everything goes on as it was, at another speed, which the server gets at once.
    pub(super) fn handle_engine_replaced(
        &mut self,
        description: EngineDescription,
        context: &mut Context,
    ) {
        if let Some(engine) = &mut self.engine {
            engine.description = description;
            self.set_share(context);
            self.register(context);
            self.notices.ask_now();
        }
    }

    fn set_engine(&mut self, description: EngineDescription) {
        self.engine = Some(RunningEngine { description, registered: None });
        // It begins with all of the time.
        self.share_percent = WHOLE;
    }

    /// The server has welcomed this node, and may have forgotten what it knew of it.
    pub(super) fn handle_link_open(&mut self, context: &mut Context) {
        if let Some(engine) = &mut self.engine {
            engine.registered = None;
        }
        self.told_pace = WHOLE;
        self.register(context);
    }

    /// Sends the server what this machine brings, unless it knows, and what it holds.
    fn register(&mut self, context: &mut Context) {
        let (Some(engine), Some(grant)) = (&mut self.engine, &context.grant) else { return };
        let capabilities = Capabilities {
            kind: self.kind,
            backend: engine.description.backend.clone(),
            memory_bytes: grant.grant.limits.memory_bytes,
            macs_per_ms: engine.description.macs_per_ms,
        };
        let registered = (capabilities, grant.grant.id);
        if !context.link.is_open() || engine.registered.as_ref() == Some(&registered) {
            return;
        }
        engine.registered = Some(registered.clone());
        let lease = self.assignment.as_ref().map(|assignment| assignment.lease.clone());
        let (capabilities, grant) = (registered.0, Box::new(grant.clone()));
        context.send_server(&ToServer::Register { capabilities, grant, lease });
        // Before the layers: nothing is to be routed through a node that rests.
        self.tell_pace(context);
        if let Some((model, layers)) = self.ready_layers() {
            context.send_server(&ToServer::LayersReady { model, layers });
        }
        self.reported = None;
    }

    /// A step came out of the engine.
    pub(super) fn handle_result(&mut self, step: &StepResult, context: &mut Context) {
        self.statistics.record(step.rows, step.elapsed, context.now);
        if let Some(engine) = &self.engine {
            self.energy.record(engine.description.device, step.elapsed);
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
        if self.retry.is_due(now) {
            self.retry.at = None;
            self.continue_fetching(context);
        }
        if self.engine.is_none() {
            return;
        }
        if self.reported.is_none_or(|(_, at)| now >= at + REPORT_EVERY) {
            self.report(context);
        }
        self.notices.ask_soon();
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

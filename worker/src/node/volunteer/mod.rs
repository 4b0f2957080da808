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
//! The person sees a phase, and what goes on is what the phase says. In Idle and Failed there is no
//! engine, no download and no registration; in every other phase the machine is lent, and can be
//! taken back.

mod consent;
mod fetching;
mod statistics;
mod view;

use std::time::Duration;

use potluck_protocol::grant::SignedGrant;
use potluck_protocol::id::{GrantId, ModelId};
use potluck_protocol::page::{BackendPreference, Granted, LendingPhase, Notice};
use potluck_protocol::server::{Capabilities, NodeKind, Report, ToServer};

use self::fetching::{Assignment, Parts, Retry};
use self::statistics::Statistics;
use self::view::Notices;
use super::context::Context;
use super::{Action, EngineDescription, StepResult};

/// The volunteer's node.
#[derive(Debug)]
pub(super) struct Volunteer {
    kind: NodeKind,
    phase: LendingPhase,
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

impl Volunteer {
    pub(super) fn new(kind: NodeKind) -> Self {
        Self {
            kind,
            phase: LendingPhase::Idle,
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

    /// The machine is lent under `grant`, which holds.
    fn start(&mut self, backend: BackendPreference, grant: SignedGrant, context: &mut Context) {
        context.outbox.notice(Notice::Grant(Some(Box::new(Granted::new(grant.clone())))));
        context.grant = Some(grant);
        *self = Self { phase: LendingPhase::Starting, ..Self::new(self.kind) };
        context.outbox.act(Action::StartEngine { backend });
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
        *self = Self { phase, ..Self::new(self.kind) };
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
            self.register(context);
            self.notices.ask_now();
        }
    }

    fn set_engine(&mut self, description: EngineDescription) {
        self.engine = Some(RunningEngine { description, registered: None });
    }

    /// The server has welcomed this node, and may have forgotten what it knew of it.
    pub(super) fn handle_link_open(&mut self, context: &mut Context) {
        if let Some(engine) = &mut self.engine {
            engine.registered = None;
        }
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
        if let Some((model, layers)) = self.ready_layers() {
            context.send_server(&ToServer::LayersReady { model, layers });
        }
        self.reported = None;
    }

    /// A step came out of the engine.
    pub(super) fn handle_result(&mut self, step: &StepResult, context: &mut Context) {
        self.statistics.record(step.rows, step.elapsed, context.now);
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

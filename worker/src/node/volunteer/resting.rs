//! Pauses of a lent machine, and the share of its time that it gives: what follows from what
//! `pauses`, `budget` and the grant say.
//!
//! While it rests, nothing is computed and nothing fetched. Its layers stay in memory, its place stays
//! the server's to give away, and what was asked of it goes on elsewhere. What the phase would be
//! otherwise is kept underneath.

use potluck_protocol::grant::Limits;
use potluck_protocol::id::ModelId;
use potluck_protocol::page::{Conditions, LendingPhase};
use potluck_protocol::server::ToServer;

use super::Volunteer;
use super::fetching::Retry;
use super::pauses::Pauses;
use crate::node::context::Context;
use crate::node::{Action, Device};

/// What has just come to an end with a pause.
#[derive(Debug)]
pub(in crate::node) struct Rest {
    /// Why, for those whose questions were computed here.
    pub(in crate::node) reason: String,
    /// The model whose manifest is not fetched any more.
    pub(in crate::node) awaited: Option<ModelId>,
}

/// The line of the day's bytes is kept anew after so many: a computer that is switched off
/// between two of them has fetched a little more than it remembers.
const KEEP_EVERY_BYTES: u64 = 16 << 20;

impl Volunteer {
    /// What is seen of the machine now.
    pub(in crate::node) fn handle_conditions(&mut self, seen: Conditions, context: &Context) {
        self.conditions = seen;
        if let Some(pauses) = &mut self.pauses {
            pauses.sense(seen, context.now);
        }
    }

    /// The person wants a pause.
    pub(in crate::node) fn pause(&mut self) {
        if let Some(pauses) = &mut self.pauses {
            pauses.pause();
        }
    }

    /// The person wants to go on.
    pub(in crate::node) fn resume(&mut self) {
        if let Some(pauses) = &mut self.pauses {
            pauses.resume();
        }
    }

    /// The person gives as many minutes again.
    pub(in crate::node) fn extend(&mut self, context: &Context) {
        if let Some(pauses) = &mut self.pauses {
            pauses.extend(context.now);
        }
    }

    /// The grant has other limits.
    pub(super) fn handle_limits(&mut self, limits: &Limits, context: &mut Context) {
        if let Some(pauses) = &mut self.pauses {
            pauses.set_limits(limits.clone(), context.now);
        }
        self.set_share(context);
    }

    /// Lends within `limits`; true if the engine may start now.
    pub(super) fn begin(&mut self, limits: &Limits, context: &Context) -> bool {
        let pauses = Pauses::new(limits.clone(), self.conditions, context.now);
        self.rests = pauses.why(context.now);
        self.pauses = Some(pauses);
        self.rests.is_none()
    }

    /// True while the machine is lent and works.
    pub(in crate::node) fn is_working(&self) -> bool {
        self.is_lending() && self.rests.is_none()
    }

    /// The phase as the person sees it.
    pub(super) fn shown_phase(&self) -> LendingPhase {
        match self.rests {
            Some(why) if self.is_lending() => LendingPhase::Paused { why },
            _ => self.phase.clone(),
        }
    }

    /// Begins or ends a pause, if it is time, after everything that happened.
    pub(in crate::node) fn settle(&mut self, context: &mut Context) -> Option<Rest> {
        if !self.is_lending() {
            return None;
        }
        self.count_data(context);
        let why = self.pauses.as_ref()?.why(context.now);
        let before = std::mem::replace(&mut self.rests, why);
        if before != why {
            self.notices.ask_now();
        }
        match (before, why) {
            (None, Some(_)) => Some(self.rest(context)),
            (Some(_), None) => {
                self.wake(context);
                None
            }
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    fn rest(&mut self, context: &mut Context) -> Rest {
        // First of all: whoever asks next is sent elsewhere.
        self.tell_pace(context);
        if self.engine.is_none() {
            context.outbox.act(Action::StopEngine);
        }
        if let Some(model) = self.parts.model {
            for (role, _) in std::mem::take(&mut self.parts.fetching) {
                self.budget.settle(role);
                context.outbox.act(Action::CancelBlob { model, role });
            }
        }
        let awaited = self.assignment.as_ref().map(|assignment| assignment.model);
        let awaited = awaited.filter(|model| !context.library.manifests.contains_key(model));
        if let Some(model) = awaited {
            context.outbox.act(Action::CancelManifest { model });
        }
        self.keep_budget(context);
        // Others are not told why: whether somebody is at their desk is nobody's business.
        Rest { reason: format!("{} has paused", context.me.name()), awaited }
    }

    fn wake(&mut self, context: &mut Context) {
        if self.engine.is_none() {
            self.phase = LendingPhase::Starting;
            context.outbox.act(Action::StartEngine { backend: self.backend });
            return;
        }
        self.tell_pace(context);
        self.retry = Retry::default();
        self.continue_fetching(context);
    }

    /// Has the engine work its share: of its graphics processor's time, or of the processor's, of
    /// which its threads are a part already.
    pub(super) fn set_share(&mut self, context: &mut Context) {
        let (Some(engine), Some(grant)) = (&self.engine, &context.grant) else { return };
        let percent = share(engine.description.device, &grant.grant.limits);
        if self.share_percent != percent {
            self.share_percent = percent;
            context.outbox.act(Action::SetShare { percent });
            self.notices.ask_now();
        }
        self.tell_pace(context);
    }

    /// Tells the server how much of its speed it gets, unless it knows.
    pub(super) fn tell_pace(&mut self, context: &mut Context) {
        let is_registered = self.engine.as_ref().is_some_and(|engine| engine.registered.is_some());
        let percent = if self.rests.is_some() { 0 } else { self.share_percent };
        if is_registered && context.link.is_open() && self.told_pace != percent {
            self.told_pace = percent;
            context.send_server(&ToServer::Pace { percent });
        }
    }

    /// So many bytes of weights came over the network.
    pub(in crate::node) fn handle_fetched(&mut self, bytes: u64, context: &mut Context) {
        self.fetched_bytes = self.fetched_bytes.saturating_add(bytes);
        self.notices.ask_soon();
        self.spend(bytes, context);
    }

    /// So many came for this node's own questions.
    pub(in crate::node) fn handle_own_fetched(&mut self, bytes: u64, context: &mut Context) {
        self.spend(bytes, context);
    }

    /// What an earlier node on this machine spent of the day.
    pub(in crate::node) fn handle_kept_budget(&mut self, line: &str, context: &Context) {
        self.budget.restore(line, context.calendar_s);
    }

    /// Whether the day's bytes are used up, with what the sessions sent and received since the last
    /// look.
    fn count_data(&mut self, context: &mut Context) {
        let bytes = context.traffic.total();
        let new = bytes.saturating_sub(std::mem::replace(&mut self.counted_bytes, bytes));
        if new > 0 {
            self.spend(new, context);
        }
        let Some(pauses) = &mut self.pauses else { return };
        // Of a budget that is used up there is not a byte.
        let wanted = self.withheld_bytes.unwrap_or(1);
        let limit = pauses.limits().data_bytes_a_day;
        let is_out = !self.budget.has_room(wanted, limit, context.calendar_s);
        pauses.set_out_of_data(is_out);
        if !is_out {
            self.withheld_bytes = None;
        }
    }

    fn spend(&mut self, bytes: u64, context: &mut Context) {
        self.budget.spend(bytes, context.calendar_s);
        self.unkept_bytes = self.unkept_bytes.saturating_add(bytes);
        if self.unkept_bytes >= KEEP_EVERY_BYTES {
            self.keep_budget(context);
        }
    }

    pub(super) fn keep_budget(&mut self, context: &mut Context) {
        if std::mem::take(&mut self.unkept_bytes) > 0 {
            context.outbox.act(Action::KeepBudget { line: self.budget.line() });
        }
    }
}

/// Of the time of an engine on this device, how much it may compute, percent.
pub(super) fn share(device: Device, limits: &Limits) -> u8 {
    match device {
        Device::Graphics => limits.gpu_percent.clamp(1, 100),
        Device::Processor { threads, cores } => {
            // One thread of four is a quarter of the processor already, and rests for nobody who gives
            // a third of it: fewer threads all of the time are better than many for a moment.
            let percent = u32::from(limits.processor_percent);
            let share = percent.saturating_mul(cores.max(1)) / threads.max(1);
            u8::try_from(share.clamp(1, 100)).unwrap_or(100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(percent: u8, threads: u32, cores: u32) -> u8 {
        let limits = Limits { processor_percent: percent, ..Limits::default() };
        share(Device::Processor { threads, cores }, &limits)
    }

    #[test]
    fn threads_are_a_share_of_the_processor_already() {
        assert_eq!(processor(30, 1, 1), 30);
        assert_eq!(processor(30, 1, 2), 60);
        assert_eq!(processor(30, 1, 4), 100, "one of four threads is less than was given");
        assert_eq!(processor(30, 1, 16), 100);
        assert_eq!(processor(30, 8, 8), 30);
        assert_eq!(processor(30, 2, 8), 100);
        assert_eq!(processor(100, 8, 8), 100);
        assert_eq!(processor(1, 8, 0), 1, "a machine that does not say what it has");
    }

    #[test]
    fn of_a_graphics_processor_it_is_the_time_alone() {
        let limits = Limits { gpu_percent: 30, processor_percent: 100, ..Limits::default() };
        assert_eq!(share(Device::Graphics, &limits), 30);
    }
}

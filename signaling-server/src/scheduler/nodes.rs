//! Who is connected, and what a registered node is assigned and has ready.

use std::time::Duration;

use potluck_protocol::grant::Grant;
use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId};
use potluck_protocol::lease::SignedLease;
use potluck_protocol::server::{Capabilities, Report};
use rand_chacha::rand_core::RngCore;

use super::grants::Granted;
use super::index::Entry;
use super::speed::{Pace, Shown};
use super::standing::Standing;
use super::{Action, Fault, Scheduler};

/// A connected node.
#[derive(Debug)]
pub(super) struct NodeState {
    /// When it joined.
    pub(super) since: Duration,
    /// Tells its peers whether it is still the same process.
    pub(super) epoch: Epoch,
    /// What is known of it beside its word.
    pub(super) standing: Standing,
    /// The work that it has shown since it joined.
    pub(super) shown: Shown,
    /// True while it is in quarantine.
    pub(super) is_suspect: bool,
    /// How many sessions it is a stage of.
    pub(super) sessions: u32,
    /// Present from its registration until it deregisters.
    pub(super) registration: Option<Registration>,
}

/// What is known of a node that computes for others.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) capabilities: Capabilities,
    /// What its volunteer agreed to.
    pub(super) grant: Granted,
    /// Place in the order of registrations: those who came first keep their layers.
    pub(super) order: u64,
    /// The layers of the planned model that the server told it to hold.
    pub(super) assigned: Option<LayerRange>,
    /// True once it has an assignment, if only that it is not needed.
    pub(super) is_planned: bool,
    /// When the lease of `assigned` ends, seconds since 1970; 0 before there is one.
    pub(super) until_s: u64,
    /// The layers that the node said are loaded, cut to `assigned`.
    pub(super) ready: Option<LayerRange>,
    pub(super) report: Report,
    /// The share of its speed at which it works, or did before it paused.
    pub(super) pace: Pace,
    /// Since when it is paused, if it is.
    pub(super) paused_at: Option<Duration>,
}

impl NodeState {
    /// A node that joined at `now`, under an epoch that nobody can foresee.
    pub(super) fn new(
        now: Duration,
        standing: Standing,
        is_suspect: bool,
        random: &mut impl RngCore,
    ) -> Self {
        Self {
            since: now,
            epoch: Epoch(random.next_u64()),
            standing,
            shown: Shown::default(),
            is_suspect,
            sessions: 0,
            registration: None,
        }
    }

    /// Multiply-accumulates a millisecond, as far as it is believed.
    pub(super) fn macs_per_ms(&self) -> u64 {
        let said = self.registration.as_ref().map(|held| held.capabilities.macs_per_ms);
        let pace = self.registration.as_ref().map_or(Pace::FULL, |held| held.pace);
        self.shown.macs_per_ms(said.unwrap_or(0), pace)
    }
}

impl Registration {
    /// True if all that it was assigned is ready, and it computes.
    pub(super) fn is_serving(&self) -> bool {
        self.assigned.is_some() && self.ready == self.assigned && !self.is_paused()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }
}

impl Scheduler {
    /// Changes what is known of a node, and the index with it. `None` if it is not connected.
    pub(super) fn change<T>(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut NodeState) -> T,
    ) -> Option<T> {
        let state = self.nodes.get_mut(&node)?;
        let before = Entry::of(node, state);
        let result = change(state);
        let after = Entry::of(node, state);
        self.index.replace(before, after);
        Some(result)
    }

    /// The same of its registration; `None` too if it has none.
    pub(super) fn change_registration<T>(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut Registration) -> T,
    ) -> Option<T> {
        self.change(node, |state| state.registration.as_mut().map(change)).flatten()
    }

    /// A node lends, or says anew what it brings. What it said before already changes nothing.
    pub(super) fn register(
        &mut self,
        node: NodeId,
        mut capabilities: Capabilities,
        grant: &Grant,
        lease: Option<SignedLease>,
        now: Duration,
    ) {
        let planned = self.planned_model().map(|model| model.id);
        let Some(state) = self.nodes.get(&node) else { return };
        capabilities.memory_bytes = capabilities.memory_bytes.min(grant.limits.memory_bytes);
        let granted = Granted::from(grant);
        let known = state.registration.as_ref();
        let is_same =
            |known: &Registration| known.capabilities == capabilities && known.grant == granted;
        if known.is_some_and(is_same) {
            return;
        }
        let is_for_planned = planned.is_some_and(|model| granted.is_for(model));
        if let Some(known) = known {
            self.grants.forget(node, known.grant.until_s);
            self.grants.expect_end(node, granted.until_s);
            let is_shorter = granted.until_s < known.until_s;
            let is_longer = known.grant.until_s < granted.until_s;
            if known.assigned.is_some() && (is_shorter || is_longer) {
                self.leases.hand_out(node, now);
            }
            self.change_registration(node, |known| {
                known.capabilities = capabilities;
                known.grant = granted;
                // What it has of a model that it is not lent for goes with the next plan.
                known.ready = known.ready.filter(|_| is_for_planned);
            });
        } else {
            let lease = lease.filter(|_| is_for_planned).and_then(|lease| {
                self.accept_lease(node, &lease, super::speed::memory_bytes(&capabilities), now)
            });
            self.registrations += 1;
            let registration = Registration {
                capabilities,
                grant: granted,
                order: self.registrations,
                assigned: lease.as_ref().map(|lease| lease.layers),
                is_planned: lease.is_some(),
                until_s: lease.as_ref().map_or(0, |lease| lease.until_s),
                ready: None,
                report: Report::default(),
                pace: Pace::FULL,
                paused_at: None,
            };
            let until_s = registration.grant.until_s;
            if let Some(lease) = lease.filter(|lease| lease.until_s < until_s) {
                self.leases.expect_end(node, lease.until_s);
            }
            self.grants.expect_end(node, until_s);
            self.change(node, |state| state.registration = Some(registration));
        }
        self.settling.disturb(now);
    }

    /// Ends the registration and the sessions that the node is a stage of, with its name and layers
    /// in the reason; `what` it did ends the sentence.
    pub(super) fn deregister(
        &mut self,
        node: NodeId,
        what: &str,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(Some(registration)) = self.change(node, |state| state.registration.take()) else {
            return;
        };
        self.leases.forget(node, registration.until_s);
        self.grants.forget(node, registration.grant.until_s);
        self.seats.forget(node, registration.paused_at);
        self.end_sessions_through(node, what, now, actions);
        self.settling.disturb(now);
    }

    /// Ends the sessions that the node is a stage of, so that they go on elsewhere. As
    /// [`Self::deregister`].
    pub(super) fn end_sessions_through(
        &mut self,
        node: NodeId,
        what: &str,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        for (session, layers) in self.sessions.with_stage(node) {
            let reason = format!("{}, who computed {layers}, {what}", node.name());
            self.end_session(node, session, &reason, Some(node), now, actions);
        }
    }

    /// Notes which of its assigned layers a node has loaded. What it was not assigned does not
    /// count: it would be anybody's way to every prompt.
    pub(super) fn layers_ready(
        &mut self,
        node: NodeId,
        model: ModelId,
        layers: LayerRange,
    ) -> Result<(), Fault> {
        let info = self.models.get(model).ok_or(Fault::UnknownModel)?;
        if layers.end > info.layers {
            return Err(Fault::NoSuchLayers(layers));
        }
        if self.is_planned(model) {
            self.change_registration(node, |registration| {
                let assigned = registration.assigned;
                registration.ready = assigned.and_then(|assigned| intersection(layers, assigned));
            });
        }
        Ok(())
    }
}

/// The layers that are in both.
pub(super) fn intersection(a: LayerRange, b: LayerRange) -> Option<LayerRange> {
    LayerRange::new(a.first.max(b.first), a.end.min(b.end))
}

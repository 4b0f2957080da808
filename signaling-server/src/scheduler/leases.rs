//! Assignments on their way to nodes. Each is a lease: signed by this server, and with an end. A
//! node that shows one after the server was started again has its assignment back, which is all that
//! outlives a server; anything else that it shows is as good as nothing.
//!
//! A signature takes tens of microseconds. So that ten thousand of them do not keep everybody
//! waiting, leases go out a few at a time, between other events.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_protocol::id::NodeId;
use potluck_protocol::lease::{Lease, SignedLease};
use potluck_protocol::server::FromServer;

use super::{Action, Scheduler, placement};
use crate::authority::{Authority, LEASE};

/// Leases that are signed at a time: about a millisecond.
const AT_A_TIME: usize = 32;

/// Who is to get a lease, and when leases end.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Nodes that do not know of their assignment yet.
    to_hand_out: BTreeSet<NodeId>,
    /// When the first of them may be told: when it was decided.
    since: Duration,
    /// When leases end, seconds since 1970, and whose.
    ends: BTreeSet<(u64, NodeId)>,
}

impl Leases {
    /// The node has another assignment, or none.
    pub(super) fn hand_out(&mut self, node: NodeId, now: Duration) {
        self.to_hand_out.insert(node);
        self.since = now;
    }

    /// The node has a lease that ends then.
    pub(super) fn expect_end(&mut self, node: NodeId, until_s: u64) {
        self.ends.insert((until_s, node));
    }

    /// The node lends no more; its lease was to end then.
    pub(super) fn forget(&mut self, node: NodeId, until_s: u64) {
        self.ends.remove(&(until_s, node));
        self.to_hand_out.remove(&node);
    }

    /// When leases go out next, if there are any to hand out.
    pub(super) fn handed_out_on(&self) -> Option<Duration> {
        (!self.to_hand_out.is_empty()).then_some(self.since)
    }

    /// When the next lease is past half of its life.
    pub(super) fn next_renewal(&self, authority: &Authority) -> Option<Duration> {
        let (until_s, _) = self.ends.first()?;
        let start = authority.unix_time(Duration::ZERO);
        Some(renewed_on(*until_s).saturating_sub(start))
    }
}

/// Time since 1970 from which on a lease that ends then is renewed.
fn renewed_on(until_s: u64) -> Duration {
    Duration::from_secs(until_s).saturating_sub(LEASE / 2)
}

impl Scheduler {
    /// Tells the next few nodes what they are to hold: those for whom it changed, and those whose
    /// lease is past half of its life.
    pub(super) fn hand_out_leases(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let unix_now = self.authority.unix_time(now);
        let old =
            self.leases.ends.iter().take_while(|(until_s, _)| renewed_on(*until_s) <= unix_now);
        let old: Vec<NodeId> = old.take(AT_A_TIME).map(|(_, node)| *node).collect();
        for node in old {
            self.leases.hand_out(node, now);
        }
        for _ in 0..AT_A_TIME {
            let Some(node) = self.leases.to_hand_out.pop_first() else { return };
            self.assign(node, now, actions);
        }
    }

    fn assign(&mut self, node: NodeId, now: Duration, actions: &mut Vec<Action>) {
        let Some(model) = self.planned_model().map(|model| model.id) else { return };
        let Some(state) = self.nodes.get_mut(&node) else { return };
        let Some(registration) = &mut state.registration else { return };
        self.leases.ends.remove(&(registration.until_s, node));
        let layers = registration.assigned;
        let granted_s = registration.grant.until_s;
        let lease = layers.map(|layers| self.authority.lease(node, model, layers, granted_s, now));
        registration.until_s = lease.as_ref().map_or(0, |lease| lease.lease.until_s);
        // One that ends with the volunteer's grant is not renewed.
        if lease.is_some() && registration.until_s < granted_s {
            self.leases.ends.insert((registration.until_s, node));
        }
        actions.push(Action::Send(node, FromServer::Assign { model, lease }));
    }

    /// The lease that a node shows when it registers, if it is worth anything here and now.
    pub(super) fn accept_lease(
        &self,
        node: NodeId,
        signed: &SignedLease,
        memory_bytes: u64,
        now: Duration,
    ) -> Option<Lease> {
        let lease = &signed.lease;
        let model = self.planned_model()?;
        let layers = lease.layers;
        let fault = if lease.node != node {
            "is another node's"
        } else if Duration::from_secs(lease.until_s) <= self.authority.unix_time(now) {
            "has ended"
        } else if lease.model != model.id || layers.is_empty() || layers.end > model.layers {
            "is of layers that are not served here now"
        } else if placement::bytes(model, layers) > memory_bytes {
            "is of more layers than the node has room for now"
        } else if !signed.is_from(self.authority.server()) {
            "is not signed by this server"
        } else {
            return Some(lease.clone());
        };
        tracing::info!(node = %node.short(), "the lease that a node showed {fault}; it starts anew");
        None
    }
}

//! Assigns layers to the registered nodes, once things have settled.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::id::{ModelId, NodeId};

use super::Scheduler;
use super::nodes::{NodeState, Registration, intersection};
use super::placement::{self, Capacity};
use super::seats::SEAT_KEPT;
use super::speed::memory_bytes;

/// Waits until nobody has come, gone or changed for a while: moving weights is dear. But not for
/// long, or whoever kept changing would keep everybody else from being given layers.
#[derive(Debug)]
pub(super) struct Settling {
    delay: Duration,
    /// The first change since the last plan.
    first: Option<Duration>,
    end: Option<Duration>,
}

/// The longest wait after the first change, unless an operator wants a longer delay anyway.
const LONGEST: Duration = Duration::from_secs(2);

impl Settling {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, first: None, end: None }
    }

    /// Something changed that assignments depend on.
    pub(super) fn disturb(&mut self, now: Duration) {
        let first = *self.first.get_or_insert(now);
        self.end = Some((now + self.delay).min(first + self.delay.max(LONGEST)));
    }

    /// When the wait is over, if there is one.
    pub(super) fn end(&self) -> Option<Duration> {
        self.end
    }

    /// True once if the wait is over.
    pub(super) fn is_over(&mut self, now: Duration) -> bool {
        let is_over = self.end.is_some_and(|end| now >= end);
        if is_over {
            (self.first, self.end) = (None, None);
        }
        is_over
    }
}

impl Scheduler {
    /// Assigns layers anew; those for whom something changed get to know.
    pub(super) fn plan(&mut self, now: Duration) {
        let Some(model) = self.planned_model().map(Arc::clone) else { return };
        let (nodes, capacities) = self.capacities(model.id, now);
        for (node, layers) in nodes.into_iter().zip(placement::plan(&model, &capacities)) {
            let state = self.nodes.get(&node);
            let Some(known) = state.and_then(|state| state.registration.as_ref()) else { continue };
            if known.is_planned && known.assigned == layers {
                continue;
            }
            self.change_registration(node, |registration| {
                registration.assigned = layers;
                registration.is_planned = true;
                registration.ready = registration
                    .ready
                    .zip(layers)
                    .and_then(|(ready, layers)| intersection(ready, layers));
            });
            self.leases.hand_out(node, now);
        }
    }

    /// The registered nodes in the order of their registration, and what they can hold: nothing, where
    /// they are paused for too long. Nobody who has shown nothing yet is taken for faster than most
    /// of those who have.
    fn capacities(&self, model: ModelId, now: Duration) -> (Vec<NodeId>, Vec<Capacity>) {
        let mut registered: Vec<(NodeId, &NodeState, &Registration)> = self
            .index
            .lenders()
            .iter()
            .filter_map(|node| {
                let state = self.nodes.get(node)?;
                Some((*node, state, state.registration.as_ref()?))
            })
            .collect();
        registered.sort_by_key(|(_, _, registration)| registration.order);
        let shown = registered.iter().filter(|(_, state, _)| state.shown.is_enough());
        let usual = median(shown.map(|(_, state, _)| state.macs_per_ms()).collect());
        let capacities = registered
            .iter()
            .map(|(_, state, registration)| Capacity {
                // Of a model that it is not lent for it holds nothing, nor does one whose seat is lost.
                memory_bytes: match registration.paused_at {
                    Some(at) if now >= at + SEAT_KEPT => 0,
                    _ if !registration.grant.is_for(model) => 0,
                    _ => memory_bytes(&registration.capabilities),
                },
                macs_per_ms: match usual {
                    Some(usual) if !state.shown.is_enough() => state.macs_per_ms().min(usual),
                    _ => state.macs_per_ms(),
                },
                is_established: state.standing.is_established(),
                current: registration.assigned,
            })
            .collect();
        (registered.into_iter().map(|(node, _, _)| node).collect(), capacities)
    }
}

/// The middle one, if there is any.
fn median(mut speeds: Vec<u64>) -> Option<u64> {
    speeds.sort_unstable();
    speeds.get(speeds.len() / 2).copied()
}

//! Assigns layers to the registered nodes, and sends an assignment to those for whom it changes.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::id::NodeId;
use potluck_protocol::server::FromServer;

use super::nodes::intersection;
use super::placement::{self, Capacity};
use super::{Action, Scheduler};

impl Scheduler {
    pub(super) fn plan(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(model) = self.planned_model().map(Arc::clone) else { return };
        let mut registered: Vec<(NodeId, u64, Capacity)> = self
            .nodes
            .iter()
            .filter_map(|(node, state)| {
                let registration = state.registration.as_ref()?;
                let capacity = Capacity {
                    memory_bytes: registration.capabilities.memory_bytes,
                    macs_per_ms: registration.capabilities.macs_per_ms,
                    current: registration.assigned.filter(|_| registration.model == Some(model.id)),
                };
                Some((*node, registration.order, capacity))
            })
            .collect();
        registered.sort_by_key(|(_, order, _)| *order);
        let capacities: Vec<Capacity> =
            registered.iter().map(|(_, _, capacity)| capacity.clone()).collect();
        let plan = placement::plan(&model, &capacities);
        for ((node, _, capacity), layers) in registered.iter().zip(plan) {
            let Some(registration) = self.registration(*node) else { continue };
            let unchanged = capacity.current == layers && registration.model == Some(model.id);
            registration.model = Some(model.id);
            registration.assigned = layers;
            registration.ready = match (registration.ready, layers) {
                (Some(ready), Some(layers)) => intersection(ready, layers),
                _ => None,
            };
            if !unchanged {
                let lease = layers.map(|layers| self.authority.lease(*node, model.id, layers, now));
                actions.push(Action::Send(*node, FromServer::Assign { model: model.id, lease }));
            }
        }
    }
}

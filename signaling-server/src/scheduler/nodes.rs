//! Who is connected, and what a registered node is assigned and has ready.

use std::time::Duration;

use potluck_protocol::id::{Epoch, LayerRange, ModelId, NodeId, SessionId};
use potluck_protocol::server::{Capabilities, Report};
use rand_chacha::rand_core::RngCore;

use super::{Action, Fault, Scheduler};

/// A connected node.
#[derive(Debug)]
pub(super) struct NodeState {
    /// When it joined.
    pub(super) since: Duration,
    /// Tells its peers whether it is still the same process.
    pub(super) epoch: Epoch,
    /// Present from its registration until it deregisters.
    pub(super) registration: Option<Registration>,
}

/// What is known of a node that computes for others.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) capabilities: Capabilities,
    /// Place in the order of registrations: those who came first keep their layers.
    pub(super) order: u64,
    /// The model that `assigned` and `ready` are layers of.
    pub(super) model: Option<ModelId>,
    pub(super) assigned: Option<LayerRange>,
    /// The layers that the node said are loaded, cut to `assigned`.
    pub(super) ready: Option<LayerRange>,
    pub(super) report: Report,
}

impl NodeState {
    /// A node that joined at `now`, under an epoch that nobody can foresee.
    pub(super) fn new(now: Duration, random: &mut impl RngCore) -> Self {
        Self { since: now, epoch: Epoch(random.next_u64()), registration: None }
    }
}

impl Scheduler {
    pub(super) fn registration(&mut self, node: NodeId) -> Option<&mut Registration> {
        self.nodes.get_mut(&node).and_then(|state| state.registration.as_mut())
    }

    pub(super) fn register(&mut self, node: NodeId, capabilities: Capabilities, now: Duration) {
        self.registrations += 1;
        let order = self.registrations;
        let Some(state) = self.nodes.get_mut(&node) else { return };
        match &mut state.registration {
            Some(registration) => registration.capabilities = capabilities,
            None => {
                state.registration = Some(Registration {
                    capabilities,
                    order,
                    model: None,
                    assigned: None,
                    ready: None,
                    report: Report::default(),
                });
            }
        }
        self.plan_at = Some(now + self.plan_delay);
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
        let Some(state) = self.nodes.get_mut(&node) else { return };
        if state.registration.take().is_none() {
            return;
        }
        let lost: Vec<(SessionId, LayerRange)> = self.sessions.with_stage(node).collect();
        for (session, layers) in lost {
            let reason = format!("{}, who computed {layers}, {what}", node.name());
            self.end_session(node, session, &reason, Some(node), now, actions);
        }
        self.plan_at = Some(now + self.plan_delay);
        self.notify_waiting(actions);
    }

    /// Notes which layers a node has loaded. After a restart of the server, nodes come back with
    /// what they have: that is then their assignment too.
    pub(super) fn layers_ready(
        &mut self,
        node: NodeId,
        model: ModelId,
        layers: LayerRange,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Result<(), Fault> {
        let info = self.models.get(model).ok_or(Fault::UnknownModel)?;
        if layers.end > info.layers {
            return Err(Fault::NoSuchLayers(layers));
        }
        let Some(registration) = self.registration(node) else { return Ok(()) };
        match (registration.model, registration.assigned) {
            (Some(assigned_model), Some(assigned)) if assigned_model == model => {
                registration.ready = intersection(layers, assigned);
            }
            (None, None) => {
                registration.model = Some(model);
                registration.assigned = Some(layers);
                registration.ready = Some(layers);
            }
            // This answers an assignment that was taken back in the meantime.
            _ => {}
        }
        self.route_waiting(now, actions);
        Ok(())
    }
}

/// The layers that are in both.
pub(super) fn intersection(a: LayerRange, b: LayerRange) -> Option<LayerRange> {
    LayerRange::new(a.first.max(b.first), a.end.min(b.end))
}

//! What volunteers agreed to, and until when. Nothing beyond it is assigned, leased or routed.
//!
//! Whether a grant is signed, and to this server, is its connection's to find out (`socket::exchange`):
//! a signature takes longer than anything here.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::grant::{Grant, GrantFault, GrantedModels};
use potluck_protocol::id::{GrantId, ModelId, NodeId};
use potluck_protocol::server::FromServer;

use super::{Action, Scheduler};
use crate::authority::Authority;

/// What of a grant matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) id: GrantId,
    models: GrantedModels,
    /// When it ends, seconds since 1970.
    pub(super) until_s: u64,
}

impl Granted {
    /// Whether `model` may be assigned.
    pub(super) fn is_for(&self, model: ModelId) -> bool {
        self.models.allow(model)
    }
}

impl From<&Grant> for Granted {
    fn from(grant: &Grant) -> Self {
        Self { id: grant.id, models: grant.models.clone(), until_s: grant.until_s }
    }
}

/// When grants end, and whose.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Seconds since 1970.
    ends: BTreeSet<(u64, NodeId)>,
}

impl Grants {
    /// The node lends until then.
    pub(super) fn expect_end(&mut self, node: NodeId, until_s: u64) {
        self.ends.insert((until_s, node));
    }

    /// The node lends no more, or under another grant; this one was to end then.
    pub(super) fn forget(&mut self, node: NodeId, until_s: u64) {
        self.ends.remove(&(until_s, node));
    }

    /// When the next grant ends.
    pub(super) fn next_end(&self, authority: &Authority) -> Option<Duration> {
        let (until_s, _) = self.ends.first()?;
        Some(Duration::from_secs(*until_s).saturating_sub(authority.unix_time(Duration::ZERO)))
    }
}

impl Scheduler {
    /// Those whose grant is over lend no more, and are told.
    pub(super) fn end_grants(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let now_s = self.authority.unix_time(now).as_secs();
        while let Some((until_s, node)) = self.grants.ends.first().copied() {
            if until_s > now_s {
                return;
            }
            self.grants.forget(node, until_s);
            self.deregister(node, "was lent for a time that is over", now, actions);
            actions.push(refusal(node, GrantFault::Ended));
        }
    }
}

/// Tells a node that it is given nothing to compute.
pub(super) fn refusal(node: NodeId, fault: GrantFault) -> Action {
    Action::Send(node, FromServer::LendingRefused { reason: clip_reason(&fault.to_string()) })
}

//! Nodes that sessions failed at lately: for a while others are preferred to them.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_protocol::id::NodeId;

/// As long as it otherwise takes to notice that a tab sleeps or a lid is closed.
const QUARANTINE: Duration = Duration::from_secs(60);
/// Nodes in quarantine at once, well under a megabyte; at the bound further ones are not noted.
const MAX_QUARANTINED: usize = 10_000;

/// The nodes in quarantine, and until when.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    until: BTreeMap<NodeId, Duration>,
}

impl Quarantine {
    pub(super) fn insert(&mut self, node: NodeId, now: Duration) {
        self.until.retain(|_, until| now < *until);
        if self.until.len() < MAX_QUARANTINED {
            self.until.insert(node, now + QUARANTINE);
        }
    }

    pub(super) fn contains(&self, node: NodeId, now: Duration) -> bool {
        self.until.get(&node).is_some_and(|until| now < *until)
    }
}

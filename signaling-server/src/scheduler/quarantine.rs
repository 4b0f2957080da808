//! Nodes that sessions failed at lately: for a while others are preferred to them.
//!
//! One requester's word counts for its own routes only, which it says with each request. A node
//! becomes suspect for all when several say so who do not depend on each other: under different
//! keys, and from different addresses where those are public.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};

use super::Scheduler;

/// As long as it otherwise takes to notice that a tab sleeps or a lid is closed.
const QUARANTINE: Duration = Duration::from_secs(60);
/// How many requesters it takes: two may be one person at home and on the way.
pub(super) const WORDS: usize = 3;
/// How long a word counts: as long as it may take others to run into the same node.
const WORD: Duration = Duration::from_secs(5 * 60);
/// Nodes in quarantine or accused at once, well under a megabyte each; at the bound further ones are
/// not noted.
const MAX_NOTED: usize = 10_000;

/// The nodes in quarantine, and until when; and what is said of others.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    until: BTreeMap<NodeId, Duration>,
    ends: BTreeSet<(Duration, NodeId)>,
    words: BTreeMap<NodeId, Vec<Word>>,
}

/// One requester's word.
#[derive(Clone, Copy, Debug)]
struct Word {
    by: NodeId,
    address: Option<IpAddr>,
    until: Duration,
}

impl Word {
    fn depends_on(&self, other: &Self) -> bool {
        self.by == other.by || (self.address.is_some() && self.address == other.address)
    }
}

impl Quarantine {
    /// Notes that a session failed at `node`, as `by` says. True if the node becomes suspect for
    /// all.
    fn note(&mut self, node: NodeId, by: NodeId, address: Option<IpAddr>, now: Duration) -> bool {
        if !self.words.contains_key(&node) && self.words.len() >= MAX_NOTED {
            self.words.retain(|_, words| words.iter().any(|word| now < word.until));
            if self.words.len() >= MAX_NOTED {
                return false;
            }
        }
        let word = Word { by, address, until: now + WORD };
        let words = self.words.entry(node).or_default();
        words.retain(|other| now < other.until && !word.depends_on(other));
        words.push(word);
        if words.len() < WORDS || self.until.len() >= MAX_NOTED {
            return false;
        }
        self.words.remove(&node);
        let until = now + QUARANTINE;
        if let Some(earlier) = self.until.insert(node, until) {
            self.ends.remove(&(earlier, node));
        }
        self.ends.insert((until, node));
        true
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.until.contains_key(&node)
    }

    /// When the next node is forgiven.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.ends.first().map(|(until, _)| *until)
    }

    fn pop_ended(&mut self, now: Duration) -> Option<NodeId> {
        let (until, node) = self.ends.first().copied().filter(|(until, _)| *until <= now)?;
        self.ends.remove(&(until, node));
        self.until.remove(&node);
        Some(node)
    }
}

impl Scheduler {
    /// Notes the node at which a session failed, if the session's requester says so.
    pub(super) fn note_failure(
        &mut self,
        by: NodeId,
        id: SessionId,
        failed_node: Option<NodeId>,
        now: Duration,
    ) {
        let (Some(failed), Some(session)) = (failed_node, self.sessions.get(id)) else { return };
        if session.requester != by || session.stage_of(failed).is_none() || failed == by {
            return;
        }
        let address = self.nodes.get(&by).and_then(|state| state.standing.public_address());
        if self.quarantine.note(failed, by, address, now) {
            self.change(failed, |state| state.is_suspect = true);
        }
    }

    /// Ends the quarantine of those whose time is over.
    pub(super) fn forgive(&mut self, now: Duration) {
        while let Some(node) = self.quarantine.pop_ended(now) {
            self.change(node, |state| state.is_suspect = false);
        }
    }
}

//! Routes in use. Their number is bounded where requests come in: each waiting request is counted
//! as the session that it becomes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::server::Session;

/// The open sessions, in an order that does not depend on the process: what is sent because of
/// them can be replayed.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    /// Members of sessions that ended lately, and until when they may still signal each other.
    ended: VecDeque<(Duration, Vec<NodeId>)>,
}

/// How long the members of a session may signal each other after it: as long as a connection may
/// take to open. Most of them are in the next session together, and go on with the connection that
/// they began to open in this one; an offer that was on its way when the session ended must not get
/// lost, or they would wait for it until they give the connection up.
const SIGNALS_AFTER_END: Duration = Duration::from_secs(15);
/// Ended sessions remembered for that. Of the oldest, beyond it, a late signal is refused, which
/// costs its members that wait.
const MAX_ENDED: usize = 1_000;

impl Sessions {
    pub(super) fn insert(&mut self, session: Session) {
        self.by_id.insert(session.id, session);
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// Takes a session out at `now`, if `by` is a member of it.
    pub(super) fn remove(&mut self, id: SessionId, by: NodeId, now: Duration) -> Option<Session> {
        self.by_id.get(&id).filter(|session| is_member(session, by))?;
        let session = self.by_id.remove(&id)?;
        self.ended.retain(|(until, _)| now < *until);
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        let stages = session.stages.iter().map(|stage| stage.node);
        let members = stages.chain([session.requester]).collect();
        self.ended.push_back((now + SIGNALS_AFTER_END, members));
        Some(session)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if both are in one session, or were in one that ended lately.
    pub(super) fn share(&self, a: NodeId, b: NodeId, now: Duration) -> bool {
        self.by_id.values().any(|session| is_member(session, a) && is_member(session, b))
            || self.ended.iter().any(|(until, members)| {
                now < *until && members.contains(&a) && members.contains(&b)
            })
    }

    pub(super) fn asked_by(&self, requester: NodeId) -> impl Iterator<Item = SessionId> {
        let asked = self.by_id.values().filter(move |session| session.requester == requester);
        asked.map(|session| session.id)
    }

    /// The sessions that a node is a stage of, with its layers there.
    pub(super) fn with_stage(&self, node: NodeId) -> impl Iterator<Item = (SessionId, LayerRange)> {
        self.by_id.values().filter_map(move |session| {
            let stage = session.stages.get(session.stage_of(node)?)?;
            Some((session.id, stage.layers))
        })
    }
}

/// True for the requester and for every stage.
pub(super) fn is_member(session: &Session, node: NodeId) -> bool {
    session.requester == node || session.stage_of(node).is_some()
}

//! Routes in use. Their number is bounded where requests come in: each waiting request is counted
//! as the session that it becomes.

use std::collections::BTreeMap;

use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::server::Session;

/// The open sessions, in an order that does not depend on the process: what is sent because of
/// them can be replayed.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
}

impl Sessions {
    pub(super) fn insert(&mut self, session: Session) {
        self.by_id.insert(session.id, session);
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    /// Takes a session out, if `by` is a member of it.
    pub(super) fn remove(&mut self, id: SessionId, by: NodeId) -> Option<Session> {
        self.by_id.get(&id).filter(|session| is_member(session, by))?;
        self.by_id.remove(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn share(&self, a: NodeId, b: NodeId) -> bool {
        self.by_id.values().any(|session| is_member(session, a) && is_member(session, b))
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

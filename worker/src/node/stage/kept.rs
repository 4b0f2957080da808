//! What is left of sessions whose requester may say more: their keys and values stay in the engine for
//! a while, and a session that goes on with one of them need not compute them again.
//!
//! They are the first to go where there is no room, here or in the engine; then the requester's next
//! turn is computed from its beginning.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::limits::{KEPT_SESSION, MAX_KEPT_PER_REQUESTER};
use potluck_protocol::server::Session;

/// Sessions kept at once, of all requesters: an engine has room for as many beside those that are
/// being computed.
const MAX_KEPT: usize = 32;

/// Sessions that ended to be gone on with, the latest last.
#[derive(Debug, Default)]
pub(super) struct KeptSessions(VecDeque<KeptSession>);

/// One of them.
#[derive(Debug)]
pub(super) struct KeptSession {
    pub(super) session: Session,
    /// This node's.
    pub(super) layers: LayerRange,
    /// Positions that are in the engine.
    pub(super) positions: u32,
    pub(super) since: Duration,
}

impl KeptSessions {
    /// Keeps one more; the names of those that make room for it.
    pub(super) fn keep(&mut self, kept: KeptSession) -> Vec<SessionId> {
        let requester = kept.session.requester;
        let of_requester = |kept: &&KeptSession| kept.session.requester == requester;
        let mut dropped = Vec::new();
        if self.0.iter().filter(of_requester).count() >= MAX_KEPT_PER_REQUESTER {
            dropped.extend(self.0.iter().find(of_requester).map(|kept| kept.session.id));
        } else if self.0.len() >= MAX_KEPT {
            dropped.extend(self.0.front().map(|kept| kept.session.id));
        }
        self.0.retain(|kept| !dropped.contains(&kept.session.id));
        self.0.push_back(kept);
        dropped
    }

    /// Takes out what a session goes on with, if it is here: the same requester's, through the same
    /// layers.
    pub(super) fn take(&mut self, next: &Session, layers: LayerRange) -> Option<KeptSession> {
        let is_it = |kept: &KeptSession| {
            Some(kept.session.id) == next.continues
                && kept.session.requester == next.requester
                && kept.session.model == next.model
                && kept.layers == layers
        };
        let at = self.0.iter().position(is_it)?;
        self.0.remove(at)
    }

    /// Its requester has no use for it any more. True if there was one.
    pub(super) fn forget(&mut self, id: SessionId, requester: NodeId) -> bool {
        let before = self.0.len();
        self.0.retain(|kept| kept.session.id != id || kept.session.requester != requester);
        self.0.len() < before
    }

    /// Takes out those that have been kept for long enough.
    pub(super) fn take_old(&mut self, now: Duration) -> Vec<SessionId> {
        let mut old = Vec::new();
        self.0.retain(|kept| {
            let is_old = now >= kept.since + KEPT_SESSION;
            old.extend(is_old.then_some(kept.session.id));
            !is_old
        });
        old
    }

    /// Takes all of them out.
    pub(super) fn take_all(&mut self) -> Vec<SessionId> {
        self.0.drain(..).map(|kept| kept.session.id).collect()
    }

    /// True if `peer` takes part in one of them: the connection to it is worth keeping too.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        let is_in = |session: &Session| {
            session.requester == peer || session.stages.iter().any(|stage| stage.node == peer)
        };
        self.0.iter().any(|kept| is_in(&kept.session))
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, ModelId};
    use potluck_protocol::server::Stage;

    use super::*;

    const LAYERS: LayerRange = LayerRange { first: 0, end: 3 };

    fn session(id: u8, requester: u8, continues: Option<u8>) -> Session {
        Session {
            id: SessionId([id; 16]),
            model: ModelId([1; 32]),
            requester: NodeId([requester; 32]),
            stages: vec![Stage { node: NodeId([99; 32]), layers: LAYERS }],
            epochs: vec![Epoch(0); 2],
            continues: continues.map(|id| SessionId([id; 16])),
        }
    }

    fn kept(id: u8, requester: u8) -> KeptSession {
        let session = session(id, requester, None);
        KeptSession { session, layers: LAYERS, positions: 7, since: Duration::ZERO }
    }

    #[test]
    fn the_oldest_of_a_requester_makes_room() {
        let mut all = KeptSessions::default();
        let count = u8::try_from(MAX_KEPT_PER_REQUESTER).unwrap();
        assert!(all.keep(kept(100, 2)).is_empty());
        assert!((0..count).all(|id| all.keep(kept(id, 1)).is_empty()));
        assert_eq!(all.keep(kept(50, 1)), [SessionId([0; 16])]);
        let others = u8::try_from(MAX_KEPT).unwrap() - count - 1;
        assert!((0..others).all(|id| all.keep(kept(120 + id, 10 + id)).is_empty()));
        assert_eq!(all.keep(kept(60, 9)), [SessionId([100; 16])], "the oldest of all");
    }

    #[test]
    fn only_what_a_session_goes_on_with_is_taken_and_once() {
        let mut all = KeptSessions::default();
        all.keep(kept(1, 1));
        assert!(all.take(&session(2, 1, None), LAYERS).is_none());
        assert!(all.take(&session(2, 3, Some(1)), LAYERS).is_none(), "somebody else's");
        let others = LayerRange { first: 0, end: 2 };
        assert!(all.take(&session(2, 1, Some(1)), others).is_none(), "other layers");
        assert_eq!(all.take(&session(2, 1, Some(1)), LAYERS).unwrap().positions, 7);
        assert!(all.take(&session(2, 1, Some(1)), LAYERS).is_none());
    }

    #[test]
    fn they_are_forgotten_in_the_end() {
        let mut all = KeptSessions::default();
        all.keep(kept(1, 1));
        assert!(all.uses(NodeId([1; 32])) && all.uses(NodeId([99; 32])));
        assert!(!all.uses(NodeId([2; 32])));
        assert!(all.take_old(KEPT_SESSION - Duration::from_secs(1)).is_empty());
        assert_eq!(all.take_old(KEPT_SESSION), [SessionId([1; 16])]);
        all.keep(kept(2, 1));
        assert!(!all.forget(SessionId([2; 16]), NodeId([5; 32])));
        assert!(all.forget(SessionId([2; 16]), NodeId([1; 32])));
        assert!(!all.uses(NodeId([1; 32])));
    }
}

//! Sessions of answers that are whole, whose stages keep what they computed for what is said next.
//!
//! A conversation's next turn begins as the one before it, so its session can go on with that one's:
//! only what is new is fed. Whose conversation it is need not be known: what counts is which tokens
//! were computed.

use std::time::Duration;

use potluck_protocol::id::{ModelId, NodeId};
use potluck_protocol::limits::{KEPT_SESSION, MAX_KEPT_PER_REQUESTER};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::Session;

use crate::node::context::Context;

/// One session.
#[derive(Debug)]
pub(super) struct KeptSession {
    pub(super) session: Session,
    /// That were computed in it, from its first position on.
    pub(super) tokens: Vec<u32>,
    pub(super) since: Duration,
}

/// Those that nothing goes on with yet, the latest last.
#[derive(Debug, Default)]
pub(super) struct KeptSessions(Vec<KeptSession>);

/// Positions that must be the same to be worth asking for the same stages again: computed anew, fewer
/// take one step, and any stages may do it.
const WORTH_KEEPING: usize = 32;
/// How much earlier than its stages a requester forgets a session: so long a message may take.
const BEFORE_STAGES: Duration = Duration::from_secs(10);

impl KeptSession {
    /// How many of the first tokens are those that were computed. The last one of a text is always
    /// computed, as what comes after it is what is wanted.
    pub(super) fn shared(&self, tokens: &[u32]) -> u32 {
        let shared = self.tokens.iter().zip(tokens).take_while(|(kept, new)| kept == new).count();
        u32::try_from(shared.min(tokens.len().saturating_sub(1))).unwrap_or(u32::MAX)
    }

    /// Tells its stages that nothing will go on with it.
    pub(super) fn forget(self, context: &mut Context) {
        let session = self.session.id;
        for stage in &self.session.stages {
            context.send_peer(stage.node, PeerFrame::End { session, keeps: false });
        }
    }
}

impl KeptSessions {
    /// Keeps one more; the oldest makes room for it.
    pub(super) fn keep(&mut self, kept: KeptSession, context: &mut Context) {
        if self.0.len() >= MAX_KEPT_PER_REQUESTER {
            self.0.remove(0).forget(context);
        }
        self.0.push(kept);
    }

    /// Takes out the session that shares most of these tokens, if that is worth it.
    pub(super) fn take(&mut self, model: ModelId, tokens: &[u32]) -> Option<KeptSession> {
        let of_model = self.0.iter().enumerate().filter(|(_, kept)| kept.session.model == model);
        let shared = of_model.map(|(at, kept)| (kept.shared(tokens), at));
        let (most, at) = shared.max()?;
        (most as usize >= WORTH_KEEPING).then(|| self.0.remove(at))
    }

    /// A node is gone, and what it kept with it.
    pub(super) fn handle_peer_lost(&mut self, peer: NodeId, context: &mut Context) {
        let is_with = |kept: &mut KeptSession| kept.session.stage_of(peer).is_some();
        for kept in self.0.extract_if(.., is_with) {
            kept.forget(context);
        }
    }

    /// Forgets those that stages are about to forget.
    pub(super) fn tick(&mut self, now: Duration) {
        self.0.retain(|kept| now + BEFORE_STAGES < kept.since + KEPT_SESSION);
    }

    /// True if `peer` is a stage of one of them: the connection to it is worth keeping too.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        self.0.iter().any(|kept| kept.session.stage_of(peer).is_some())
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, LayerRange, SessionId};
    use potluck_protocol::identity::Identity;
    use potluck_protocol::server::Stage;

    use super::*;

    const MODEL: ModelId = ModelId([1; 32]);

    fn kept(id: u8, tokens: std::ops::Range<u32>) -> KeptSession {
        let layers = LayerRange { first: 0, end: 3 };
        let session = Session {
            id: SessionId([id; 16]),
            model: MODEL,
            requester: NodeId([1; 32]),
            stages: vec![Stage { node: NodeId([id; 32]), layers }],
            epochs: vec![Epoch(0); 2],
            continues: None,
        };
        KeptSession { session, tokens: tokens.collect(), since: Duration::ZERO }
    }

    #[test]
    fn the_session_that_shares_most_is_gone_on_with_once() {
        let mut context = Context::new(Identity::from_seed(&[1; 32]));
        let mut all = KeptSessions::default();
        for (id, tokens) in [(1, 0..40), (2, 0..90), (3, 5..200)] {
            all.keep(kept(id, tokens), &mut context);
        }
        let next: Vec<u32> = (0..70).chain([7, 7]).collect();
        assert!(all.take(ModelId([2; 32]), &next).is_none(), "another model's");
        let best = all.take(MODEL, &next).unwrap();
        assert_eq!((best.session.id, best.shared(&next)), (SessionId([2; 16]), 70));
        assert_eq!(all.take(MODEL, &next).unwrap().session.id, SessionId([1; 16]));
        assert!(all.take(MODEL, &next).is_none(), "what shares nothing is of no use");
        assert_eq!(kept(1, 0..40).shared(&(0..40).collect::<Vec<u32>>()), 39, "one is computed");
    }

    #[test]
    fn they_are_forgotten_with_their_stages_and_in_time() {
        let mut context = Context::new(Identity::from_seed(&[1; 32]));
        let mut all = KeptSessions::default();
        all.keep(kept(1, 0..40), &mut context);
        all.keep(kept(2, 0..40), &mut context);
        assert!(all.uses(NodeId([1; 32])));
        all.handle_peer_lost(NodeId([1; 32]), &mut context);
        assert!(!all.uses(NodeId([1; 32])) && all.uses(NodeId([2; 32])));
        all.tick(KEPT_SESSION - Duration::from_secs(11));
        assert!(all.uses(NodeId([2; 32])));
        all.tick(KEPT_SESSION - Duration::from_secs(10));
        assert!(!all.uses(NodeId([2; 32])));
    }
}

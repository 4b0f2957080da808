//! Sessions that ended to be gone on with: by which stages, until something more is said or some
//! minutes have passed. What those stages keep, the server does not know; a stage that has nothing
//! any more says so, and the requester asks for another route.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::limits::KEPT_SESSION;
use potluck_protocol::server::{Session, Stage};

use super::Scheduler;

/// Sessions remembered so, of all requesters; a few megabytes. Beyond it the oldest are forgotten,
/// which costs their requesters that their next turn is computed from its beginning.
const MAX_KEPT: usize = 10_000;

/// The routes of sessions that were ended to be gone on with.
#[derive(Debug, Default)]
pub(super) struct KeptRoutes {
    by_id: BTreeMap<SessionId, Session>,
    /// In the order in which they ended, and until when they count.
    ends: VecDeque<(Duration, SessionId)>,
}

impl KeptRoutes {
    /// A session ended at `now`.
    pub(super) fn insert(&mut self, session: Session, now: Duration) {
        self.ends.push_back((now + KEPT_SESSION, session.id));
        self.by_id.insert(session.id, session);
        self.forget(now);
    }

    /// Takes a requester's own out, if it still counts at `now`.
    fn take(&mut self, id: SessionId, requester: NodeId, now: Duration) -> Option<Session> {
        self.forget(now);
        if self.by_id.get(&id)?.requester != requester {
            return None;
        }
        self.by_id.remove(&id)
    }

    fn forget(&mut self, now: Duration) {
        while let Some((until, id)) = self.ends.front().copied() {
            if now < until && self.ends.len() <= MAX_KEPT {
                break;
            }
            self.ends.pop_front();
            self.by_id.remove(&id);
        }
    }
}

impl Scheduler {
    /// The stages of a session that is gone on with, if each of them is still the same process, has
    /// its layers ready and is none of those to be left out.
    pub(super) fn stages_again(
        &mut self,
        id: SessionId,
        requester: NodeId,
        exclude: &[NodeId],
        now: Duration,
    ) -> Option<Vec<Stage>> {
        let session = self.kept.take(id, requester, now)?;
        let is_there = |stage: &Stage| {
            let Some(state) = self.nodes.get(&stage.node) else { return false };
            let registration = state.registration.as_ref();
            let ready = registration.filter(|known| !known.is_paused()).and_then(|it| it.ready);
            let has_layers = ready.is_some_and(|ready| {
                ready.first <= stage.layers.first && stage.layers.end <= ready.end
            });
            has_layers
                && session.epoch_of(stage.node) == Some(state.epoch)
                && !state.is_suspect
                && !exclude.contains(&stage.node)
        };
        session.stages.iter().all(is_there).then_some(session.stages)
    }
}

//! Routes in use, by name and by whoever has to do with them. Their number is bounded where
//! requests come in: each waiting request is counted as the session that it becomes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_protocol::id::{LayerRange, NodeId, SessionId};
use potluck_protocol::server::Session;

/// The open sessions, in an order that does not depend on the process: what is sent because of
/// them can be replayed.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Open>,
    by_stage: BTreeMap<NodeId, BTreeSet<SessionId>>,
    by_requester: BTreeMap<NodeId, BTreeSet<SessionId>>,
    /// Those who talk to each other, the smaller key first.
    pairs: BTreeMap<(NodeId, NodeId), Pair>,
    /// Pairs whose last session ended, in the order in which they did, and until when they count.
    ended: VecDeque<(Duration, (NodeId, NodeId))>,
    /// When sessions end unless something is computed in them.
    idle_at: BTreeSet<(Duration, SessionId)>,
}

#[derive(Debug)]
struct Open {
    session: Session,
    idle_at: Duration,
    may_be_silent: Duration,
}

/// Two nodes that may signal each other.
#[derive(Debug, Default)]
struct Pair {
    /// How many sessions they talk in.
    sessions: u32,
    /// After the last one, until when they still may.
    until: Duration,
}

/// How long the members of a session may signal each other after it: as long as a connection may
/// take to open. Most of them are in the next session together, and go on with the connection that
/// they began to open in this one; an offer that was on its way when the session ended must not get
/// lost, or they would wait for it until they give the connection up.
const SIGNALS_AFTER_END: Duration = Duration::from_secs(15);
/// Pairs remembered for that, a few megabytes. Of the oldest, beyond it, a late signal is refused,
/// which costs its members that wait.
const MAX_ENDED: usize = 50_000;
/// How long a session may go without a receipt: they come every 64 positions, and stages give up a
/// silent requester long before.
pub(super) const IDLE: Duration = Duration::from_secs(10 * 60);
/// The same where nobody makes receipts, as no stage earns: longer than any answer.
const IDLE_WITHOUT_RECEIPTS: Duration = Duration::from_secs(2 * 3600);
/// Idle sessions that are ended at a time.
const AT_A_TIME: usize = 64;

impl Sessions {
    /// Notes a session that opens at `now`; without `has_receipts`, none are to be expected.
    pub(super) fn insert(&mut self, session: Session, has_receipts: bool, now: Duration) {
        let id = session.id;
        for stage in &session.stages {
            self.by_stage.entry(stage.node).or_default().insert(id);
        }
        self.by_requester.entry(session.requester).or_default().insert(id);
        for pair in pairs(&session) {
            self.pairs.entry(pair).or_default().sessions += 1;
        }
        let may_be_silent = if has_receipts { IDLE } else { IDLE_WITHOUT_RECEIPTS };
        let idle_at = now + may_be_silent;
        self.idle_at.insert((idle_at, id));
        self.by_id.insert(id, Open { session, idle_at, may_be_silent });
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id).map(|open| &open.session)
    }

    /// Takes a session out at `now`.
    pub(super) fn remove(&mut self, id: SessionId, now: Duration) -> Option<Session> {
        let Open { session, idle_at, .. } = self.by_id.remove(&id)?;
        self.idle_at.remove(&(idle_at, id));
        for stage in &session.stages {
            take(&mut self.by_stage, stage.node, id);
        }
        take(&mut self.by_requester, session.requester, id);
        let until = now + SIGNALS_AFTER_END;
        for names in pairs(&session) {
            if let Some(pair) = self.pairs.get_mut(&names) {
                pair.sessions = pair.sessions.saturating_sub(1);
                if pair.sessions == 0 {
                    pair.until = until;
                    self.ended.push_back((until, names));
                }
            }
        }
        self.forget_ended(now);
        Some(session)
    }

    fn forget_ended(&mut self, now: Duration) {
        while let Some((until, names)) = self.ended.front().copied() {
            if now < until && self.ended.len() <= MAX_ENDED {
                break;
            }
            self.ended.pop_front();
            // They may have met again since.
            if self.pairs.get(&names).is_some_and(|pair| pair.sessions == 0 && pair.until == until)
            {
                self.pairs.remove(&names);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// All of them, by name.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values().map(|open| &open.session)
    }

    /// True if both talk to each other in a session, or did in one that ended lately.
    pub(super) fn share(&self, a: NodeId, b: NodeId, now: Duration) -> bool {
        let pair = self.pairs.get(&(a.min(b), a.max(b)));
        pair.is_some_and(|pair| pair.sessions > 0 || now < pair.until)
    }

    /// The sessions that a requester asked for.
    pub(super) fn asked_by(&self, requester: NodeId) -> Vec<SessionId> {
        self.by_requester.get(&requester).into_iter().flatten().copied().collect()
    }

    /// How many those are.
    pub(super) fn count_asked_by(&self, requester: NodeId) -> usize {
        self.by_requester.get(&requester).map_or(0, BTreeSet::len)
    }

    /// The sessions that a node is a stage of, with its layers there.
    pub(super) fn with_stage(&self, node: NodeId) -> Vec<(SessionId, LayerRange)> {
        let ids = self.by_stage.get(&node).into_iter().flatten();
        let layers = |id: &SessionId| {
            let session = self.get(*id)?;
            Some((*id, session.stages.get(session.stage_of(node)?)?.layers))
        };
        ids.filter_map(layers).collect()
    }

    /// Something was computed by a stage of the session: it is not idle.
    pub(super) fn touch(&mut self, id: SessionId, stage: NodeId, now: Duration) {
        let Some(open) = self.by_id.get_mut(&id) else { return };
        if open.session.stage_of(stage).is_some() {
            self.idle_at.remove(&(open.idle_at, id));
            open.idle_at = now + open.may_be_silent;
            self.idle_at.insert((open.idle_at, id));
        }
    }

    /// Some of the sessions that are idle at `now`; there may be more.
    pub(super) fn idle(&self, now: Duration) -> Vec<SessionId> {
        let idle = self.idle_at.iter().take_while(|(at, _)| *at <= now);
        idle.take(AT_A_TIME).map(|(_, id)| *id).collect()
    }

    /// When the next one is.
    pub(super) fn next_idle(&self) -> Option<Duration> {
        self.idle_at.first().map(|(at, _)| *at)
    }
}

/// True for the requester and for every stage.
pub(super) fn is_member(session: &Session, node: NodeId) -> bool {
    session.requester == node || session.stage_of(node).is_some()
}

/// Those who talk to each other in a session: stages with those before and after them, and all of
/// them with the requester, who signs their receipts.
fn pairs(session: &Session) -> BTreeSet<(NodeId, NodeId)> {
    let stages = &session.stages;
    let neighbours =
        stages.windows(2).filter_map(|two| Some((two.first()?.node, two.last()?.node)));
    let with_requester = stages.iter().map(|stage| (stage.node, session.requester));
    neighbours.chain(with_requester).map(|(a, b)| (a.min(b), a.max(b))).collect()
}

fn take(sessions: &mut BTreeMap<NodeId, BTreeSet<SessionId>>, node: NodeId, id: SessionId) {
    if let Some(of_node) = sessions.get_mut(&node) {
        of_node.remove(&id);
        if of_node.is_empty() {
            sessions.remove(&node);
        }
    }
}

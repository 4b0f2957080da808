//! Whether the stages of a running answer are still there.
//!
//! A stage that closes its connection is missed at once. One that is frozen (a laptop's lid closed,
//! a network gone without a word) is not: no token comes, and it does not answer a probe, or, while
//! its connection is opening, gives no sign at all.

use std::time::Duration;

use potluck_protocol::id::NodeId;

use crate::node::peers::Path;

/// What is known of the stages' being there.
#[derive(Debug)]
pub(super) struct Liveness {
    /// No token and no other progress by then: the answer breaks off.
    deadline: Duration,
    /// How many times as long as usual a stage may be silent.
    patience: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The stages are probed at this time, unless there is a token.
    Quiet { probe_at: Duration },
    /// They were probed, are again, and these have not answered; they may until then.
    Probing { unanswered: Vec<NodeId>, again_at: Duration, until: Duration },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Ask these stages whether they are there.
    Probe(Vec<NodeId>),
    /// Go on without this stage, which does not answer.
    Gone(NodeId),
    /// Go on without this stage, which cannot be connected to.
    Unreachable(NodeId),
    /// Go on elsewhere; nobody knows who is at fault.
    Late,
}

/// The longest time without a token, or without room for more of a long prompt, connecting included:
/// a slow swarm is slow, but a silent one is broken.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// The stages are probed so long after the beginning and after each token: in most swarms a token
/// comes earlier, and nobody is asked.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// They are probed again so long after: one that has not heard of the session yet cannot answer.
const PROBE_AGAIN: Duration = Duration::from_secs(1);
/// How long they may take to answer: they do so between two batches.
const PONG_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a stage that is there may take for its first signal.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to open after the last signal. A relayed path needs about 3 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

impl Liveness {
    /// Of a session that begins, after so many in a row that failed: a stage that is there may be
    /// busy with a long batch, so the same silence is not held against all of them.
    pub(super) fn new(now: Duration, failed_attempts: u32) -> Self {
        Self {
            deadline: now + STEP_TIMEOUT,
            patience: 1 + failed_attempts,
            state: State::Quiet { probe_at: now + PROBE_AFTER },
        }
    }

    pub(super) fn handle_token(&mut self, now: Duration) {
        self.handle_progress(now);
        self.patience = 1;
        self.state = State::Quiet { probe_at: now + PROBE_AFTER };
    }

    /// Rows of the prompt have left the first stage.
    pub(super) fn handle_progress(&mut self, now: Duration) {
        self.deadline = now + STEP_TIMEOUT;
    }

    pub(super) fn handle_pong(&mut self, from: NodeId) {
        if let State::Probing { unanswered, .. } = &mut self.state {
            unanswered.retain(|stage| *stage != from);
        }
    }

    /// `others`: the stages that are not this very node, and how far their connections have come.
    pub(super) fn tick(&mut self, others: &[(NodeId, Path)], now: Duration) -> Verdict {
        let is_stuck = |path: &Path| match *path {
            Path::Open => false,
            Path::Opening { heard: None, since } => now >= since + SIGNAL_TIMEOUT * self.patience,
            Path::Opening { heard: Some(heard), .. } => now >= heard + CONNECT_TIMEOUT,
        };
        if let Some((stuck, _)) = others.iter().find(|(_, path)| is_stuck(path)) {
            return Verdict::Unreachable(*stuck);
        }
        match &mut self.state {
            State::Probing { unanswered, until, .. } if now >= *until => {
                let gone = unanswered.first().copied();
                // If several are gone, the server may know of the others, or the next probe finds
                // out. If all are there, they are slow.
                self.state = State::Quiet { probe_at: now + PROBE_AFTER };
                if let Some(gone) = gone {
                    return Verdict::Gone(gone);
                }
            }
            State::Probing { unanswered, again_at, .. }
                if now >= *again_at && !unanswered.is_empty() =>
            {
                *again_at = now + PROBE_AGAIN;
                return Verdict::Probe(unanswered.clone());
            }
            State::Quiet { probe_at } if now >= *probe_at && now < self.deadline => {
                let is_open =
                    |(node, path): &(NodeId, Path)| (*path == Path::Open).then_some(*node);
                let stages: Vec<NodeId> = others.iter().filter_map(is_open).collect();
                let (again_at, until) = (now + PROBE_AGAIN, now + PONG_TIMEOUT * self.patience);
                self.state = State::Probing { unanswered: stages.clone(), again_at, until };
                return Verdict::Probe(stages);
            }
            _ => {}
        }
        if now >= self.deadline { Verdict::Late } else { Verdict::Fine }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);
    const OPEN: [(NodeId, Path); 2] = [(A, Path::Open), (B, Path::Open)];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn stages_are_probed_after_a_token_and_the_silent_one_is_gone() {
        let mut liveness = Liveness::new(at(0), 0);
        liveness.handle_token(at(21));
        assert_eq!(liveness.tick(&OPEN, at(21)), Verdict::Fine);
        assert_eq!(liveness.tick(&OPEN, at(22)), Verdict::Probe(vec![A, B]));
        liveness.handle_pong(A);
        assert_eq!(liveness.tick(&OPEN, at(23)), Verdict::Probe(vec![B]), "once more");
        assert_eq!(liveness.tick(&OPEN, at(26)), Verdict::Gone(B));
    }

    #[test]
    fn the_first_token_is_not_waited_for_without_a_sign_either() {
        let mut liveness = Liveness::new(at(0), 0);
        assert_eq!(liveness.tick(&OPEN, at(1)), Verdict::Probe(vec![A, B]));
        liveness.handle_pong(B);
        assert_eq!(liveness.tick(&OPEN, at(5)), Verdict::Gone(A));
        let mut again = Liveness::new(at(5), 1);
        assert_eq!(again.tick(&OPEN, at(6)), Verdict::Probe(vec![A, B]));
        again.handle_pong(B);
        assert_eq!(again.tick(&OPEN, at(10)), Verdict::Probe(vec![A]), "it may only be busy");
        assert_eq!(again.tick(&OPEN, at(14)), Verdict::Gone(A));
    }

    #[test]
    fn a_stage_that_gives_no_sign_while_connecting_is_given_up_and_one_that_does_is_not() {
        let mut liveness = Liveness::new(at(0), 0);
        let path = |heard| Path::Opening { since: at(0), heard };
        let paths = |heard| [(A, Path::Open), (B, path(heard))];
        assert_eq!(liveness.tick(&paths(None), at(4)), Verdict::Probe(vec![A]));
        liveness.handle_pong(A);
        assert_eq!(liveness.tick(&paths(Some(at(3))), at(10)), Verdict::Fine);
        assert_eq!(liveness.tick(&paths(Some(at(3))), at(11)), Verdict::Unreachable(B));
        assert_eq!(liveness.tick(&paths(None), at(5)), Verdict::Unreachable(B));
    }

    #[test]
    fn stages_that_answer_are_probed_again_and_have_until_the_deadline() {
        let mut liveness = Liveness::new(at(0), 0);
        let mut probes = 0;
        for now in 0..40 {
            match liveness.tick(&OPEN[..1], at(now)) {
                Verdict::Probe(_) => {
                    probes += 1;
                    liveness.handle_pong(A);
                }
                verdict => assert_eq!(verdict, Verdict::Fine, "at {now} s"),
            }
            if now == 10 {
                liveness.handle_progress(at(10));
            }
        }
        assert_eq!(probes, 8);
        assert_eq!(liveness.tick(&OPEN[..1], at(40)), Verdict::Late);
    }
}

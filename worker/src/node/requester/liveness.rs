//! Whether the stages of a running answer are still there.
//!
//! A stage that closes its connection is missed at once. One that is frozen (a laptop's lid closed,
//! a network gone without a word) is not: no token comes, and it does not answer a probe.

use std::time::Duration;

use potluck_protocol::id::NodeId;

/// What is known of the stages' being there.
#[derive(Debug)]
pub(super) struct Liveness {
    /// No token by then: the answer breaks off.
    deadline: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No token of this session yet: connections may still be opening.
    Opening,
    /// The stages are probed at this time, unless there is a token.
    Quiet { probe_at: Duration },
    /// They were probed, and these have not answered; they may until then.
    Probing { unanswered: Vec<NodeId>, until: Duration },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// Ask these stages whether they are there.
    Probe(Vec<NodeId>),
    /// Go on without this stage.
    Gone(NodeId),
    /// Go on elsewhere; nobody knows who is at fault.
    Late,
}

/// The longest a single step may take, connecting included: a slow swarm is slow, but a silent one
/// is broken.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(30);
/// The stages are probed so long after a token: a step of one row takes the slowest of them less.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// How long they may take to answer: they do so between two batches.
const PONG_TIMEOUT: Duration = Duration::from_secs(4);

impl Liveness {
    /// Of a session that begins.
    pub(super) fn new(now: Duration) -> Self {
        Self { deadline: now + STEP_TIMEOUT, state: State::Opening }
    }

    pub(super) fn handle_token(&mut self, now: Duration) {
        self.deadline = now + STEP_TIMEOUT;
        self.state = State::Quiet { probe_at: now + PROBE_AFTER };
    }

    pub(super) fn handle_pong(&mut self, from: NodeId) {
        if let State::Probing { unanswered, .. } = &mut self.state {
            unanswered.retain(|stage| *stage != from);
        }
    }

    /// `others`: the stages that are not this very node.
    pub(super) fn tick(&mut self, others: impl Iterator<Item = NodeId>, now: Duration) -> Verdict {
        match &self.state {
            State::Probing { unanswered, until } if now >= *until => {
                let gone = unanswered.first().copied();
                // If several are gone, the server may know of the others, or the next probe finds
                // out. If all are there, they are slow.
                self.state = State::Quiet { probe_at: now + PROBE_AFTER };
                if let Some(gone) = gone {
                    return Verdict::Gone(gone);
                }
            }
            State::Quiet { probe_at } if now >= *probe_at && now < self.deadline => {
                let stages: Vec<NodeId> = others.collect();
                let until = now + PONG_TIMEOUT;
                self.state = State::Probing { unanswered: stages.clone(), until };
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

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn stages_are_probed_after_a_token_and_the_silent_one_is_gone() {
        let mut liveness = Liveness::new(at(0));
        assert_eq!(liveness.tick([A, B].into_iter(), at(20)), Verdict::Fine, "still opening");
        liveness.handle_token(at(21));
        assert_eq!(liveness.tick([A, B].into_iter(), at(22)), Verdict::Fine);
        assert_eq!(liveness.tick([A, B].into_iter(), at(23)), Verdict::Probe(vec![A, B]));
        liveness.handle_pong(A);
        assert_eq!(liveness.tick([A, B].into_iter(), at(26)), Verdict::Fine);
        assert_eq!(liveness.tick([A, B].into_iter(), at(27)), Verdict::Gone(B));
    }

    #[test]
    fn stages_that_answer_are_probed_again_and_have_until_the_deadline() {
        let mut liveness = Liveness::new(at(0));
        liveness.handle_token(at(0));
        let mut probes = 0;
        for now in 1..30 {
            match liveness.tick([A].into_iter(), at(now)) {
                Verdict::Probe(_) => {
                    probes += 1;
                    liveness.handle_pong(A);
                }
                verdict => assert_eq!(verdict, Verdict::Fine, "at {now} s"),
            }
        }
        assert_eq!(probes, 5);
        assert_eq!(liveness.tick([A].into_iter(), at(30)), Verdict::Late);
    }
}

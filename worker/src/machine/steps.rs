//! Steps that wait for the engine, and which of them it takes together.
//!
//! While a batch is computed, others come in; what waits then goes into the next one, at most a
//! step of each session. Sessions take turns: one with a long prompt in many steps gets one of them
//! into each batch, beside everybody else's next token, and two such prompts alternate. How many
//! wait is bounded where they come in: by the window that each session has at a stage.

use std::collections::VecDeque;

use potluck_protocol::codec::MAX_ROWS;
use potluck_protocol::id::SessionId;

use crate::node::StepRequest;

/// All that wait, by session; whose turn it is comes first.
#[derive(Debug, Default)]
pub(super) struct Steps {
    turns: VecDeque<(SessionId, VecDeque<StepRequest>)>,
}

/// Rows of a batch at most: the longest step, and a token of every session that an engine has.
const BATCH_ROWS: usize = MAX_ROWS + potluck_engine::engine::MAX_SESSIONS;

impl Steps {
    pub(super) fn push(&mut self, step: StepRequest) {
        match self.turns.iter_mut().find(|(session, _)| *session == step.session) {
            Some((_, steps)) => steps.push_back(step),
            None => self.turns.push_back((step.session, VecDeque::from([step]))),
        }
    }

    /// The session is over: nobody wants its steps.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.turns.retain(|(waiting, _)| *waiting != session);
    }

    /// The engine is gone.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// What is computed next, together; nothing if nothing waits. Whoever is in it has had its
    /// turn.
    pub(super) fn next(&mut self) -> Vec<StepRequest> {
        let (mut batch, mut rows) = (Vec::new(), 0);
        let mut had_turn = VecDeque::new();
        self.turns.retain_mut(|(session, steps)| {
            let fits = steps
                .front()
                .is_some_and(|step| batch.is_empty() || rows + step.rows as usize <= BATCH_ROWS);
            let Some(step) = (if fits { steps.pop_front() } else { None }) else { return true };
            rows += step.rows as usize;
            batch.push(step);
            if !steps.is_empty() {
                had_turn.push_back((*session, std::mem::take(steps)));
            }
            false
        });
        self.turns.append(&mut had_turn);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::StepInput;

    fn step(session: u8, position: u32, rows: u32) -> StepRequest {
        let input = StepInput::Tokens(vec![1; rows as usize]);
        let session = SessionId([session; 16]);
        StepRequest { session, position, rows, input, sampling: None, seen: None }
    }

    /// Session and position of each.
    fn taken(steps: &mut Steps) -> Vec<(u8, u32)> {
        steps.next().into_iter().map(|step| (step.session.0[0], step.position)).collect()
    }

    #[test]
    fn a_batch_has_one_step_of_each_session_in_its_order() {
        let mut steps = Steps::default();
        for (session, position) in [(1, 0), (1, 1), (2, 7), (1, 2), (3, 9)] {
            steps.push(step(session, position, 1));
        }
        assert_eq!(taken(&mut steps), [(1, 0), (2, 7), (3, 9)]);
        assert_eq!(taken(&mut steps), [(1, 1)]);
        assert_eq!(taken(&mut steps), [(1, 2)]);
        assert!(steps.is_empty() && steps.next().is_empty());
    }

    #[test]
    fn long_prompts_alternate_and_nobody_waits_for_all_of_them() {
        let mut steps = Steps::default();
        for part in 0..3 {
            steps.push(step(1, part * 128, 128));
        }
        for part in 0..2 {
            steps.push(step(2, part * 128, 128));
        }
        steps.push(step(3, 40, 1));
        assert_eq!(taken(&mut steps), [(1, 0), (3, 40)]);
        steps.push(step(3, 41, 1));
        assert_eq!(taken(&mut steps), [(2, 0), (3, 41)]);
        assert_eq!(taken(&mut steps), [(1, 128)]);
        assert_eq!(taken(&mut steps), [(2, 128)]);
        assert_eq!(taken(&mut steps), [(1, 256)]);
    }

    #[test]
    fn steps_of_a_session_that_is_over_are_not_computed() {
        let mut steps = Steps::default();
        steps.push(step(1, 0, 128));
        steps.push(step(2, 0, 1));
        steps.forget(SessionId([1; 16]));
        assert_eq!(taken(&mut steps), [(2, 0)]);
    }
}

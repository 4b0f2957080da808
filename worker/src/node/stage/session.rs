//! One session that this node is a stage of, and what it accepts.

use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_model::package::ModelConfig;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::Session;

use super::work_log::WorkLog;
use crate::node::{StepInput, StepRequest};

/// One session.
#[derive(Debug)]
pub(super) struct StageSession {
    session: Session,
    /// This node's place among the stages.
    index: usize,
    config: ModelConfig,
    /// Position that the next step must start at.
    next_position: u32,
    /// Steps given to the engine and not back yet.
    in_flight: u32,
    log: WorkLog,
    last_frame: Duration,
}

/// A step breaks the rules. What the codec has seen to (counts, the largest position) is not looked
/// at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum StepFault {
    /// It comes from somebody else than the route says.
    #[error("it is not the one to send this")]
    Sender,
    /// Hidden rows for the first stage, or tokens for another one.
    #[error("tokens go to the first stage, hidden rows to the others")]
    Input,
    /// Hidden rows are not as wide as the model.
    #[error("it sent rows of the wrong shape")]
    Shape,
    /// A token is beyond the vocabulary.
    #[error("it sent a token that the model does not have")]
    Token,
    /// It does not start where the step before ended.
    #[error("it sent a step out of order")]
    Position,
    /// It ends behind the last position that the model has.
    #[error("it went past the model's context")]
    Context,
}

impl StageSession {
    /// Nothing computed yet; `index` is this node's place among the stages.
    pub(super) fn new(session: Session, index: usize, config: ModelConfig, now: Duration) -> Self {
        let stage = &session.stages[index];
        let log = WorkLog::new(&session, stage.node, stage.layers);
        Self { session, index, config, next_position: 0, in_flight: 0, log, last_frame: now }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn layers(&self) -> LayerRange {
        self.session.stages[self.index].layers
    }

    pub(super) fn requester(&self) -> NodeId {
        self.session.requester
    }

    /// Who sends to this stage.
    pub(super) fn previous(&self) -> NodeId {
        match self.index {
            0 => self.session.requester,
            index => self.session.stages[index - 1].node,
        }
    }

    /// Whom this stage sends to.
    pub(super) fn next(&self) -> NodeId {
        self.session.stages.get(self.index + 1).map_or(self.session.requester, |stage| stage.node)
    }

    pub(super) fn includes(&self, node: NodeId) -> bool {
        self.session.requester == node || self.session.stages.iter().any(|stage| stage.node == node)
    }

    /// True if the session cannot go on here without `peer`.
    pub(super) fn needs(&self, peer: NodeId) -> bool {
        [self.requester(), self.previous(), self.next()].contains(&peer)
    }

    pub(super) fn is_idle(&self, now: Duration, limit: Duration) -> bool {
        self.in_flight == 0 && now >= self.last_frame + limit
    }

    /// Takes a step to the engine, if it is the one to come.
    pub(super) fn accept(
        &mut self,
        from: NodeId,
        step: &StepRequest,
        now: Duration,
    ) -> Result<(), StepFault> {
        self.check(from, step)?;
        self.next_position += step.rows;
        self.in_flight += 1;
        self.last_frame = now;
        Ok(())
    }

    fn check(&self, from: NodeId, step: &StepRequest) -> Result<(), StepFault> {
        if from != self.previous() {
            return Err(StepFault::Sender);
        }
        match &step.input {
            StepInput::Tokens(_) if self.index != 0 => return Err(StepFault::Input),
            StepInput::Hidden(_) if self.index == 0 => return Err(StepFault::Input),
            StepInput::Tokens(tokens) => {
                if tokens.iter().any(|token| *token >= self.config.vocab) {
                    return Err(StepFault::Token);
                }
            }
            StepInput::Hidden(values) => {
                if values.len() != step.rows as usize * self.config.d_model as usize {
                    return Err(StepFault::Shape);
                }
            }
        }
        if step.position != self.next_position {
            return Err(StepFault::Position);
        }
        if step.position + step.rows > self.config.max_positions {
            return Err(StepFault::Context);
        }
        Ok(())
    }

    /// Writes a computed step down; returns the receipts that it completes.
    pub(super) fn record(&mut self, rows: u32, output: &Output) -> Vec<Receipt> {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.log.record(rows, output)
    }

    /// The last receipt, if there is work that is on none yet.
    pub(super) fn finish(&mut self) -> Option<Receipt> {
        self.log.finish()
    }
}

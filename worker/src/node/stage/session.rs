//! One session that this node is a stage of: what it accepts, and what has not left it yet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_model::package::ModelConfig;
use potluck_protocol::codec::HiddenHeader;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::Session;

use super::unsigned::Unsigned;
use super::work_log::WorkLog;
use crate::node::window::{ReceiveWindow, SendWindow, TooMuchRoom};
use crate::node::{StepInput, StepRequest};

/// One session.
#[derive(Debug)]
pub(super) struct StageSession {
    session: Session,
    /// This node's place among the stages.
    index: usize,
    config: ModelConfig,
    /// Of the session that it goes on with: the positions that are here, up to one of which it begins.
    /// None once its first step has come.
    begins_within: Option<u32>,
    /// Rows that came, and that may come. The next step must start where they end.
    incoming: ReceiveWindow,
    /// Rows that the next stage has, and has room for.
    outgoing: SendWindow,
    /// Computed, and without room at the next stage. Bounded by the window that they came through,
    /// which gives no room back for them meanwhile.
    unsent: VecDeque<(u32, PeerFrame)>,
    /// Steps given to the engine and not back yet.
    in_flight: u32,
    /// The tokens of the text, where the requester has told them and tokens are sampled here.
    seen: Option<Arc<BTreeSet<u32>>>,
    /// Steps that came before the tokens that they need, in order. Bounded by the window that they
    /// came through.
    held: VecDeque<StepRequest>,
    /// None if this work earns nothing: nobody is asked to sign for it then.
    log: Option<WorkLog>,
    unsigned: Unsigned,
    last_frame: Duration,
}

/// A step breaks the rules. What the codec has seen to (counts, the largest position) is not looked
/// at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum StepFault {
    /// It comes from somebody else than the route says.
    #[error("it is not the one to send this")]
    Sender,
    /// Hidden rows for the first layer, or tokens for another one.
    #[error("tokens go to the first layer, hidden rows to the others")]
    Input,
    /// Hidden rows are not as wide as the model.
    #[error("it sent rows of the wrong shape")]
    Shape,
    /// A token is beyond the vocabulary.
    #[error("it sent a token that the model does not have")]
    Token,
    /// The session's first rows are missing: they came too long before the server's message about
    /// it, or too many did, and were dropped; or what it goes on with is not kept any more. Nobody's
    /// fault, but the session is lost.
    #[error(
        "the rows before its first ones came too early, or are of an earlier session, and could not be kept"
    )]
    Beginning,
    /// It does not start where the step before ended.
    #[error("it sent a step out of order")]
    Position,
    /// It ends behind the last position that the model has.
    #[error("it went past the model's context")]
    Context,
    /// There are more rows than this stage has given room for.
    #[error("it sent more rows than there was room for")]
    Window,
    /// Tokens that a text has go to the stage that samples, once a session.
    #[error("it told a second time which tokens there are, or somebody who does not sample")]
    Seen,
}

/// What of a step is looked at before its values are.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepHead {
    pub(super) position: u32,
    pub(super) rows: u32,
    /// Values of the hidden rows together; none of tokens.
    pub(super) values: Option<u64>,
}

impl From<&HiddenHeader> for StepHead {
    fn from(header: &HiddenHeader) -> Self {
        Self {
            position: header.position,
            rows: header.rows,
            values: Some(u64::from(header.values)),
        }
    }
}

impl From<&StepRequest> for StepHead {
    fn from(step: &StepRequest) -> Self {
        let values = match &step.input {
            StepInput::Tokens(_) => None,
            StepInput::Hidden(values) => Some(values.len() as u64),
        };
        Self { position: step.position, rows: step.rows, values }
    }
}

impl StageSession {
    /// Nothing computed yet; `index` is this node's place among the stages. `earns`: the work goes
    /// on receipts. `kept`: the positions of an earlier session that it goes on with.
    pub(super) fn new(
        session: Session,
        earns: bool,
        index: usize,
        (config, kept): (ModelConfig, u32),
        now: Duration,
    ) -> Self {
        let stage = &session.stages[index];
        // Nobody is credited for what it asks itself, whatever the server says.
        let earns = earns && session.requester != stage.node;
        let log = earns.then(|| WorkLog::new(&session, stage.node, stage.layers));
        Self {
            session,
            index,
            config,
            begins_within: Some(kept),
            incoming: ReceiveWindow::new(),
            outgoing: SendWindow::new(),
            unsent: VecDeque::new(),
            in_flight: 0,
            seen: None,
            held: VecDeque::new(),
            log,
            unsigned: Unsigned::default(),
            last_frame: now,
        }
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

    /// The stage that this one sends its rows to; none after the last.
    fn next_stage(&self) -> Option<NodeId> {
        self.session.stages.get(self.index + 1).map(|stage| stage.node)
    }

    /// Who takes the rows that leave here: the next stage, or a requester that has the last layers
    /// itself. None where what leaves is tokens.
    pub(super) fn takes_rows(&self) -> Option<NodeId> {
        let is_last_layer = self.layers().end == self.config.layers;
        self.next_stage().or_else(|| (!is_last_layer).then_some(self.session.requester))
    }

    /// Whom this stage sends to.
    pub(super) fn next(&self) -> NodeId {
        self.next_stage().unwrap_or(self.session.requester)
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

    /// Takes a step to the engine, if it is the one to come. `is_reachable`: the connection to the
    /// requester is open.
    pub(super) fn accept(
        &mut self,
        from: NodeId,
        step: &StepRequest,
        is_reachable: bool,
        now: Duration,
    ) -> Result<(), StepFault> {
        self.check(from, step.into())?;
        if let StepInput::Tokens(tokens) = &step.input
            && tokens.iter().any(|token| *token >= self.config.vocab)
        {
            return Err(StepFault::Token);
        }
        if self.begins_within.take().is_some() {
            self.begin_at(step.position);
        }
        self.incoming.accept(step.rows);
        self.unsigned.accept(step.sampling.is_some(), self.incoming.accepted(), is_reachable);
        self.last_frame = now;
        Ok(())
    }

    /// The first step is here.
    fn begin_at(&mut self, position: u32) {
        self.incoming = ReceiveWindow::at(position);
        self.outgoing = SendWindow::at(position);
        if let Some(log) = &mut self.log {
            log.begin_at(position);
        }
    }

    /// Positions that are computed here, if nothing is under way: what can be kept.
    pub(super) fn settled(&self) -> Option<u32> {
        let is_settled = self.in_flight == 0 && self.unsent.is_empty() && self.held.is_empty();
        (is_settled && self.begins_within.is_none()).then(|| self.incoming.accepted())
    }

    /// A step that was accepted, on its way to the engine; kept if it needs to know the text's tokens
    /// and they have not come, or if one before it does.
    pub(super) fn begin(&mut self, mut step: StepRequest) -> Option<StepRequest> {
        let is_penalised = step.sampling.is_some_and(|sampling| sampling.minds_repetition());
        let needs_seen = is_penalised && self.takes_rows().is_none();
        if !self.held.is_empty() || (needs_seen && self.seen.is_none()) {
            self.held.push_back(step);
            return None;
        }
        step.seen = self.seen.clone().filter(|_| needs_seen);
        self.in_flight += 1;
        Some(step)
    }

    /// The requester tells which tokens the text has; the steps that waited for it.
    pub(super) fn see(
        &mut self,
        from: NodeId,
        tokens: Vec<u32>,
    ) -> Result<Vec<StepRequest>, StepFault> {
        if from != self.requester() {
            return Err(StepFault::Sender);
        }
        if self.takes_rows().is_some() || self.seen.is_some() {
            return Err(StepFault::Seen);
        }
        if tokens.iter().any(|token| *token >= self.config.vocab) {
            return Err(StepFault::Token);
        }
        self.seen = Some(Arc::new(tokens.into_iter().collect()));
        let held = std::mem::take(&mut self.held);
        Ok(held.into_iter().filter_map(|step| self.begin(step)).collect())
    }

    /// A token was sampled here, and is the text's next.
    pub(super) fn note_sampled(&mut self, token: u32) {
        if let Some(seen) = &mut self.seen {
            Arc::make_mut(seen).insert(token);
        }
    }

    /// Whether this is the step to come, as far as can be told without its values.
    pub(super) fn check(&self, from: NodeId, step: StepHead) -> Result<(), StepFault> {
        if from != self.previous() {
            return Err(StepFault::Sender);
        }
        // A requester that has the first layers itself sends rows.
        let takes_tokens = self.layers().first == 0;
        match step.values {
            None if !takes_tokens => return Err(StepFault::Input),
            Some(_) if takes_tokens => return Err(StepFault::Input),
            Some(values) if values != u64::from(step.rows) * u64::from(self.config.d_model) => {
                return Err(StepFault::Shape);
            }
            _ => {}
        }
        let next = match self.begins_within {
            Some(kept) if step.position > kept => return Err(StepFault::Beginning),
            Some(_) => step.position,
            None => self.incoming.accepted(),
        };
        if step.position != next {
            return Err(StepFault::Position);
        }
        let has_room = self.begins_within.is_some() || self.incoming.has_room(step.rows);
        if !has_room {
            return Err(StepFault::Window);
        }
        if step.rows > self.config.max_positions - next {
            return Err(StepFault::Context);
        }
        Ok(())
    }

    /// True if the requester leaves receipts unsigned that it could sign.
    pub(super) fn is_left_unsigned(&self) -> bool {
        self.unsigned.is_too_long(self.incoming.accepted())
    }

    /// The requester signed the receipt that ends there.
    pub(super) fn sign(&mut self, to_position: u32) {
        self.unsigned.sign(to_position);
    }

    /// Writes a computed step down; returns the receipts that it completes.
    pub(super) fn record(&mut self, rows: u32, output: &Output) -> Vec<Receipt> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let receipts = self.log.as_mut().map_or_else(Vec::new, |log| log.record(rows, output));
        for receipt in &receipts {
            self.unsigned.propose(receipt.to_position, self.incoming.accepted());
        }
        receipts
    }

    /// The last receipt, if there is work that is on none yet.
    pub(super) fn finish(&mut self) -> Option<Receipt> {
        self.log.as_mut()?.finish()
    }

    /// Hidden rows are computed, and leave when the next stage has room for them.
    pub(super) fn push(&mut self, rows: u32, frame: PeerFrame) {
        self.unsent.push_back((rows, frame));
    }

    /// What the next stage has room for, of what waits for it: a frame and its rows.
    pub(super) fn pop(&mut self) -> Option<(u32, PeerFrame)> {
        let (rows, _) = self.unsent.front()?;
        if self.outgoing.take(*rows) { self.unsent.pop_front() } else { None }
    }

    /// The next stage has room for more rows.
    pub(super) fn give(&mut self, rows: u32) -> Result<(), TooMuchRoom> {
        self.outgoing.give(rows)
    }

    /// Rows are gone from here; the room to be given back for now, if it is worth a frame.
    pub(super) fn leave(&mut self, rows: u32) -> Option<PeerFrame> {
        let rows = self.incoming.leave(rows)?;
        Some(PeerFrame::Window { session: self.session.id, rows })
    }
}

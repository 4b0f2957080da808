//! The own part of one session: tokens go into its first layers, and come out of its last.
//!
//! ```text
//! tokens -> own first layers -Hidden-> others' layers -Hidden-> own last layers -> token
//! tokens -> own layers, all of them -> token
//! ```
//! Others are told that a token is wanted, as they count on that, but not how it is drawn.

use std::collections::BTreeSet;
use std::sync::Arc;

use potluck_protocol::codec::HiddenHeader;
use potluck_protocol::id::SessionId;
use potluck_protocol::sampling::Sampling;

use super::engine::OwnEngine;
use super::parts::Parts;
use crate::node::context::Context;
use crate::node::window::ReceiveWindow;
use crate::node::{StepInput, StepRequest};

/// One session's.
#[derive(Debug)]
pub(in crate::node::requester) struct OwnSession {
    /// What the engine calls the session over the first layers, or over all.
    first: SessionId,
    /// And that over the last ones.
    last: Option<SessionId>,
    /// Values of a row.
    d_model: u32,
    /// Rows that came back from the others.
    incoming: ReceiveWindow,
    /// Steps that its engine has.
    in_flight: u32,
}

/// Rows that came back are not those that were to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowsFault {
    #[error("it sent rows of the wrong shape")]
    Shape,
    #[error("it sent rows that were not asked of it")]
    Position,
    #[error("it sent more rows than there was room for")]
    Window,
}

impl OwnSession {
    /// Opens the engine's sessions.
    pub(super) fn open(
        parts: &Parts,
        d_model: u32,
        engine: &mut OwnEngine,
        context: &mut Context,
    ) -> Self {
        let first = engine.open(parts.first, context);
        let last = parts.last.map(|layers| engine.open(layers, context));
        Self { first, last, d_model, incoming: ReceiveWindow::new(), in_flight: 0 }
    }

    /// Closes them.
    pub(in crate::node::requester) fn close(&self, context: &mut Context) {
        for session in [Some(self.first), self.last].into_iter().flatten() {
            OwnEngine::close(session, context);
        }
    }

    /// True if the engine calls one of its sessions so.
    pub(super) fn has(&self, session: SessionId) -> bool {
        self.first == session || self.last == Some(session)
    }

    /// True if others compute a part of it.
    pub(super) fn has_others(&self) -> bool {
        self.last.is_some()
    }

    /// True if this is the name of the session over the first of two parts.
    pub(super) fn is_before_others(&self, session: SessionId) -> bool {
        self.has_others() && self.first == session
    }

    pub(in crate::node::requester) fn is_computing(&self) -> bool {
        self.in_flight > 0
    }

    /// Computes tokens in the first layers. `seen`: the tokens of the text, if the sampling minds
    /// repetition.
    pub(in crate::node::requester) fn feed(
        &mut self,
        position: u32,
        tokens: Vec<u32>,
        sampling: Option<Sampling>,
        seen: Option<Arc<BTreeSet<u32>>>,
        context: &mut Context,
    ) {
        let rows = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let input = StepInput::Tokens(tokens);
        let session = self.first;
        self.compute(StepRequest { session, position, rows, input, sampling, seen }, context);
    }

    /// Whether these are the rows to come, of which `fed` were sent out.
    pub(super) fn check(&self, header: &HiddenHeader, fed: u32) -> Result<(), RowsFault> {
        let HiddenHeader { position, rows, values, .. } = *header;
        if u64::from(values) != u64::from(rows) * u64::from(self.d_model) {
            return Err(RowsFault::Shape);
        }
        if position != self.incoming.accepted() || rows > fed.saturating_sub(position) {
            return Err(RowsFault::Position);
        }
        if self.incoming.has_room(rows) { Ok(()) } else { Err(RowsFault::Window) }
    }

    /// Computes rows that came back, which were checked, in the last layers. `seen` as above.
    pub(super) fn take(
        &mut self,
        header: &HiddenHeader,
        values: Vec<i32>,
        sampling: Option<Sampling>,
        seen: Option<Arc<BTreeSet<u32>>>,
        context: &mut Context,
    ) {
        let Some(session) = self.last else { return };
        let HiddenHeader { position, rows, .. } = *header;
        self.incoming.accept(rows);
        let input = StepInput::Hidden(values);
        self.compute(StepRequest { session, position, rows, input, sampling, seen }, context);
    }

    fn compute(&mut self, step: StepRequest, context: &mut Context) {
        self.in_flight += 1;
        OwnEngine::compute(step, context);
    }

    /// A step came out of the engine.
    pub(super) fn handle_result(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Rows have left the last layers; the room to be given back to whoever sends them.
    pub(super) fn leave(&mut self, rows: u32) -> Option<u32> {
        self.incoming.leave(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_that_were_sent_out_are_taken_back_once_and_in_order() {
        let name = SessionId([1; 16]);
        let mut own = OwnSession {
            first: name,
            last: Some(SessionId([2; 16])),
            d_model: 4,
            incoming: ReceiveWindow::new(),
            in_flight: 0,
        };
        let rows = |position, rows, values| HiddenHeader { session: name, position, rows, values };
        assert_eq!(own.check(&rows(0, 2, 8), 2), Ok(()));
        assert_eq!(own.check(&rows(0, 2, 7), 2), Err(RowsFault::Shape));
        assert_eq!(own.check(&rows(0, 3, 12), 2), Err(RowsFault::Position), "more than were sent");
        assert_eq!(own.check(&rows(1, 1, 4), 2), Err(RowsFault::Position), "not the next");
        own.incoming.accept(2);
        assert_eq!(own.check(&rows(0, 2, 8), 4), Err(RowsFault::Position), "a second time");
        assert_eq!(own.check(&rows(2, 300, 1200), 400), Err(RowsFault::Window));
    }
}

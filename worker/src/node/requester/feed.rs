//! What a session has been given of its answer, and what it has given back.

use potluck_protocol::id::NodeId;
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::server::Session;

use super::answer::Answer;
use super::own::OwnSession;
use crate::node::context::Context;
use crate::node::window::{SendWindow, TooMuchRoom};

/// One session's.
#[derive(Debug)]
pub(super) struct Feed {
    window: SendWindow,
    start: u32,
    /// It has brought a token: whatever its stages computed was good for something.
    has_token: bool,
}

impl Feed {
    /// Of a session that begins at this position.
    pub(super) fn at(start: u32) -> Self {
        Self { window: SendWindow::at(start), start, has_token: false }
    }

    /// Where it begins: what comes before, its stages have.
    pub(super) fn start(&self) -> u32 {
        self.start
    }

    /// Where the next token stands that is fed.
    pub(super) fn fed(&self) -> u32 {
        self.window.sent()
    }

    pub(super) fn has_token(&self) -> bool {
        self.has_token
    }

    /// A token came. True if it is the session's first.
    pub(super) fn handle_token(&mut self) -> bool {
        !std::mem::replace(&mut self.has_token, true)
    }

    /// The first stage has room for more rows.
    pub(super) fn give(&mut self, rows: u32) -> Result<(), TooMuchRoom> {
        self.window.give(rows)
    }

    /// Feeds the first stage as much as it has room for, by way of this machine's own layers where
    /// those come first.
    pub(super) fn send(
        &mut self,
        session: &Session,
        answer: &Answer,
        mut own: Option<&mut OwnSession>,
        context: &mut Context,
    ) {
        let first: Option<NodeId> = session.stages.first().map(|stage| stage.node);
        while let Some(step) = answer.step(session.id, self.fed()) {
            let PeerFrame::Step { session, position, tokens, sampling } = step else { return };
            let rows = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
            if !self.window.take(rows) {
                return;
            }
            match (&mut own, first) {
                (Some(own), _) => own.feed(position, tokens, sampling, answer.seen(), context),
                (None, Some(first)) => {
                    let step = PeerFrame::Step { session, position, tokens, sampling };
                    context.send_peer(first, step);
                }
                (None, None) => return,
            }
        }
    }
}

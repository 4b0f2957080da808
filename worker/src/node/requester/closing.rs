//! The end of a session, and what comes after it: the last receipts.

use std::collections::HashMap;
use std::time::Duration;

use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::{Session, ToServer};

use super::feed::Feed;
use super::signing::Known;
use crate::node::context::Context;

/// Sessions that are over, kept a while to sign the last receipts, and what is signed already.
#[derive(Debug, Default)]
pub(super) struct ClosedSessions {
    closed: HashMap<SessionId, Closed>,
    /// Per session, running or over, and stage: the position up to which receipts are signed.
    signed_to: HashMap<(SessionId, NodeId), u32>,
}

#[derive(Debug)]
struct Closed {
    session: Session,
    /// Positions of the prompt.
    prompt: u32,
    /// Where it began.
    start: u32,
    /// Where what was fed ends.
    fed: u32,
    /// It brought a token.
    has_token: bool,
    /// Stages whose last receipt may still come: no stage has one for its own questions, and nobody
    /// signs without a token.
    awaited: Vec<NodeId>,
    /// How long a program stays for the last receipts, unless they are all signed before.
    stay_until: Duration,
    /// That time is not over.
    is_awaited: bool,
    /// How long receipts are signed at all.
    until: Duration,
}

/// How a session ends.
pub(super) struct SessionEnd<'a> {
    /// For people.
    pub(super) reason: &'a str,
    /// The node without which it could go on, if one is at fault.
    pub(super) failed_node: Option<NodeId>,
    /// The answer is whole, so all receipts will come.
    pub(super) is_whole: bool,
    /// Its stages keep what they computed.
    pub(super) keeps: bool,
}

/// How long the last receipts of an answer may take to come.
const RECEIPTS_GRACE: Duration = Duration::from_secs(20);
/// The same of a session that broke off, where nobody knows how many are still to come.
const BROKEN_GRACE: Duration = Duration::from_secs(1);

impl ClosedSessions {
    /// Lets every stage and the server know that a session is over, and stays ready to sign its
    /// last receipts.
    pub(super) fn close(
        &mut self,
        session: Session,
        prompt: u32,
        feed: &Feed,
        end: &SessionEnd<'_>,
        context: &mut Context,
    ) {
        let SessionEnd { reason, failed_node, is_whole, keeps } = *end;
        let id = session.id;
        if session.stages.is_empty() {
            return; // nobody else was in it, or knows of it
        }
        for stage in &session.stages {
            context.send_peer(stage.node, PeerFrame::End { session: id, keeps });
        }
        let reason = clip_reason(reason);
        context.send_server(&ToServer::EndSession { session: id, reason, failed_node, keeps });
        let now = context.now;
        let stay_until = now + if is_whole { RECEIPTS_GRACE } else { BROKEN_GRACE };
        let until = now + RECEIPTS_GRACE;
        let (start, fed, has_token) = (feed.start(), feed.fed(), feed.has_token());
        let stages = session.stages.iter().map(|stage| stage.node).filter(|_| has_token);
        let awaited = stages.filter(|node| *node != context.me).collect();
        let closed = Closed {
            session,
            prompt,
            start,
            fed,
            has_token,
            awaited,
            stay_until,
            is_awaited: true,
            until,
        };
        self.closed.insert(id, closed);
    }

    pub(super) fn known(&self, session: SessionId) -> Option<Known<'_>> {
        let closed = self.closed.get(&session)?;
        let Closed { session, prompt, start, fed, has_token, .. } = closed;
        let (start, fed) = (*start, *fed);
        Some(Known { session, start, fed, prompt: *prompt, has_token: *has_token })
    }

    /// True if `peer` is a stage of a session that is just over.
    pub(super) fn uses(&self, peer: NodeId) -> bool {
        let mut stages = self.closed.values().flat_map(|closed| &closed.session.stages);
        stages.any(|stage| stage.node == peer)
    }

    /// True, once, for the receipt that continues where the last one signed for this stage ended, the
    /// first at `start`.
    pub(super) fn continues(&mut self, receipt: &Receipt, start: u32) -> bool {
        let signed_to = self.signed_to.entry((receipt.session, receipt.stage)).or_insert(start);
        if *signed_to != receipt.from_position {
            return false;
        }
        *signed_to = receipt.to_position;
        true
    }

    /// True while a receipt may still come that is worth staying for.
    pub(super) fn expects_receipts(&self) -> bool {
        let is_unsigned = |closed: &Closed, stage: NodeId| {
            let signed_to = self.signed_to.get(&(closed.session.id, stage)).copied();
            signed_to.unwrap_or(0) < closed.fed
        };
        self.closed
            .values()
            .filter(|closed| closed.is_awaited)
            .any(|closed| closed.awaited.iter().any(|stage| is_unsigned(closed, *stage)))
    }

    /// A stage is done with a session: it has proposed all that it ever will.
    pub(super) fn handle_end(&mut self, from: NodeId, session: SessionId) {
        if let Some(closed) = self.closed.get_mut(&session) {
            closed.awaited.retain(|stage| *stage != from);
        }
    }

    pub(super) fn tick(&mut self, now: Duration) {
        for closed in self.closed.values_mut() {
            closed.is_awaited &= now < closed.stay_until;
        }
        let Self { closed, signed_to } = self;
        closed.retain(|id, closed| {
            let keep = now < closed.until;
            if !keep {
                signed_to.retain(|(session, _), _| session != id);
            }
            keep
        });
    }
}

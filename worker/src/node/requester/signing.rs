//! The requester's side of a receipt: it signs what is so, once the session has brought a token.
//!
//! A prompt's rows alone are worth nothing: stages that computed them and then bring no token, on
//! purpose or not, get no signature. What they propose until then is looked at and kept.

use potluck_protocol::codec::MAX_POSITIONS;
use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Purpose, Signature, verify};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt};
use potluck_protocol::server::Session;

use super::{Requester, Running};
use crate::node::context::Context;

/// What a requester knows of a session, enough to judge a receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) session: &'a Session,
    /// Where it begins.
    pub(super) start: u32,
    /// Where what was fed so far ends.
    pub(super) fed: u32,
    /// Positions of the prompt; a token is sampled after the last of them and after every later
    /// one.
    pub(super) prompt: u32,
    /// The session has brought a token.
    pub(super) has_token: bool,
}

/// Receipts of one stage that are kept unsigned at most: those of the longest prompt.
const MAX_KEPT: usize = (MAX_POSITIONS / RECEIPT_POSITIONS) as usize;

/// True if the receipt says nothing that the requester did not ask for: a stage of this session,
/// other than this very node, its layers, positions that were fed (the codec has seen to it that they
/// are few), no more tokens than were wanted. Whether the middle of a route computed *rightly* is
/// another matter.
fn is_plausible(receipt: &Receipt, from: NodeId, me: NodeId, known: Known<'_>) -> bool {
    let session = known.session;
    let is_last = session.stages.last().is_some_and(|stage| stage.node == receipt.stage);
    let first_sample = known.prompt.saturating_sub(1).max(receipt.from_position);
    let samples = if is_last { receipt.to_position.saturating_sub(first_sample) } else { 0 };
    receipt.session == session.id
        && receipt.model == session.model
        && receipt.stage == from
        && receipt.stage != me
        && receipt.requester == me
        && session.stages.iter().any(|stage| stage.node == from && stage.layers == receipt.layers)
        && receipt.to_position <= known.fed
        && receipt.sampled <= samples
}

impl Requester {
    /// A stage proposes a receipt.
    pub(in crate::node) fn handle_receipt(
        &mut self,
        from: NodeId,
        receipt: &Receipt,
        signature: &Signature,
        context: &mut Context,
    ) {
        let Some(known) = self.known(receipt.session) else {
            tracing::debug!("receipt for an unknown session");
            return;
        };
        let (has_token, start) = (known.has_token, known.start);
        let is_signed =
            || verify(receipt.stage, Purpose::Receipt, &receipt.signed_bytes(), signature);
        if !is_plausible(receipt, from, context.me, known)
            || !is_signed()
            || !self.closed.continues(receipt, start)
        {
            tracing::warn!(peer = %from.short(), "refused to sign a receipt");
        } else if has_token {
            sign(receipt, context);
        } else {
            self.keep(receipt);
        }
    }

    /// Keeps a receipt until its session brings a token. One that is over without a token never will.
    fn keep(&mut self, receipt: &Receipt) {
        let of_session = |running: &&mut Running| running.session.id == receipt.session;
        let Some(running) = self.running_mut().find(of_session) else { return };
        let of_stage = running.proposals.iter().filter(|kept| kept.stage == receipt.stage);
        if of_stage.count() < MAX_KEPT {
            running.proposals.push(receipt.clone());
        }
    }
}

/// Signs a receipt and lets its stage have it.
pub(super) fn sign(receipt: &Receipt, context: &mut Context) {
    let signature = receipt.sign(&context.identity);
    let signed = PeerFrame::ReceiptSigned { receipt: receipt.id(), signature };
    context.send_peer(receipt.stage, signed);
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, LayerRange, ModelId, SessionId};
    use potluck_protocol::server::Stage;

    use super::*;

    fn session(stage: NodeId, requester: NodeId) -> Session {
        let stages = vec![Stage { node: stage, layers: LayerRange { first: 0, end: 6 } }];
        Session {
            id: SessionId([1; 16]),
            model: ModelId([2; 32]),
            requester,
            stages,
            epochs: vec![Epoch(1), Epoch(2)],
            continues: None,
        }
    }

    #[test]
    fn a_requester_signs_only_what_it_saw() {
        let (stage, requester) = (NodeId([1; 32]), NodeId([2; 32]));
        let session = session(stage, requester);
        let receipt = Receipt {
            session: session.id,
            model: session.model,
            stage,
            requester,
            layers: session.stages[0].layers,
            sequence: 0,
            from_position: 0,
            to_position: 10,
            sampled: 1,
            output_hash: [5; 32],
        };
        let known = Known { session: &session, start: 0, fed: 10, prompt: 10, has_token: true };
        assert!(is_plausible(&receipt, stage, requester, known));
        assert!(!is_plausible(&receipt, stage, requester, Known { fed: 9, ..known }));
        assert!(!is_plausible(&receipt, stage, requester, Known { prompt: 11, ..known }));
        assert!(!is_plausible(&receipt, requester, requester, known));
        let own = Receipt { stage: requester, ..receipt.clone() };
        let asked_itself = Session {
            stages: vec![Stage { node: requester, layers: session.stages[0].layers }],
            ..session.clone()
        };
        let of_itself = Known { session: &asked_itself, ..known };
        assert!(!is_plausible(&own, requester, requester, of_itself), "nobody's own work");
        let other = Receipt { layers: LayerRange { first: 0, end: 5 }, ..receipt };
        assert!(!is_plausible(&other, stage, requester, known));
    }
}

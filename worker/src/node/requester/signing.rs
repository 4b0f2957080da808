//! The requester's side of a receipt: it signs what is so.

use potluck_protocol::id::NodeId;
use potluck_protocol::identity::{Purpose, Signature, verify};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::Receipt;
use potluck_protocol::server::Session;

use super::Requester;
use crate::node::context::Context;

/// What a requester knows of a session, enough to judge a receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) session: &'a Session,
    /// Positions fed so far.
    pub(super) fed: u32,
    /// Positions of the prompt; a token is sampled after the last of them and after every later
    /// one.
    pub(super) prompt: u32,
}

/// True if the receipt says nothing that the requester did not ask for: a stage of this session,
/// its layers, positions that were fed (the codec has seen to it that they are few), no more tokens
/// than were wanted. Whether the middle of a route computed *rightly* is another matter.
fn is_plausible(receipt: &Receipt, from: NodeId, me: NodeId, known: Known<'_>) -> bool {
    let session = known.session;
    let is_last = session.stages.last().is_some_and(|stage| stage.node == receipt.stage);
    let first_sample = known.prompt.saturating_sub(1).max(receipt.from_position);
    let samples = if is_last { receipt.to_position.saturating_sub(first_sample) } else { 0 };
    receipt.session == session.id
        && receipt.model == session.model
        && receipt.stage == from
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
        let is_signed =
            || verify(receipt.stage, Purpose::Receipt, &receipt.signed_bytes(), signature);
        if !is_plausible(receipt, from, context.me, known)
            || !is_signed()
            || !self.closed.continues(receipt)
        {
            tracing::warn!(peer = %from.short(), "refused to sign a receipt");
            return;
        }
        let signature = receipt.sign(&context.identity);
        let signed = PeerFrame::ReceiptSigned { receipt: receipt.id(), signature };
        context.send_peer(from, signed);
    }
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
        let known = Known { session: &session, fed: 10, prompt: 10 };
        assert!(is_plausible(&receipt, stage, requester, known));
        assert!(!is_plausible(&receipt, stage, requester, Known { fed: 9, ..known }));
        assert!(!is_plausible(&receipt, stage, requester, Known { prompt: 11, ..known }));
        assert!(!is_plausible(&receipt, requester, requester, known));
        let other = Receipt { layers: LayerRange { first: 0, end: 5 }, ..receipt };
        assert!(!is_plausible(&other, stage, requester, known));
    }
}

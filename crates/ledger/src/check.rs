//! Is a receipt true to its session, signed by both parties, and new?
//!
//! Whether the stage really computed what the receipt says cannot be seen from it; nothing checks
//! that yet.

use potluck_protocol::id::NodeId;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, SignedReceipt};
use potluck_protocol::server::Session;

/// How far a stage's credit in a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sequence number of the next receipt.
    pub next_sequence: u32,
    /// Position where the next receipt must start.
    pub next_position: u32,
}

/// Why a receipt is not credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of the two signatures does not hold.
    #[error("a signature does not hold")]
    Signature,
    /// It was handed in by another node than its stage.
    #[error("only its stage can hand in a receipt")]
    NotTheStage,
    /// It names another session, model or requester than the server opened.
    #[error("the session has another id, model or requester")]
    OtherSession,
    /// The stage had other layers in this session, or none.
    #[error("the stage does not compute these layers in the session")]
    NotItsLayers,
    /// Positions out of the model's context, none, or too many.
    #[error("the positions are out of range")]
    Positions,
    /// More sampled tokens than positions, or sampled tokens of a stage without the head.
    #[error("it claims sampled tokens that its stage did not sample")]
    Samples,
    /// It is not the next one of its stage in the session: replayed under another number, or one
    /// is missing before it.
    #[error("it is not the next receipt: expected number {expected}")]
    OutOfOrder {
        /// The number that is next.
        expected: u32,
    },
}

/// Checks a receipt, handed in by `from`, against the session the server opened and the credit
/// given so far.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(
    signed: &SignedReceipt,
    from: NodeId,
    session: &Session,
    model_layers: u32,
    max_positions: u32,
    progress: Progress,
) -> Result<(), Refusal> {
    let receipt = &signed.receipt;
    if receipt.stage != from {
        return Err(Refusal::NotTheStage);
    }
    if receipt.session != session.id
        || receipt.model != session.model
        || receipt.requester != session.requester
    {
        return Err(Refusal::OtherSession);
    }
    if !session
        .stages
        .iter()
        .any(|stage| stage.node == receipt.stage && stage.layers == receipt.layers)
    {
        return Err(Refusal::NotItsLayers);
    }
    let positions = receipt.positions();
    if positions == 0 || positions > RECEIPT_POSITIONS || receipt.to_position > max_positions {
        return Err(Refusal::Positions);
    }
    let has_head = receipt.layers.end == model_layers;
    if receipt.sampled > if has_head { positions } else { 0 } {
        return Err(Refusal::Samples);
    }
    if receipt.sequence != progress.next_sequence || receipt.from_position != progress.next_position
    {
        return Err(Refusal::OutOfOrder { expected: progress.next_sequence });
    }
    // Last, because it costs the most.
    if signed.is_signed_by_both() { Ok(()) } else { Err(Refusal::Signature) }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, LayerRange, ModelId, SessionId};
    use potluck_protocol::identity::Identity;
    use potluck_protocol::receipt::Receipt;
    use potluck_protocol::server::Stage;

    use super::*;

    const LAYERS: u32 = 6;
    const POSITIONS: u32 = 512;

    struct Case {
        stage: Identity,
        requester: Identity,
        session: Session,
        receipt: Receipt,
    }

    impl Case {
        fn new() -> Self {
            let (stage, requester) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
            let layers = LayerRange { first: 4, end: LAYERS };
            let stages = vec![
                Stage { node: NodeId([9; 32]), layers: LayerRange { first: 0, end: 4 } },
                Stage { node: stage.node(), layers },
            ];
            let session = Session {
                id: SessionId([3; 16]),
                model: ModelId([4; 32]),
                requester: requester.node(),
                stages,
                epochs: vec![Epoch(1), Epoch(2), Epoch(3)],
            };
            let receipt = Receipt {
                session: session.id,
                model: session.model,
                stage: stage.node(),
                requester: requester.node(),
                layers,
                sequence: 0,
                from_position: 0,
                to_position: 64,
                sampled: 10,
                output_hash: [0; 32],
            };
            Self { stage, requester, session, receipt }
        }

        fn verdict(&self, receipt: Receipt, progress: Progress) -> Result<(), Refusal> {
            let signed = SignedReceipt {
                stage_signature: receipt.sign(&self.stage),
                requester_signature: receipt.sign(&self.requester),
                receipt,
            };
            check(&signed, self.stage.node(), &self.session, LAYERS, POSITIONS, progress)
        }
    }

    #[test]
    fn an_honest_receipt_passes() {
        let case = Case::new();
        assert_eq!(case.verdict(case.receipt.clone(), Progress::default()), Ok(()));
    }

    #[test]
    fn every_lie_is_refused_though_both_signed_it() {
        let case = Case::new();
        type Lie = (fn(&mut Receipt), Refusal);
        let lies: [Lie; 8] = [
            (|r| r.session.0[0] ^= 1, Refusal::OtherSession),
            (|r| r.model.0[0] ^= 1, Refusal::OtherSession),
            (|r| r.requester.0[0] ^= 1, Refusal::OtherSession),
            (|r| r.layers.first = 0, Refusal::NotItsLayers),
            (|r| r.to_position = 65, Refusal::Positions),
            (|r| r.to_position = 0, Refusal::Positions),
            (|r| r.sampled = 65, Refusal::Samples),
            (|r| r.from_position = 1, Refusal::OutOfOrder { expected: 0 }),
        ];
        for (lie, refusal) in lies {
            let mut receipt = case.receipt.clone();
            lie(&mut receipt);
            assert_eq!(
                case.verdict(receipt.clone(), Progress::default()),
                Err(refusal),
                "{receipt:?}"
            );
        }
    }

    #[test]
    fn a_replayed_or_skipping_receipt_is_refused() {
        let case = Case::new();
        let after = Progress { next_sequence: 1, next_position: 64 };
        assert_eq!(
            case.verdict(case.receipt.clone(), after),
            Err(Refusal::OutOfOrder { expected: 1 })
        );
        let renumbered = Receipt { sequence: 1, ..case.receipt.clone() };
        assert_eq!(case.verdict(renumbered, after), Err(Refusal::OutOfOrder { expected: 1 }));
        let next = Receipt {
            sequence: 1,
            from_position: 64,
            to_position: 70,
            sampled: 6,
            ..case.receipt.clone()
        };
        assert_eq!(case.verdict(next, after), Ok(()));
    }

    #[test]
    fn past_the_context_is_refused() {
        let case = Case::new();
        let receipt =
            Receipt { sequence: 8, from_position: 500, to_position: 513, ..case.receipt.clone() };
        let progress = Progress { next_sequence: 8, next_position: 500 };
        assert_eq!(case.verdict(receipt, progress), Err(Refusal::Positions));
    }

    #[test]
    fn one_signature_is_not_enough() {
        let case = Case::new();
        let forged = SignedReceipt {
            stage_signature: case.receipt.sign(&case.stage),
            requester_signature: case.receipt.sign(&case.stage),
            receipt: case.receipt.clone(),
        };
        let verdict = check(
            &forged,
            case.stage.node(),
            &case.session,
            LAYERS,
            POSITIONS,
            Progress::default(),
        );
        assert_eq!(verdict, Err(Refusal::Signature));
    }

    #[test]
    fn only_the_stage_hands_in_its_receipt() {
        let case = Case::new();
        let signed = SignedReceipt {
            stage_signature: case.receipt.sign(&case.stage),
            requester_signature: case.receipt.sign(&case.requester),
            receipt: case.receipt.clone(),
        };
        let verdict = check(
            &signed,
            case.requester.node(),
            &case.session,
            LAYERS,
            POSITIONS,
            Progress::default(),
        );
        assert_eq!(verdict, Err(Refusal::NotTheStage));
    }
}

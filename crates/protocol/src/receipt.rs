//! Receipts: what a stage computed for a requester, signed by both.
//!
//! A receipt states *where* work was done (session, layers, positions), never how much: the server
//! computes the multiply-accumulates from the model's manifest.

use serde::{Deserialize, Serialize};

use crate::id::{LayerRange, ModelId, NodeId, SessionId};
use crate::identity::{Identity, Purpose, Signature, verify};

/// A stage's work on positions `from_position..to_position` of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The session, as the server named it.
    pub session: SessionId,
    /// The model computed.
    pub model: ModelId,
    /// The node that computed.
    pub stage: NodeId,
    /// The node that asked.
    pub requester: NodeId,
    /// The stage's layers in this session.
    pub layers: LayerRange,
    /// 0 for the session's first receipt of this stage and layers, then 1, 2, …
    pub sequence: u32,
    /// First position of the work.
    pub from_position: u32,
    /// One past the last position.
    pub to_position: u32,
    /// How many of the positions also ran the head and sampled a token. Only the last stage
    /// has any.
    pub sampled: u32,
    /// BLAKE3 of the stage's outputs for these positions, in order: the `i32` values of every row
    /// in little endian; on the last stage, the `u32` of every token sampled.
    pub output_hash: [u8; 32],
}

/// BLAKE3 of a receipt's signed bytes; what the ledger files it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReceiptId(pub [u8; 32]);

/// A receipt that both parties signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// What both signed.
    pub receipt: Receipt,
    /// The stage's signature over [`Receipt::signed_bytes`].
    pub stage_signature: Signature,
    /// The requester's signature over the same bytes.
    pub requester_signature: Signature,
}

/// Positions that a receipt covers at most. A stage proposes one each time it has this many, and
/// one at the end.
///
/// 64 keeps what a crash can lose small (a few seconds of work) and signatures rare (one in 64
/// tokens).
pub const RECEIPT_POSITIONS: u32 = 64;

impl Receipt {
    /// The bytes that are signed: the receipt in the crate's one encoding.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        crate::encoding::encode(self)
    }

    /// The name the ledger files it under.
    #[must_use]
    pub fn id(&self) -> ReceiptId {
        ReceiptId(*blake3::hash(&self.signed_bytes()).as_bytes())
    }

    /// Signs as stage or as requester.
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Signature {
        identity.sign(Purpose::Receipt, &self.signed_bytes())
    }

    /// How many positions it covers; 0 if its bounds are the wrong way round.
    #[must_use]
    pub fn positions(&self) -> u32 {
        self.to_position.saturating_sub(self.from_position)
    }
}

impl SignedReceipt {
    /// True if both signatures hold.
    #[must_use]
    pub fn is_signed_by_both(&self) -> bool {
        let bytes = self.receipt.signed_bytes();
        verify(self.receipt.stage, Purpose::Receipt, &bytes, &self.stage_signature)
            && verify(self.receipt.requester, Purpose::Receipt, &bytes, &self.requester_signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_field_breaks_the_signatures() {
        let (stage, requester) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let receipt = Receipt {
            session: SessionId([3; 16]),
            model: ModelId([4; 32]),
            stage: stage.node(),
            requester: requester.node(),
            layers: LayerRange { first: 0, end: 2 },
            sequence: 0,
            from_position: 0,
            to_position: 64,
            sampled: 0,
            output_hash: [5; 32],
        };
        let signed = SignedReceipt {
            stage_signature: receipt.sign(&stage),
            requester_signature: receipt.sign(&requester),
            receipt,
        };
        assert!(signed.is_signed_by_both());
        let changes: [fn(&mut Receipt); 7] = [
            |r| r.session.0[0] ^= 1,
            |r| r.model.0[0] ^= 1,
            |r| r.layers.end += 1,
            |r| r.sequence += 1,
            |r| r.to_position += 1,
            |r| r.sampled += 1,
            |r| r.output_hash[31] ^= 1,
        ];
        for change in changes {
            let mut forged = signed.clone();
            change(&mut forged.receipt);
            assert!(!forged.is_signed_by_both(), "{:?}", forged.receipt);
            assert_ne!(forged.receipt.id(), signed.receipt.id());
        }
    }
}

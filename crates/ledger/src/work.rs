//! What a receipt is worth: multiply-accumulates from the model's shape and the positions computed.
//! Integers throughout, so that it is the same everywhere.

use potluck_protocol::receipt::Receipt;

/// The shape of a model, as far as work goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkModel {
    /// Multiply-accumulates of one layer's matrices for one token.
    pub linear_macs_per_layer: u64,
    /// Multiply-accumulates of one layer's attention for each position that a token sees, itself
    /// included.
    pub attention_macs_per_seen_position: u64,
    /// Multiply-accumulates of the head for one token.
    pub head_macs: u64,
}

impl WorkModel {
    /// Multiply-accumulates of a receipt. Saturates, which no receipt within the protocol's limits
    /// comes near.
    #[must_use]
    pub fn macs(&self, receipt: &Receipt) -> u64 {
        let positions = u64::from(receipt.positions());
        let (from, to) = (u64::from(receipt.from_position), u64::from(receipt.to_position));
        // Σ (p + 1) for p in from..to.
        let seen = (to * (to + 1) - from * (from + 1)) / 2;
        let layer = self
            .linear_macs_per_layer
            .saturating_mul(positions)
            .saturating_add(self.attention_macs_per_seen_position.saturating_mul(seen));
        layer
            .saturating_mul(u64::from(receipt.layers.len()))
            .saturating_add(self.head_macs.saturating_mul(u64::from(receipt.sampled)))
    }
}

/// Multiply-accumulates as GMAC (10^9), to six places, cut off; by integer arithmetic, so that it
/// reads the same everywhere.
#[must_use]
pub fn format_gmac(macs: u64) -> String {
    format!("{}.{:06}", macs / 1_000_000_000, macs % 1_000_000_000 / 1_000)
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{LayerRange, ModelId, NodeId, SessionId};
    use proptest::prelude::*;

    use super::*;

    const MODEL: WorkModel = WorkModel {
        linear_macs_per_layer: 1_000,
        attention_macs_per_seen_position: 10,
        head_macs: 500,
    };

    fn receipt(from_position: u32, to_position: u32, layers: u32, sampled: u32) -> Receipt {
        Receipt {
            session: SessionId([0; 16]),
            model: ModelId([0; 32]),
            stage: NodeId([0; 32]),
            requester: NodeId([0; 32]),
            layers: LayerRange { first: 0, end: layers },
            sequence: 0,
            from_position,
            to_position,
            sampled,
            output_hash: [0; 32],
        }
    }

    #[test]
    fn work_depends_on_the_position() {
        assert_eq!(MODEL.macs(&receipt(0, 1, 1, 0)), 1_010);
        assert_eq!(MODEL.macs(&receipt(2, 4, 2, 1)), 2 * (2_000 + 30 + 40) + 500);
    }

    #[test]
    fn gmac_is_exact() {
        assert_eq!(format_gmac(0), "0.000000");
        assert_eq!(format_gmac(1_234_567_890), "1.234567");
        assert_eq!(format_gmac(999), "0.000000");
    }

    proptest! {
        #[test]
        fn cutting_work_into_receipts_changes_nothing(
            from in 0_u32..400,
            cut in 1_u32..60,
            rest in 1_u32..60,
        ) {
            let whole = MODEL.macs(&receipt(from, from + cut + rest, 3, 0));
            let parts = MODEL.macs(&receipt(from, from + cut, 3, 0))
                + MODEL.macs(&receipt(from + cut, from + cut + rest, 3, 0));
            prop_assert_eq!(whole, parts);
        }
    }
}

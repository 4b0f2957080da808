//! What a receipt is worth: multiply-accumulates from the model's shape and the positions computed.
//! Integers throughout, so that it is the same everywhere.

use potluck_protocol::receipt::Receipt;

/// The shape of a model, as far as work goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkModel {
    /// Multiply-accumulates of one layer's matrices for one token.
    pub linear_macs_per_layer: u64,
    /// Multiply-accumulates of one layer's attention for each position that a token sees, itself
    /// included.
    pub attention_macs_per_seen_position: u64,
    /// Positions that a token sees at most in each layer; none: all before it. Layers that are not
    /// listed see all.
    pub windows: Vec<Option<u32>>,
    /// Multiply-accumulates of the head for one token.
    pub head_macs: u64,
}

impl WorkModel {
    /// Multiply-accumulates of a receipt. Saturates, which no receipt within the protocol's limits
    /// comes near.
    #[must_use]
    pub fn macs(&self, receipt: &Receipt) -> u64 {
        let (positions, layers) = (u64::from(receipt.positions()), u64::from(receipt.layers.len()));
        let linear = self.linear_macs_per_layer.saturating_mul(positions).saturating_mul(layers);
        let (first, end) = (receipt.layers.first as usize, receipt.layers.end as usize);
        let listed = self.windows.get(first..end.min(self.windows.len())).unwrap_or_default();
        let unlisted = layers - listed.len() as u64;
        let seen = listed
            .iter()
            .map(|window| seen(receipt, *window))
            .fold(unlisted.saturating_mul(seen(receipt, None)), u64::saturating_add);
        linear
            .saturating_add(self.attention_macs_per_seen_position.saturating_mul(seen))
            .saturating_add(self.head_macs.saturating_mul(u64::from(receipt.sampled)))
    }
}

/// Σ min(p + 1, window) over the receipt's positions p.
fn seen(receipt: &Receipt, window: Option<u32>) -> u64 {
    let (from, to) = (u64::from(receipt.from_position), u64::from(receipt.to_position));
    // From here on the window is full.
    let full = window.map_or(to, u64::from).min(to).max(from);
    let rising = (full * (full + 1) - from * (from + 1)) / 2;
    rising + to.saturating_sub(full) * window.map_or(0, u64::from)
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
        windows: Vec::new(),
        head_macs: 500,
    };

    /// The same whose second layer sees 70 positions.
    fn sliding() -> WorkModel {
        WorkModel { windows: vec![None, Some(70), None], ..MODEL }
    }

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
    fn a_window_is_all_that_counts_of_what_is_before_it() {
        let model = sliding();
        assert_eq!(model.macs(&receipt(0, 70, 3, 0)), MODEL.macs(&receipt(0, 70, 3, 0)));
        // Positions 69 to 71: 70, 70 and 70 seen instead of 70, 71 and 72.
        assert_eq!(model.macs(&receipt(69, 72, 1, 0)), 3_000 + 10 * (70 + 71 + 72));
        assert_eq!(model.macs(&receipt(69, 72, 2, 0)), 6_000 + 10 * (70 + 71 + 72 + 3 * 70));
        let second = LayerRange { first: 1, end: 2 };
        let alone = Receipt { layers: second, ..receipt(400, 402, 3, 0) };
        assert_eq!(model.macs(&alone), 2_000 + 10 * 2 * 70);
        // Layers that no model has are for whoever checks the ticket; they cost no panic.
        let beyond = Receipt { layers: LayerRange { first: 7, end: 9 }, ..alone };
        assert_eq!(model.macs(&beyond), 2 * (2_000 + 10 * (401 + 402)));
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
            for model in [MODEL, sliding()] {
                let whole = model.macs(&receipt(from, from + cut + rest, 3, 0));
                let parts = model.macs(&receipt(from, from + cut, 3, 0))
                    + model.macs(&receipt(from + cut, from + cut + rest, 3, 0));
                prop_assert_eq!(whole, parts);
            }
        }
    }
}

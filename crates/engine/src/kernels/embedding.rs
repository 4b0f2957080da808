//! Tokens to residual rows (`docs/numerics.md`, "Embedding"): `x_j = rescale(w_j · g · m, we + F)`, `[tokens] -> [tokens, d_model]`.

use crate::package::{GROUP, Linear};

use super::block::rescale;

/// The residual rows of `tokens`, each below the vocabulary's size; `fraction_bits` is `F`.
#[must_use]
pub fn reference(weights: &Linear, fraction_bits: i32, tokens: &[u32]) -> Vec<i32> {
    let groups = weights.columns / GROUP;
    let mut rows = Vec::with_capacity(tokens.len() * weights.columns);
    for token in tokens {
        let row = *token as usize;
        let multiplier = i32::from(weights.row_multipliers[row]);
        for k in 0..weights.columns {
            let weight = i32::from(weights.weights[row * weights.columns + k]);
            let scale = i32::from(weights.group_scales[row * groups + k / GROUP]);
            rows.push(rescale(weight * scale * multiplier, weights.exponent + fraction_bits));
        }
    }
    rows
}

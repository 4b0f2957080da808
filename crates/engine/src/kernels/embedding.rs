//! Tokens to residual rows (`docs/numerics.md`, "Embedding"): `x_j = rescale(w_j · g · m, we + F)`,
//! `[tokens] -> [tokens, d_model]`.

use potluck_model::package::{GROUP, Linear};

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
            let weight = weights.weight(row * weights.columns + k);
            let scale = i32::from(weights.group_scales[row * groups + k / GROUP]);
            rows.push(rescale(weight * scale * multiplier, weights.exponent + fraction_bits));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::value;
    use potluck_model::synthetic::{Random, linear};

    #[test]
    fn rows_are_weights_with_the_residuals_fraction_bits() {
        let weights = linear(&mut Random::new(3), 9, 64, -30);
        let tokens = [8, 0, 8];
        let rows = reference(&weights, 14, &tokens);
        assert_eq!(rows.len(), 3 * 64);
        assert_eq!(rows[..64], rows[128..]);
        for (token, row) in tokens.iter().zip(rows.chunks_exact(64)) {
            let at = *token as usize;
            for (k, x) in row.iter().enumerate() {
                let scale = i32::from(weights.group_scales[at * 2 + k / 32])
                    * i32::from(weights.row_multipliers[at]);
                let expected = value(i32::from(weights.weights[at * 64 + k]) * scale, -30);
                assert!((value(*x, -14) - expected).abs() <= value(1, -15), "token {token}, {k}");
            }
        }
    }
}

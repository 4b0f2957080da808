//! `y + b` for a row of a matrix's outputs (`docs/numerics.md`, "Bias"): `[out]` with exponent `ey`
//! to `[out]` with another.
//!
//! The coarser of the two decides, but a bias may grow by four bits first: its 24 bits have room
//! for that, and the outputs keep theirs.

use potluck_model::package::Bias;

use super::block::rescale;

/// Bits by which a bias's mantissas may grow.
const HEADROOM: i32 = 4;

/// Adds `bias` to `y`, whose exponent is `exponent`, in place; returns the sum's exponent.
#[inline(always)]
pub fn reference(bias: &Bias, y: &mut [i32], exponent: i32) -> i32 {
    let common = exponent.max(bias.exponent - HEADROOM);
    for (y, bias_mantissa) in y.iter_mut().zip(&bias.mantissas) {
        let bias = rescale(*bias_mantissa, bias.exponent - common);
        *y = rescale(*y, exponent - common).wrapping_add(bias);
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, value};
    use potluck_model::synthetic::Random;

    #[test]
    fn it_is_the_sum() {
        let mut random = Random::new(12);
        let bias = Bias { mantissas: numbers(&mut random, 64, 24), exponent: -22 };
        for exponent in [-60, -40, -30, -26, -22, -10, 0] {
            let y = numbers(&mut random, 64, 28);
            let mut sums = y.clone();
            let e = reference(&bias, &mut sums, exponent);
            for ((y, bias), sum) in y.iter().zip(&bias.mantissas).zip(&sums) {
                let expected = value(*y, exponent) + value(*bias, -22);
                assert!(
                    (value(*sum, e) - expected).abs() <= value(1, e),
                    "{exponent}: {sum} for {expected}"
                );
            }
        }
    }
}

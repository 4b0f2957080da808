//! `LayerNorm` of a residual row (`docs/numerics.md`, "LayerNorm"): of encoders `[width] -> [width]`, both
//! with exponent `-F`, of decoders `[width] -> ([width], exponent)`.
//!
//! The row less its mean, then what RMSNorm does before it cuts a block, then the bias. Most encoders
//! normalise the residual stream itself, so nothing is cut to 14 bits there; where a norm is before
//! attention or an MLP, as in decoders, [`block`] gives what they read.

use potluck_model::package::{Bias, Eps, Gain, Tables};

use super::block::{bits, fit, rescale};
use super::{bias, rms_norm};

/// Bits of a sum of the row's values.
const SUM_BITS: i32 = 30;

/// Normalises one row in place; `eps` is already times the width, and `gain` times its root.
#[inline(always)]
pub fn reference(
    eps: Eps,
    tables: &Tables,
    (gain, shift): (&Gain, &Bias),
    x: &mut [i32],
    exponent: i32,
) {
    let (y, e) = wide(eps, tables, (gain, shift), x, exponent);
    for (x, y) in x.iter_mut().zip(&y) {
        *x = rescale(*y, e - exponent);
    }
}

/// Normalises one row into a block.
#[must_use]
#[inline(always)]
pub fn block(
    eps: Eps,
    tables: &Tables,
    norm: (&Gain, &Bias),
    x: &[i32],
    exponent: i32,
) -> (Vec<i32>, i32) {
    let mut x = x.to_vec();
    let (mut y, e) = wide(eps, tables, norm, &mut x, exponent);
    let n = fit(&mut y);
    (y, e + n)
}

/// The normalised row, with as many bits as there are; of `x` the centred row is left.
#[inline(always)]
fn wide(
    eps: Eps,
    tables: &Tables,
    (gain, shift): (&Gain, &Bias),
    x: &mut [i32],
    exponent: i32,
) -> (Vec<i32>, i32) {
    centre(x);
    let (mut y, e) = rms_norm::wide(eps, tables, gain, x, exponent);
    let e = bias::reference(shift, &mut y, e);
    (y, e)
}

/// Takes the mean off a row, rounded half up to the last place that lets the sum fit 30 bits.
#[inline(always)]
fn centre(x: &mut [i32]) {
    let width = i32::try_from(x.len()).unwrap_or(i32::MAX);
    let largest = bits(x.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0));
    let n = (largest + bits(width.unsigned_abs()) - SUM_BITS).max(0);
    let sum = x.iter().fold(0_i32, |sum, x| sum.wrapping_add(rescale(*x, -n)));
    let mean = rescale(sum.wrapping_add(width / 2).div_euclid(width), n);
    for x in x {
        *x = x.wrapping_sub(mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    #[test]
    fn it_is_the_row_less_its_mean_over_its_deviation_times_gain_plus_bias() {
        let tables = tables(&config(1, 384, 32, (1, 1, 32), 32, 1));
        let mut random = Random::new(6);
        let eps = Eps { mantissa: 1 << 23, exponent: -60 };
        let gain = Gain {
            mantissas: (0..384)
                .map(|_| i16::try_from(random.within(-16_384, 16_384)).unwrap())
                .collect(),
            exponent: -10,
            bias: None,
        };
        let shift = Bias { mantissas: numbers(&mut random, 384, 23), exponent: -23 };
        for (magnitude, middle) in [(12, 0), (18, 90_000), (26, -5_000_000), (28, 0)] {
            let mut row: Vec<i32> =
                numbers(&mut random, 384, magnitude).iter().map(|x| x + middle).collect();
            let real: Vec<f64> = row.iter().map(|x| value(*x, -14)).collect();
            let mean = real.iter().sum::<f64>() / 384.0;
            let squares: f64 = real.iter().map(|x| (x - mean) * (x - mean)).sum();
            let root = (squares + f64::from(1 << 23) * (-60.0_f64).exp2()).sqrt();
            let (block, e) = block(eps, &tables, (&gain, &shift), &row, -14);
            let largest = value(block.iter().map(|m| m.abs()).max().unwrap(), e);
            reference(eps, &tables, (&gain, &shift), &mut row, -14);
            for (at, (got, x)) in row.iter().zip(&real).enumerate() {
                let gained = (x - mean) / root * value(i32::from(gain.mantissas[at]), -10);
                let expected = gained + value(shift.mantissas[at], -23);
                assert!(
                    (value(*got, -14) - expected).abs() < 4e-4 + gained.abs() * 1e-4,
                    "{magnitude}, {at}: {got}, {expected}"
                );
                let off = (value(block[at], e) - expected).abs();
                assert!(off <= largest * 2e-4, "{magnitude}, {at}: {off} of {largest}");
            }
        }
    }

    #[test]
    fn a_row_of_equals_becomes_the_bias() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let gain = Gain { mantissas: vec![16_384; 32], exponent: -12, bias: None };
        let shift = Bias { mantissas: vec![1 << 20; 32], exponent: -20 };
        let mut row = vec![12_345; 32];
        reference(
            Eps { mantissa: 1 << 23, exponent: -60 },
            &tables,
            (&gain, &shift),
            &mut row,
            -14,
        );
        assert_eq!(row, [1 << 14; 32]);
    }
}

//! RMSNorm of a row into a block (`docs/numerics.md`, "RMSNorm"): `[width] -> ([width], exponent)`.
//!
//! The row is one of the residual stream, whose exponent is `-F`, or a query or key head of a model
//! that normalises these.
//!
//! The sum of squares takes 14-bit values (its error is common to the row); the row itself keeps 24
//! bits until the gain is in, because real models have single channels a thousand times larger than
//! the rest.

use potluck_model::package::{Eps, Gain, Tables};

use super::block::{MANTISSA_BITS, MANTISSA_MAX, bits, fit, fit_shift, mul_shift, rescale, rsqrt};

/// Normalises one row with exponent `exponent`; `eps` is already times the width, and `gain` times
/// its root.
#[must_use]
#[inline(always)]
pub fn reference(
    eps: Eps,
    tables: &Tables,
    gain: &Gain,
    x: &[i32],
    exponent: i32,
) -> (Vec<i32>, i32) {
    let (mut z, exponent) = wide(eps, tables, gain, x, exponent);
    let n = fit(&mut z);
    (z, exponent + n)
}

/// The same before it becomes a block: values of 24 bits.
#[must_use]
#[inline(always)]
pub fn wide(eps: Eps, tables: &Tables, gain: &Gain, x: &[i32], exponent: i32) -> (Vec<i32>, i32) {
    let n = fit_shift(x);
    let mut squares = 0_u64;
    for value in x {
        let xs = rescale(*value, -n).clamp(-MANTISSA_MAX, MANTISSA_MAX);
        squares += u64::from((xs * xs).unsigned_abs());
    }
    let shift = eps.exponent - 2 * (exponent + n);
    let eps = if shift >= 0 {
        u64::from(eps.mantissa) << shift.min(39)
    } else {
        u64::from(eps.mantissa) >> (-shift).min(63)
    };
    let (r, re) = rsqrt(tables, (squares + eps).max(1));

    let k = bits(x.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0)) - WIDE_BITS;
    let z = x
        .iter()
        .zip(&gain.mantissas)
        .map(|(value, gain)| {
            let wide = rescale(*value, -k).clamp(-WIDE_MAX, WIDE_MAX);
            let product = mul_shift(mul_shift(wide, r, 16), u32::from(gain.unsigned_abs()), 14);
            if *gain < 0 { product.wrapping_neg() } else { product }
        })
        .collect();
    (z, k - n + re + 30 + gain.exponent)
}

/// Bits of a row between the norm and its gain.
const WIDE_BITS: i32 = MANTISSA_BITS + 10;
const WIDE_MAX: i32 = (1 << WIDE_BITS) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    fn gain(random: &mut Random) -> Gain {
        Gain {
            mantissas: (0..192)
                .map(|_| i16::try_from(random.within(-16_384, 16_384)).unwrap())
                .collect(),
            exponent: -10,
            bias: None,
        }
    }

    #[test]
    fn it_is_the_row_over_its_root_mean_square_times_the_gain() {
        let config = config(1, 192, 32, (1, 1, 32), 32, 1);
        let tables = tables(&config);
        let mut random = Random::new(6);
        for bits in [9, 14, 20, 26, 30] {
            let gain = gain(&mut random);
            let mut x = numbers(&mut random, 192, bits);
            // One channel far above the others, as real models have.
            x[77] = (1 << bits) - 1;
            let (row, e) = reference(config.eps(), &tables, &gain, &x, -14);
            let eps = f64::from(config.eps_mantissa) * f64::from(config.eps_exponent).exp2();
            let square: f64 = x.iter().map(|x| value(*x, -14).powi(2)).sum();
            let scale = 1.0 / (square + eps).sqrt();
            let largest = row.iter().map(|m| m.abs()).max().unwrap();
            for ((x, gain), m) in x.iter().zip(&gain.mantissas).zip(&row) {
                let expected = value(*x, -14) * scale * value(i32::from(*gain), -10);
                let got = value(*m, e);
                assert!(
                    (got - expected).abs() <= value(largest, e) * 2e-4,
                    "{bits} bits: {got} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_row_may_have_any_exponent() {
        let config = config(1, 192, 32, (1, 1, 32), 32, 1);
        let tables = tables(&config);
        let mut random = Random::new(9);
        let (gain, x) = (gain(&mut random), numbers(&mut random, 192, 20));
        // So large or small that epsilon is nothing, or all.
        for exponent in [-200, -60, -30, -20, 0, 40, 200] {
            let (row, e) = reference(config.eps(), &tables, &gain, &x, exponent);
            let eps = f64::from(config.eps_mantissa) * f64::from(config.eps_exponent).exp2();
            let square: f64 = x.iter().map(|x| value(*x, exponent).powi(2)).sum();
            // Where epsilon is 40 bits above the squares, the sum keeps those.
            let scale =
                1.0 / (square + eps.min(value(1, 0) * square * f64::from(34).exp2())).sqrt();
            if exponent > -30 {
                let largest = row.iter().map(|m| m.abs()).max().unwrap();
                for ((x, gain), m) in x.iter().zip(&gain.mantissas).zip(&row) {
                    let expected = value(*x, exponent) * scale * value(i32::from(*gain), -10);
                    assert!(
                        (value(*m, e) - expected).abs() <= value(largest, e) * 2e-4,
                        "{exponent}"
                    );
                }
            }
        }
    }

    #[test]
    fn rows_of_nothing_and_of_extremes_have_a_result() {
        let config = config(1, 192, 32, (1, 1, 32), 32, 1);
        let tables = tables(&config);
        let gain = gain(&mut Random::new(7));
        assert_eq!(reference(config.eps(), &tables, &gain, &[0; 192], -14).0, [0; 192]);
        for extreme in [i32::MIN, i32::MAX, 1, -1] {
            let (row, _) = reference(config.eps(), &tables, &gain, &[extreme; 192], -14);
            let largest = row.iter().map(|m| m.abs()).max().unwrap();
            assert!((1 << 13..1 << 14).contains(&largest), "{extreme}: {largest}");
        }
    }

    #[test]
    fn no_epsilon_still_divides_by_something() {
        let mut config = config(1, 192, 32, (1, 1, 32), 32, 1);
        let tables = tables(&config);
        for eps_exponent in [-100, -60, 0, 100] {
            config.eps_exponent = eps_exponent;
            let (row, _) =
                reference(config.eps(), &tables, &gain(&mut Random::new(8)), &[0; 192], -14);
            assert_eq!(row, [0; 192]);
        }
    }
}

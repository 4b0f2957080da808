//! RMSNorm of a residual row into a block (`docs/numerics.md`, "RMSNorm"): `[d_model] -> ([d_model], exponent)`.
//!
//! The sum of squares takes 14-bit values (its error is common to the row); the row itself keeps 24 bits until the gain is in, because
//! real models have single channels a thousand times larger than the rest.

use crate::package::{Gain, ModelConfig, Tables};

use super::block::{MANTISSA_BITS, MANTISSA_MAX, bits, fit, fit_shift, mul_shift, rescale, rsqrt};

/// Normalises one row.
#[must_use]
pub fn reference(config: &ModelConfig, tables: &Tables, gain: &Gain, x: &[i32]) -> (Vec<i32>, i32) {
    let n = fit_shift(x);
    let mut squares = 0_u64;
    for value in x {
        let xs = rescale(*value, -n).clamp(-MANTISSA_MAX, MANTISSA_MAX);
        squares += u64::from((xs * xs).unsigned_abs());
    }
    let shift = config.eps_exponent + 2 * config.residual_fraction_bits.cast_signed() - 2 * n;
    let eps = if shift >= 0 {
        u64::from(config.eps_mantissa) << shift.min(39)
    } else {
        u64::from(config.eps_mantissa) >> (-shift).min(63)
    };
    let (r, re) = rsqrt(tables, (squares + eps).max(1));

    let k = bits(x.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0)) - WIDE_BITS;
    let mut z: Vec<i32> = x
        .iter()
        .zip(&gain.mantissas)
        .map(|(value, gain)| {
            let wide = rescale(*value, -k).clamp(-WIDE_MAX, WIDE_MAX);
            let product = mul_shift(mul_shift(wide, r, 16), u32::from(gain.unsigned_abs()), 14);
            if *gain < 0 { product.wrapping_neg() } else { product }
        })
        .collect();
    let n2 = fit(&mut z);
    (z, n2 + k - n + re + 30 + gain.exponent)
}

/// Bits of a row between the norm and its gain.
const WIDE_BITS: i32 = MANTISSA_BITS + 10;
const WIDE_MAX: i32 = (1 << WIDE_BITS) - 1;

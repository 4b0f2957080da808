//! Blocks: integer mantissas with one power-of-two exponent a row, and the integer functions that
//! every kernel is made of.
//!
//! Definitions: `docs/numerics.md`, "Blocks" and "Tables". Everything here wraps modulo 2^32, as
//! WGSL does. Functions are always inlined, so that a row's loop is compiled for the processor that
//! its kernel is compiled for (`cpu/rows.rs`).

use super::route::WEIGHT_BITS;
use potluck_model::package::{SOFTCAP_ENTRIES, SoftCap, Tables};

/// Magnitude bits of a block's mantissas.
pub const MANTISSA_BITS: i32 = 14;
/// Largest magnitude of a mantissa.
pub const MANTISSA_MAX: i32 = (1 << MANTISSA_BITS) - 1;
/// Largest magnitude that `rescale` produces: one bit of headroom for a sum of two.
pub const RESCALE_MAX: i32 = (1 << 30) - 1;

/// Bit length; 0 for 0.
#[must_use]
#[inline(always)]
pub fn bits(value: u32) -> i32 {
    32 - value.leading_zeros().cast_signed()
}

/// `x * 2^shift`: to the left saturating at ±[`RESCALE_MAX`], to the right rounding half up.
#[must_use]
#[inline(always)]
pub fn rescale(x: i32, shift: i32) -> i32 {
    if shift >= 0 {
        // `bits(|x|) + shift > 30`, in a form that SIMD has; zero stays zero.
        let shift = shift.min(31);
        let limit = ((1_u32 << 30) >> shift).max(1);
        if x.unsigned_abs() >= limit { x.signum() * RESCALE_MAX } else { x << shift }
    } else if shift <= -32 {
        0
    } else {
        // Wraps for `i32::MAX` by one place, here as in WGSL.
        (x >> (-shift - 1)).wrapping_add(1) >> 1
    }
}

/// The shift that [`fit`] applies to a row: `bits(max |x|) - 14`.
#[must_use]
#[inline(always)]
pub fn fit_shift(row: &[i32]) -> i32 {
    bits(row.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0)) - MANTISSA_BITS
}

/// Scales a row in place to 14-bit mantissas; returns what the block's exponent grows by.
#[inline(always)]
pub fn fit(row: &mut [i32]) -> i32 {
    let n = fit_shift(row);
    for x in row {
        *x = rescale(*x, -n).clamp(-MANTISSA_MAX, MANTISSA_MAX);
    }
    n
}

/// `x += rescale(y, shift)` for a row.
#[inline(always)]
pub fn add(x: &mut [i32], y: &[i32], shift: i32) {
    for (x, y) in x.iter_mut().zip(y) {
        *x = x.wrapping_add(rescale(*y, shift));
    }
}

/// `x += rescale(mul_shift(y, weight, 16), shift)` for a row, with a weight in Q16.
#[inline(always)]
pub fn add_weighed(x: &mut [i32], y: &[i32], weight: u32, shift: i32) {
    for (x, y) in x.iter_mut().zip(y) {
        *x = x.wrapping_add(rescale(mul_shift(*y, weight, WEIGHT_BITS), shift));
    }
}

/// `floor(x * m / 2^k)` for `k` in 1..=16 and `m <= 2^16`, without a 64-bit product.
#[must_use]
#[inline(always)]
pub fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = x.cast_unsigned() & ((1 << k) - 1);
    (x >> k).wrapping_mul(m.cast_signed()).wrapping_add((low.wrapping_mul(m) >> k).cast_signed())
}

/// `2^(-d / 2^16)` as Q15.
#[must_use]
#[inline(always)]
pub fn exp2_neg(tables: &Tables, d: u32) -> u32 {
    let d = d.min(31 << 16);
    let (n, f, r) = (d >> 16, ((d >> 8) & 255) as usize, d & 255);
    let (a, b) = (u32::from(tables.exp2[f]), u32::from(tables.exp2[f + 1]));
    (a - (((a - b) * r) >> 8)) >> n
}

/// The logistic function of `x` in Q12, as Q15.
#[must_use]
#[inline(always)]
pub fn sigmoid(tables: &Tables, x: i32) -> i32 {
    let y = x.clamp(-65_536, 65_535) + 65_536;
    let (i, r) = ((y >> 6) as usize, y & 63);
    let (a, b) = (i32::from(tables.sigmoid[i]), i32::from(tables.sigmoid[i + 1]));
    a + (((b - a) * r) >> 6)
}

/// `cap * tanh(x / cap)` of `x` in Q16, `|x| < 2^30`; a table holds `tanh(u) / u`.
#[must_use]
#[inline(always)]
pub fn soft_cap(tables: &Tables, cap: SoftCap, x: i32) -> i32 {
    let magnitude = x.unsigned_abs().cast_signed();
    let u = mul_shift(rescale(magnitude, -cap.exponent), cap.inverse, 16).cast_unsigned();
    let (i, r) = ((u >> 10) as usize, u & 1023);
    let capped = if i + 1 < SOFTCAP_ENTRIES {
        let (a, b) = (u32::from(tables.softcap[i]), u32::from(tables.softcap[i + 1]));
        mul_shift(magnitude, a - (((a - b) * r) >> 10), 15)
    } else {
        (((1 << 31) / cap.inverse) << (cap.exponent + 1)).cast_signed()
    };
    if x < 0 { -capped } else { capped }
}

/// `1 / sqrt(s)` for `s >= 1`: a Q16 mantissa and an exponent.
#[must_use]
pub fn rsqrt(tables: &Tables, s: u64) -> (u32, i32) {
    let mut b = 64 - s.leading_zeros().cast_signed();
    b += b & 1;
    let shift = b - 26;
    let q = if shift >= 0 { s >> shift } else { s << -shift };
    let q = u32::try_from(q).unwrap_or(u32::MAX);
    let r0 = u32::from(tables.rsqrt[((q >> 16) - 256) as usize]);
    let t = (r0 * r0) >> 14;
    let t = t.wrapping_mul(q >> 10) >> 14;
    let f = 196_608_u32.wrapping_sub(t) >> 1;
    ((r0.wrapping_mul(f) >> 15).min(65_535), -16 - (b - 2) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    /// Values at and around every power of two, both signs.
    fn edges() -> Vec<i32> {
        let powers = (0..32).flat_map(|bit| [-1, 0, 1].map(|off| (1_i64 << bit) + off));
        powers.flat_map(|x| [x, -x]).filter_map(|x| i32::try_from(x).ok()).chain([0]).collect()
    }

    #[test]
    fn bits_are_counted_from_the_top() {
        for (value, expected) in
            [(0, 0), (1, 1), (2, 2), (3, 2), (255, 8), (256, 9), (u32::MAX, 32)]
        {
            assert_eq!(bits(value), expected);
        }
    }

    #[test]
    fn rescale_rounds_half_up_to_the_right_and_saturates_to_the_left() {
        for x in edges() {
            for shift in -40..=40 {
                let expected = if shift >= 0 {
                    let wide = i128::from(x) << shift;
                    // By bits, not by value: a power of two of 31 bits saturates though it would
                    // fit.
                    let fits = x == 0 || bits(x.unsigned_abs()) + shift <= 30;
                    if fits { wide } else { i128::from(x.signum() * RESCALE_MAX) }
                } else {
                    (i128::from(x) + (1 << (-shift - 1))) >> -shift
                };
                // More than 31 places to the right nothing is left, not even the half that rounding
                // up would make of -2^31. The largest value by one place is the only one that
                // wraps.
                let expected = match shift {
                    ..=-32 => 0,
                    -1 if x == i32::MAX => -(1 << 30),
                    _ => expected,
                };
                assert_eq!(i128::from(rescale(x, shift)), expected, "{x} by {shift}");
            }
        }
        // Exponents are bounded, but not by much less than this.
        assert_eq!((rescale(5, -4000), rescale(-5, 4000), rescale(0, 4000)), (0, -RESCALE_MAX, 0));
    }

    #[test]
    fn fit_gives_14_bits_and_keeps_the_value() {
        for bits in 1..=31 {
            let row = numbers(&mut Random::new(u64::from(bits)), 50, bits);
            let mut fitted = row.clone();
            let n = fit(&mut fitted);
            let largest = fitted.iter().map(|x| x.abs()).max().unwrap();
            assert!((1 << 13..=MANTISSA_MAX).contains(&largest), "{largest} at {bits} bits");
            for (x, m) in row.iter().zip(&fitted) {
                // Half a unit of the last place; a whole one where the largest mantissa was
                // clamped.
                assert!((f64::from(*x) - value(*m, n)).abs() <= value(1, n), "{x} as {m} * 2^{n}");
            }
        }
        let mut zeros = [0; 4];
        assert_eq!(fit(&mut zeros), -14);
        assert_eq!(zeros, [0; 4]);
        let mut least = [i32::MIN, i32::MAX];
        assert_eq!(fit(&mut least), 18);
        assert_eq!(least, [-8192, 8192]);
    }

    #[test]
    fn mul_shift_is_the_floor_of_the_wide_product() {
        for k in 1..=16 {
            for m in [0, 1, 2, 3, 255, 16_384, 32_767, 32_768, 40_000, 65_535, 65_536] {
                for x in edges() {
                    let expected = (i128::from(x) * i128::from(m)) >> k;
                    if i32::try_from(expected).is_ok() {
                        assert_eq!(i128::from(mul_shift(x, m, k)), expected, "{x} * {m} >> {k}");
                    }
                }
            }
        }
    }

    #[test]
    fn tables_give_their_functions() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        for d in (0..32 << 16).step_by(97) {
            let expected = (-f64::from(d) / 65_536.0).exp2() * 32_768.0;
            assert!((f64::from(exp2_neg(&tables, d)) - expected).abs() <= 1.6, "2^-{d}/2^16");
        }
        assert_eq!(exp2_neg(&tables, u32::MAX), 0);
        for x in (-80_000..80_000).step_by(37) {
            let expected = 32_768.0 / (1.0 + (-f64::from(x.clamp(-65_536, 65_535)) / 4096.0).exp());
            assert!((f64::from(sigmoid(&tables, x)) - expected).abs() <= 1.6, "sigmoid of {x}");
        }
    }

    #[test]
    fn a_soft_cap_is_the_hyperbolic_tangent() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        for cap in [1.0_f64, 30.0, 50.0, 72.134_752, 4095.0] {
            let exponent = (0..12).rev().find(|e| value(1, *e) <= cap).unwrap();
            let inverse = (value(1 << 16, exponent) / cap).round();
            let inverse = (1 << 15..=1 << 16).find(|i| f64::from(*i) >= inverse).unwrap();
            let soft = SoftCap { inverse, exponent };
            for x in edges().into_iter().filter(|x| x.unsigned_abs() < 1 << 30) {
                let expected = cap * (value(x, -16) / cap).tanh();
                let got = value(soft_cap(&tables, soft, x), -16);
                // The table's last place, which counts more the further out: 2^-11 at 16 caps.
                let u = (value(x, -16) / cap).abs().clamp(1.0, 16.0);
                assert!(
                    (got - expected).abs() <= expected.abs() * 6e-5 * u + value(2, -16),
                    "{cap} tanh({x}): {got} for {expected}"
                );
            }
        }
    }

    #[test]
    fn rsqrt_has_14_bits_over_all_64() {
        let tables = tables(&config(1, 32, 32, (1, 1, 32), 32, 1));
        let mut random = Random::new(1);
        for bit in 0..64 {
            for s in [
                1_u64 << bit,
                (1 << bit) + (random.bits() & ((1 << bit) - 1)),
                u64::MAX >> (63 - bit),
            ] {
                let (r, e) = rsqrt(&tables, s);
                let ratio = f64::from(r) * f64::from(e).exp2() * (s as f64).sqrt();
                assert!((ratio - 1.0).abs() < 1.0 / 16_384.0, "1 / sqrt({s}) is off by {ratio}");
                assert!(r <= 65_535);
            }
        }
    }
}

//! Blocks: integer mantissas with one power-of-two exponent a row, and the integer functions that every kernel is made of.
//!
//! Definitions: `docs/numerics.md`, "Blocks" and "Tables". Everything here wraps modulo 2^32, as WGSL does.

use crate::package::Tables;

/// Magnitude bits of a block's mantissas.
pub const MANTISSA_BITS: i32 = 14;
/// Largest magnitude of a mantissa.
pub const MANTISSA_MAX: i32 = (1 << MANTISSA_BITS) - 1;
/// Largest magnitude that `rescale` produces: one bit of headroom for a sum of two.
pub const RESCALE_MAX: i32 = (1 << 30) - 1;

/// Bit length; 0 for 0.
#[must_use]
pub fn bits(value: u32) -> i32 {
    32 - value.leading_zeros().cast_signed()
}

/// `x * 2^shift`: to the left saturating at ±[`RESCALE_MAX`], to the right rounding half up.
#[must_use]
pub fn rescale(x: i32, shift: i32) -> i32 {
    if shift >= 0 {
        if bits(x.unsigned_abs()).wrapping_add(shift) > 30 && x != 0 {
            x.signum() * RESCALE_MAX
        } else {
            x << shift.min(31)
        }
    } else if shift <= -32 {
        0
    } else {
        ((x >> (-shift - 1)) + 1) >> 1
    }
}

/// The shift that [`fit`] applies to a row: `bits(max |x|) - 14`.
#[must_use]
pub fn fit_shift(row: &[i32]) -> i32 {
    bits(row.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0)) - MANTISSA_BITS
}

/// Scales a row in place to 14-bit mantissas; returns what the block's exponent grows by.
pub fn fit(row: &mut [i32]) -> i32 {
    let n = fit_shift(row);
    for x in row {
        *x = rescale(*x, -n).clamp(-MANTISSA_MAX, MANTISSA_MAX);
    }
    n
}

/// `floor(x * m / 2^k)` for `k` in 1..=16 and `m <= 2^16`, without a 64-bit product.
#[must_use]
pub fn mul_shift(x: i32, m: u32, k: u32) -> i32 {
    let low = x.cast_unsigned() & ((1 << k) - 1);
    (x >> k).wrapping_mul(m.cast_signed()).wrapping_add((low.wrapping_mul(m) >> k).cast_signed())
}

/// `2^(-d / 2^16)` as Q15.
#[must_use]
pub fn exp2_neg(tables: &Tables, d: u32) -> u32 {
    let d = d.min(31 << 16);
    let (n, f, r) = (d >> 16, ((d >> 8) & 255) as usize, d & 255);
    let (a, b) = (u32::from(tables.exp2[f]), u32::from(tables.exp2[f + 1]));
    (a - (((a - b) * r) >> 8)) >> n
}

/// The logistic function of `x` in Q12, as Q15.
#[must_use]
pub fn sigmoid(tables: &Tables, x: i32) -> i32 {
    let y = x.clamp(-65_536, 65_535) + 65_536;
    let (i, r) = ((y >> 6) as usize, y & 63);
    let (a, b) = (i32::from(tables.sigmoid[i]), i32::from(tables.sigmoid[i + 1]));
    a + (((b - a) * r) >> 6)
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

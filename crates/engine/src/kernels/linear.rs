//! `y = W a` for integer weights and a block of activations (`docs/numerics.md`, "Linear").
//!
//! ```text
//! acc_r = floor( Σ_k a_k · w_rk · g_r(k/32) / 2^(7+x) )   (mod 2^32)
//! y_r   = floor( acc_r · m_r / 2^15 ),  exponent e + we + 22 + x
//! ```
//! with `x` the bits that a weight has beyond eight, 0 or 4.
//! | value | shape |
//! |---|---|
//! | `a` | `[in]` mantissas within ±16,383 |
//! | `W` | [`Linear`] `[out, in]` |
//! | `y` | `[out]` `i32` |
//!
//! The sum over a group, `S`, has 26 bits and `x`; times the scale it has eight more. Hence
//! `g·S / 2^(7+x) = 2^4 · g·(S >> (11+x)) + g·(S mod 2^(11+x)) / 2^(7+x)`: both parts of `S` fit
//! `i16`, the first sum is a whole number, and only the second is cut. Twelve bits cost as much to
//! multiply as eight where a kernel widens weights to `i16`, and eight more would not fit.
//!
//! [`reference()`] is the specification. [`Matrices`] holds weights as a path's kernel reads them:
//! rows interleaved, so that a register has one lane a row and no sum ever crosses lanes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod matrices;
#[cfg(target_arch = "aarch64")]
mod neon;
mod packed;
#[cfg(target_arch = "wasm32")]
mod simd128;

use potluck_model::package::{GROUP, Linear};

use super::block::mul_shift;
pub use matrices::Matrices;

/// What computes matrices on this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPath {
    /// The specification itself.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 and its 8-bit products (VNNI).
    Avx512,
    /// 64-bit ARM.
    Neon,
    /// wasm with 128-bit SIMD.
    Simd128,
}

impl CpuPath {
    /// Those that this processor has, the fastest first; the specification last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let fast = [
            avx512::is_available().then_some(Self::Avx512),
            avx2::is_available().then_some(Self::Avx2),
        ]
        .into_iter()
        .flatten();
        #[cfg(target_arch = "aarch64")]
        let fast = [Self::Neon];
        #[cfg(target_arch = "wasm32")]
        let fast = [Self::Simd128];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32")))]
        let fast = [];
        fast.into_iter().chain([Self::Scalar]).collect()
    }

    /// The fastest there is here.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().first().copied().unwrap_or(Self::Scalar)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::Simd128 => "simd128",
        }
    }
}

/// Matrices in some form.
trait Multiply: Send + Sync {
    /// Every token of `a`, `[tokens, in]`, with every matrix: a `[tokens, out]` for each.
    fn multiply(&self, a: &[i32]) -> Vec<Vec<i32>>;
}

/// The exponent of the output for an input block of exponent `e`.
#[must_use]
pub fn output_exponent(weights: &Linear, e: i32) -> i32 {
    e + weights.exponent + (sum_bits(weights) + MULTIPLIER_BITS).cast_signed()
}

/// Bits that the sum is cut by.
fn sum_bits(weights: &Linear) -> u32 {
    7 + weights.extra_bits()
}

/// Bits of a row's multiplier.
const MULTIPLIER_BITS: u32 = 15;

/// The specification: `a` is `[in]`, the result `[out]`.
///
/// # Panics
/// If `a` is not as wide as the matrix, which is a bug of the caller.
#[must_use]
pub fn reference(weights: &Linear, a: &[i32]) -> Vec<i32> {
    assert_eq!(a.len(), weights.columns, "a block as wide as the matrix");
    let groups = weights.columns / GROUP;
    (0..weights.rows)
        .map(|row| {
            let mut sum = 0_i64;
            for (k, value) in a.iter().enumerate() {
                let weight = i64::from(weights.weight(row * weights.columns + k));
                let scale = i64::from(weights.group_scales[row * groups + k / GROUP]);
                sum = sum.wrapping_add(i64::from(*value) * weight * scale);
            }
            mul_shift(
                wrap(sum >> sum_bits(weights)),
                u32::from(weights.row_multipliers[row]),
                MULTIPLIER_BITS,
            )
        })
        .collect()
}

/// `acc` to `y` for a row of values, in place.
#[inline(always)]
fn finish(values: &mut [i32], multipliers: &[u16]) {
    for (value, multiplier) in values.iter_mut().zip(multipliers) {
        *value = mul_shift(*value, u32::from(*multiplier), MULTIPLIER_BITS);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the sum is defined modulo 2^32")]
fn wrap(sum: i64) -> i32 {
    sum as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, value};
    use potluck_model::synthetic;

    #[test]
    fn a_small_product_is_what_the_definition_says() {
        // Two rows, two groups: 3 in the first place and -2 in the last, scales 5 and 7, rows 32768
        // and 16384.
        let mut weights = vec![0; 2 * 64];
        (weights[0], weights[63], weights[64], weights[127]) = (3, -2, 3, -2);
        let weights = Linear {
            rows: 2,
            columns: 64,
            weights,
            lower_bits: None,
            group_scales: vec![5, 7, 5, 7],
            row_multipliers: vec![32_768, 16_384],
            exponent: -9,
        };
        let mut a = vec![0; 64];
        (a[0], a[63]) = (1000, 11);
        // floor((15000 - 154) / 128) = 115, and floor(115 / 2).
        assert_eq!(reference(&weights, &a), [115, 57]);
        for path in CpuPath::available() {
            assert_eq!(
                Matrices::new(path, vec![weights.clone()]).multiply(&a),
                [[115, 57]],
                "{}",
                path.name()
            );
        }
        a[63] = 16_383;
        // floor((15000 - 229362) / 128) = -1675, and floor(-1675 / 2).
        assert_eq!(reference(&weights, &a), [-1675, -838]);
        assert_eq!(output_exponent(&weights, 4), 17);
    }

    #[test]
    fn it_is_the_product_of_the_real_matrix() {
        let mut random = synthetic::Random::new(1);
        let weights = synthetic::linear(&mut random, 5, 96, -40);
        let a = numbers(&mut random, 96, 14);
        let y = reference(&weights, &a);
        for (row, y) in y.iter().enumerate() {
            let expected: f64 = (0..96)
                .map(|k| {
                    let scale = f64::from(weights.group_scales[row * 3 + k / 32])
                        * f64::from(weights.row_multipliers[row]);
                    f64::from(weights.weights[row * 96 + k])
                        * scale
                        * f64::from(a[k])
                        * f64::from(-40 - 3).exp2()
                })
                .sum();
            let got = value(*y, output_exponent(&weights, -3));
            assert!(
                (got - expected).abs() <= 2.0 * value(1, output_exponent(&weights, -3)),
                "{got} for {expected}"
            );
        }
    }
}

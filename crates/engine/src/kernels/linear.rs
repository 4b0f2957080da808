//! `y = W a` for integer weights and a block of activations (`docs/numerics.md`, "Linear").
//!
//! ```text
//! acc_r = floor( Σ_k a_k · w_rk · g_r(k/32) / 2^7 )   (mod 2^32)
//! y_r   = floor( acc_r · m_r / 2^15 ),  exponent e + we + 22
//! ```
//! | value | shape |
//! |---|---|
//! | `a` | `[in]` mantissas within ±16,383 |
//! | `W` | [`Linear`] `[out, in]` |
//! | `y` | `[out]` `i32` |
//!
//! The sum over a group, `S`, has 26 bits; times the scale it has 34. Hence `g·S / 2^7 = g·(S >> 7) + (g·(S & 127)) / 2^7`, which holds for
//! every part of a group and every place of the cut, so SIMD lanes may each do their own part and be added up in any order.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "wasm32")]
mod simd128;

use crate::package::{GROUP, Linear};

use super::block::mul_shift;

/// What computes matrices on this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuPath {
    /// The specification itself.
    Scalar,
    /// x86-64 with AVX2.
    Avx2,
    /// wasm with 128-bit SIMD.
    Simd128,
}

impl CpuPath {
    /// The fastest there is here.
    #[must_use]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if avx2::is_available() {
            return Self::Avx2;
        }
        #[cfg(target_arch = "wasm32")]
        return Self::Simd128;
        #[cfg(not(target_arch = "wasm32"))]
        Self::Scalar
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Simd128 => "simd128",
        }
    }
}

/// The exponent of the output for an input block of exponent `e`.
#[must_use]
pub fn output_exponent(weights: &Linear, e: i32) -> i32 {
    e + weights.exponent + 22
}

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
                let weight = i64::from(weights.weights[row * weights.columns + k]);
                let scale = i64::from(weights.group_scales[row * groups + k / GROUP]);
                sum = sum.wrapping_add(i64::from(*value) * weight * scale);
            }
            finish(sum >> 7, weights.row_multipliers[row])
        })
        .collect()
}

/// The same for several tokens on the path given: `rows` is `[tokens, in]`, the result `[tokens, out]`.
///
/// # Panics
/// If `path` is not one of this processor's, or `rows` is not made of whole tokens, which are bugs of the caller.
#[must_use]
pub fn linear(path: CpuPath, weights: &Linear, rows: &[i32]) -> Vec<i32> {
    assert_eq!(rows.len() % weights.columns, 0, "tokens as wide as the matrix");
    if path == CpuPath::Scalar {
        return rows.chunks_exact(weights.columns).flat_map(|a| reference(weights, a)).collect();
    }
    let narrow: Vec<i16> = rows.iter().map(|value| to_i16(*value)).collect();
    let mut output = vec![0; rows.len() / weights.columns * weights.rows];
    simd(path, weights, &narrow, |token, row, acc| {
        output[token * weights.rows + row] = mul_shift(acc, u32::from(weights.row_multipliers[row]), 15);
    });
    output
}

/// Tokens that a SIMD path takes through a row of weights at once: their eight accumulators and the weights fit 16 registers.
#[cfg(any(target_arch = "x86_64", target_arch = "wasm32"))]
const TOKENS_TOGETHER: usize = 4;

fn simd(path: CpuPath, weights: &Linear, rows: &[i16], each: impl FnMut(usize, usize, i32)) {
    match path {
        #[cfg(target_arch = "x86_64")]
        CpuPath::Avx2 => avx2::matmul(weights, rows, each),
        #[cfg(target_arch = "wasm32")]
        CpuPath::Simd128 => simd128::matmul(weights, rows, each),
        _ => unreachable!("{} is not a path of this processor", path.name()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the sum is defined modulo 2^32")]
fn finish(sum: i64, multiplier: u16) -> i32 {
    mul_shift(sum as i32, u32::from(multiplier), 15)
}

#[expect(clippy::cast_possible_truncation, reason = "a block's mantissas have 15 bits")]
fn to_i16(value: i32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, value};
    use crate::synthetic;

    #[test]
    fn a_small_product_is_what_the_definition_says() {
        // Two rows, two groups: 3 in the first place and -2 in the last, scales 5 and 7, rows 32768 and 16384.
        let mut weights = vec![0; 2 * 64];
        (weights[0], weights[63], weights[64], weights[127]) = (3, -2, 3, -2);
        let weights = Linear {
            rows: 2,
            columns: 64,
            weights,
            group_scales: vec![5, 7, 5, 7],
            row_multipliers: vec![32_768, 16_384],
            exponent: -9,
        };
        let mut a = vec![0; 64];
        (a[0], a[63]) = (1000, 11);
        // floor((15000 - 154) / 128) = 115, and floor(115 / 2).
        for path in [CpuPath::Scalar, CpuPath::detect()] {
            assert_eq!(linear(path, &weights, &a), [115, 57]);
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
                    let scale =
                        f64::from(weights.group_scales[row * 3 + k / 32]) * f64::from(weights.row_multipliers[row]);
                    f64::from(weights.weights[row * 96 + k]) * scale * f64::from(a[k]) * f64::from(-40 - 3).exp2()
                })
                .sum();
            let got = value(*y, output_exponent(&weights, -3));
            assert!((got - expected).abs() <= 2.0 * value(1, output_exponent(&weights, -3)), "{got} for {expected}");
        }
    }
}

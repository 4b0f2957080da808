//! Heads of a row: cut, fitted or normalised, rotated (`docs/numerics.md`, "Attention").
//!
//! `[heads * head_dim] -> [heads, head_dim]` mantissas and `[heads]` exponents.

use potluck_model::package::{Eps, Gain, ModelConfig, Rotation, Tables};

use super::block::fit;
use super::rms_norm;

/// Mantissas and exponents of a row's heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// `[heads, head_dim]`, each within ±16,383.
    pub mantissas: Vec<i32>,
    /// `[heads]`.
    pub exponents: Vec<i32>,
}

/// Cuts a row with exponent `exponent` into heads, each fitted on its own.
#[must_use]
#[inline(always)]
pub fn split(row: &[i32], exponent: i32, head_dim: usize) -> Heads {
    let mut mantissas = row.to_vec();
    let exponents = mantissas.chunks_exact_mut(head_dim).map(|head| exponent + fit(head)).collect();
    Heads { mantissas, exponents }
}

/// Cuts a row with exponent `exponent` into heads as wide as `gain`, and normalises each on its
/// own.
#[must_use]
#[inline(always)]
pub fn normalise(eps: Eps, tables: &Tables, gain: &Gain, row: &[i32], exponent: i32) -> Heads {
    let mut heads = Heads::default();
    for head in row.chunks_exact(gain.mantissas.len()) {
        let (mantissas, exponent) = rms_norm::reference(eps, tables, gain, head, exponent);
        heads.mantissas.extend(mantissas);
        heads.exponents.push(exponent);
    }
    heads
}

/// Normalises a row with exponent `exponent` as a whole, and cuts it into heads, each fitted on its own.
#[must_use]
#[inline(always)]
pub fn normalise_row(
    eps: Eps,
    tables: &Tables,
    gain: &Gain,
    (row, exponent): (&[i32], i32),
    head_dim: usize,
) -> Heads {
    let (row, exponent) = rms_norm::wide(eps, tables, gain, row, exponent);
    split(&row, exponent, head_dim)
}

/// Rotates every head for `position`: pairs `(j, j + head_dim / 2)`.
#[inline(always)]
pub fn rotate(rotation: &Rotation, position: u32, head_dim: usize, heads: &mut Heads) {
    let half = head_dim / 2;
    let start = position as usize * half;
    let (cos, sin) = (&rotation.cos[start..start + half], &rotation.sin[start..start + half]);
    for (head, exponent) in heads.mantissas.chunks_exact_mut(head_dim).zip(&mut heads.exponents) {
        let (low, high) = head.split_at_mut(half);
        for j in 0..half {
            let (a, b, c, s) = (low[j], high[j], i32::from(cos[j]), i32::from(sin[j]));
            low[j] = a * c - b * s;
            high[j] = b * c + a * s;
        }
        *exponent += fit(head) - 14;
    }
}

/// Multiplies query heads by `log2(e) / sqrt(head_dim)`, so that scores are base-2 logarithms.
#[inline(always)]
pub fn scale_queries(config: &ModelConfig, heads: &mut Heads) {
    for (head, exponent) in
        heads.mantissas.chunks_exact_mut(config.head_dim as usize).zip(&mut heads.exponents)
    {
        for value in head.iter_mut() {
            *value = value.wrapping_mul(config.qk_scale.cast_signed());
        }
        *exponent += fit(head) - 15;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{numbers, tables, value};
    use potluck_model::synthetic::{Random, config};

    #[test]
    fn heads_are_fitted_on_their_own() {
        let heads = split(&[4, -8, 0, 1, 4000, 8000, 0, 0], -20, 4);
        assert_eq!(heads.exponents, [-30, -21]);
        assert_eq!(heads.mantissas, [4096, -8192, 0, 1024, 8000, 16_000, 0, 0]);
    }

    #[test]
    fn pairs_turn_by_the_angle_of_their_place() {
        let config = config(1, 32, 32, (2, 1, 16), 32, 40);
        let tables = tables(&config);
        let row = numbers(&mut Random::new(9), 32, 14);
        for position in [0, 1, 7, 39] {
            let mut heads = split(&row, -14, 16);
            rotate(&tables.rotations[0], position, 16, &mut heads);
            for head in 0..2 {
                for j in 0..8 {
                    let angle = f64::from(position) * 10_000_f64.powf(-2.0 * j as f64 / 16.0);
                    let (a, b) =
                        (value(row[head * 16 + j], -14), value(row[head * 16 + j + 8], -14));
                    let got = [j, j + 8]
                        .map(|j| value(heads.mantissas[head * 16 + j], heads.exponents[head]));
                    let expected =
                        [a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()];
                    for (got, expected) in got.iter().zip(expected) {
                        assert!(
                            (got - expected).abs() < 4e-4,
                            "position {position}, pair {j}: {got} for {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn queries_are_scaled_for_base_two() {
        let config = config(1, 32, 32, (2, 1, 16), 32, 40);
        let row = numbers(&mut Random::new(10), 32, 14);
        let mut heads = split(&row, -14, 16);
        scale_queries(&config, &mut heads);
        for (index, x) in row.iter().enumerate() {
            let got = value(heads.mantissas[index], heads.exponents[index / 16]);
            let expected = value(*x, -14) * value(config.qk_scale.cast_signed(), -15);
            assert!((got - expected).abs() < 1e-4, "{got} for {expected}");
        }
    }
}

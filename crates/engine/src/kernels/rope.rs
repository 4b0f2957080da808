//! Heads of a row: cut, fitted, rotated (`docs/numerics.md`, "Attention").
//!
//! `[heads * head_dim] -> [heads, head_dim]` mantissas and `[heads]` exponents.

use crate::package::{ModelConfig, Tables};

use super::block::fit;

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
pub fn split(row: &[i32], exponent: i32, head_dim: usize) -> Heads {
    let mut mantissas = row.to_vec();
    let exponents = mantissas.chunks_exact_mut(head_dim).map(|head| exponent + fit(head)).collect();
    Heads { mantissas, exponents }
}

/// Rotates every head for `position`: pairs `(j, j + head_dim / 2)`.
pub fn rotate(tables: &Tables, position: u32, head_dim: usize, heads: &mut Heads) {
    let half = head_dim / 2;
    let start = position as usize * half;
    let (cos, sin) = (&tables.cos[start..start + half], &tables.sin[start..start + half]);
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
pub fn scale_queries(config: &ModelConfig, heads: &mut Heads) {
    for (head, exponent) in heads.mantissas.chunks_exact_mut(config.head_dim as usize).zip(&mut heads.exponents) {
        for value in head.iter_mut() {
            *value = value.wrapping_mul(config.qk_scale.cast_signed());
        }
        *exponent += fit(head) - 15;
    }
}

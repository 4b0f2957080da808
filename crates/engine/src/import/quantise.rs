//! Floats to the integers of the package (`docs/numerics.md`, "Tables" and "Linear").

use crate::package::{EXP2_ENTRIES, GROUP, Gain, Linear, ModelConfig, RSQRT_ENTRIES, SIGMOID_ENTRIES, Tables};

/// Largest weight.
const WEIGHT_MAX: f64 = 127.0;
/// Largest group scale.
const SCALE_MAX: f64 = 255.0;
/// A row of zeros gets a scale that is not zero.
const SMALLEST_SCALE: f64 = 1e-20;

/// Quantises `[rows, columns]` values: 8-bit weights in groups of 32, an 8-bit integer scale a group, a 15-bit multiplier a row.
pub(super) fn linear(values: &[f32], rows: usize, columns: usize) -> Linear {
    let groups = columns / GROUP;
    let mut row_scales = Vec::with_capacity(rows);
    let mut weights = Vec::with_capacity(rows * columns);
    let mut group_scales = Vec::with_capacity(rows * groups);
    for row in values.chunks_exact(columns) {
        let largest = |values: &[f32]| values.iter().fold(0.0_f64, |max, value| max.max(f64::from(*value).abs()));
        let wanted: Vec<f64> = row.chunks_exact(GROUP).map(|group| largest(group) / WEIGHT_MAX).collect();
        let row_scale = (wanted.iter().fold(0.0_f64, |max, scale| max.max(*scale)) / SCALE_MAX).max(SMALLEST_SCALE);
        row_scales.push(row_scale);
        for (group, scale) in row.chunks_exact(GROUP).zip(wanted) {
            let scale = round(scale / row_scale).clamp(1, 255);
            group_scales.push(narrow(scale));
            for value in group {
                weights.push(narrow(round(f64::from(*value) / (scale as f64 * row_scale)).clamp(-127, 127)));
            }
        }
    }
    let largest = row_scales.iter().fold(SMALLEST_SCALE, |max, scale| max.max(*scale));
    let exponent = exponent_above(largest) - 15;
    let row_multipliers =
        row_scales.iter().map(|scale| narrow(round(scale / exp2(exponent)).clamp(1, 32_768))).collect();
    Linear { rows, columns, weights, group_scales, row_multipliers, exponent }
}

/// Quantises a norm's gain, times `sqrt(width)`.
pub(super) fn gain(values: &[f32]) -> Gain {
    let root = libm::sqrt(values.len() as f64);
    let scaled: Vec<f64> = values.iter().map(|value| f64::from(*value) * root).collect();
    let largest = scaled.iter().fold(SMALLEST_SCALE, |max, value| max.max(value.abs()));
    let exponent = exponent_above(largest) - 14;
    let mantissas = scaled.iter().map(|value| narrow(round(value / exp2(exponent)).clamp(-16_384, 16_384))).collect();
    Gain { mantissas, exponent }
}

/// `eps * width` as a 24-bit mantissa and an exponent.
pub(super) fn eps(eps: f64, width: u32) -> (u32, i32) {
    let value = (eps * f64::from(width)).max(SMALLEST_SCALE);
    let mut exponent = exponent_above(value) - 24;
    let mut mantissa = round(value / exp2(exponent));
    if mantissa >= 1 << 24 {
        exponent += 1;
        mantissa = 1 << 23;
    }
    (narrow(mantissa), exponent)
}

/// Fraction bits of the residual stream at most: more bring nothing, as blocks keep 14 bits of the largest value.
pub(super) const MAX_FRACTION_BITS: u32 = 14;
/// Fraction bits at least, whatever the embedding holds.
const MIN_FRACTION_BITS: i32 = 4;
/// Bits that `rescale` gives out.
const RESCALE_BITS: i32 = 30;
/// Bits of the residual that layers may add on top of the embedding's: real models are known for single channels of some thousands.
const HEADROOM_BITS: i32 = 16;

/// The residual's fraction bits: as many as leave the embedding its headroom.
pub(super) fn residual_fraction_bits(embedding: &[f32]) -> u32 {
    let largest = embedding.iter().fold(SMALLEST_SCALE, |max, value| max.max(f64::from(*value).abs()));
    let bits = RESCALE_BITS - HEADROOM_BITS - exponent_above(largest);
    bits.clamp(MIN_FRACTION_BITS, MAX_FRACTION_BITS.cast_signed()).unsigned_abs()
}

/// `round(log2(e) / sqrt(head_dim) * 2^15)`.
pub(super) fn qk_scale(head_dim: u32) -> u32 {
    narrow(round(core::f64::consts::LOG2_E / libm::sqrt(f64::from(head_dim)) * 32_768.0))
}

/// The tables of a model.
pub(super) fn tables(config: &ModelConfig, theta: f64) -> Tables {
    let half = config.head_dim as usize / 2;
    let mut cos = Vec::new();
    let mut sin = Vec::new();
    for position in 0..config.max_positions {
        for j in 0..half {
            let frequency = libm::pow(theta, -2.0 * j as f64 / f64::from(config.head_dim));
            let angle = f64::from(position) * frequency;
            cos.push(narrow(round(libm::cos(angle) * 16_384.0)));
            sin.push(narrow(round(libm::sin(angle) * 16_384.0)));
        }
    }
    Tables {
        exp2: (0..EXP2_ENTRIES).map(|i| narrow(round(libm::exp2(-(i as f64) / 256.0) * 32_768.0))).collect(),
        sigmoid: (0..SIGMOID_ENTRIES)
            .map(|i| narrow(round(32_768.0 / (1.0 + libm::exp(-(i as f64 - 1024.0) / 64.0)))))
            .collect(),
        rsqrt: (0..RSQRT_ENTRIES)
            .map(|i| narrow(round(32_768.0 / libm::sqrt((i as f64 + 256.5) / 256.0)).min(32_767)))
            .collect(),
        cos,
        sin,
    }
}

/// The smallest `e` with `value <= 2^e`.
fn exponent_above(value: f64) -> i32 {
    let (fraction, exponent) = libm::frexp(value);
    if fraction == 0.5 { exponent - 1 } else { exponent }
}

fn exp2(exponent: i32) -> f64 {
    libm::ldexp(1.0, exponent)
}

/// Half away from zero.
#[expect(clippy::cast_possible_truncation, reason = "every caller clamps; a float too large for i64 saturates")]
fn round(value: f64) -> i64 {
    libm::round(value) as i64
}

/// Into a type that the caller's clamp fits.
fn narrow<T: TryFrom<i64> + Default>(value: i64) -> T {
    T::try_from(value).unwrap_or_default()
}

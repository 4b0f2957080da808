//! Floats to the integers of the package (`docs/numerics.md`, "Tables" and "Linear").

use potluck_model::package::{
    Bias, EXP2_ENTRIES, Eps, GROUP, Gain, LIMIT_BITS, Linear, MAX_CAP_EXPONENT, ModelConfig,
    RSQRT_ENTRIES, Rotation, SCORE_EXPONENT, SIGMOID_ENTRIES, SOFTCAP_ENTRIES, SoftCap, Tables,
};

use crate::error::ImportError;
use crate::source::{Activation, QUICK_GELU_SLOPE};

/// Bits of embedding and head, whose rows are few a token and matter most.
pub(super) const VOCABULARY_BITS: u32 = 8;
/// Largest group scale.
const SCALE_MAX: f64 = 255.0;
/// A row of zeros gets a scale that is not zero.
const SMALLEST_SCALE: f64 = 1e-20;
/// Scales that are tried for a group of four-bit weights, from the one that clips nothing
/// downwards: clipping the largest a little often costs less than a coarser step for the other 31.
const TRIED_SCALES: u32 = 8;
/// The finest that is tried, as a part of the one that clips nothing.
const FINEST_TRIED: f64 = 0.75;

/// Quantises a matrix as its rows come: weights in groups of 32, an 8-bit integer scale a group, a
/// 15-bit multiplier a row.
pub(super) struct Quantiser {
    columns: usize,
    bits: u32,
    row_scales: Vec<f64>,
    weights: Vec<i8>,
    lower_bits: Option<Vec<u8>>,
    group_scales: Vec<u8>,
    largest: f64,
}

impl Quantiser {
    /// For `rows` rows of `columns` values, in `bits` bits, 12, 8 or 4.
    pub(super) fn new(rows: usize, columns: usize, bits: u32) -> Self {
        Self {
            columns,
            bits,
            row_scales: Vec::with_capacity(rows),
            weights: Vec::with_capacity(rows * columns),
            lower_bits: (bits == 12).then(|| Vec::with_capacity(rows * columns)),
            group_scales: Vec::with_capacity(rows * columns / GROUP),
            largest: 0.0,
        }
    }

    /// The next rows.
    pub(super) fn push(&mut self, values: &[f32]) {
        for row in values.chunks_exact(self.columns) {
            self.push_row(row);
        }
    }

    fn push_row(&mut self, row: &[f32]) {
        let (low, high) = match self.bits {
            12 => (-2047.0, 2047.0),
            8 => (-127.0, 127.0),
            _ => (-8.0, 7.0),
        };
        let largest = |values: &[f32]| {
            f64::from(values.iter().fold(0.0_f32, |max, value| max.max(value.abs())))
        };
        let wanted: Vec<f64> = row.chunks_exact(GROUP).map(|group| largest(group) / high).collect();
        let row_scale = (wanted.iter().fold(0.0_f64, |max, scale| max.max(*scale)) / SCALE_MAX)
            .max(SMALLEST_SCALE);
        self.row_scales.push(row_scale);
        self.largest = self.largest.max(largest(row));
        for (group, wanted) in row.chunks_exact(GROUP).zip(wanted) {
            let whole = round(wanted / row_scale).clamp(1, 255);
            let scale = match self.bits {
                // What a scale that was rounded down clips is many steps of so many bits.
                12 => round(libm::ceil(wanted / row_scale)).clamp(1, 255),
                8 => whole,
                _ => best_scale(group, row_scale, whole, (low, high)),
            };
            self.group_scales.push(narrow(scale));
            let step = scale as f64 * row_scale;
            let weights = group.iter().map(|value| weight(*value, step, (low, high)));
            if let Some(lower_bits) = &mut self.lower_bits {
                lower_bits.extend(weights.clone().map(|weight| narrow::<u8>(weight & 15)));
                self.weights.extend(weights.map(|weight| narrow::<i8>(weight >> 4)));
            } else {
                self.weights.extend(weights.map(narrow::<i8>));
            }
        }
    }

    /// The matrix, and the largest of all its values.
    pub(super) fn finish(self) -> (Linear, f64) {
        let Self { columns, row_scales, weights, lower_bits, group_scales, largest, .. } = self;
        let rows = row_scales.len();
        let coarsest = row_scales.iter().fold(SMALLEST_SCALE, |max, scale| max.max(*scale));
        let exponent = exponent_above(coarsest) - 15;
        let multiplier = |scale: &f64| narrow(round(scale / exp2(exponent)).clamp(1, 32_768));
        let row_multipliers = row_scales.iter().map(multiplier).collect();
        (
            Linear { rows, columns, weights, lower_bits, group_scales, row_multipliers, exponent },
            largest,
        )
    }
}

/// Two matrices of eight bits whose sum a matrix is: the second is what the first leaves.
pub(super) fn twice(values: &[f32], columns: usize) -> [Linear; 2] {
    let quantised = |values: &[f32]| {
        let mut quantiser = Quantiser::new(values.len() / columns.max(1), columns, 8);
        quantiser.push(values);
        quantiser.finish().0
    };
    let first = quantised(values);
    let rest: Vec<f32> = values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            let step = exp2(first.exponent)
                * f64::from(first.row_multipliers[at / columns])
                * f64::from(first.group_scales[at / GROUP]);
            #[expect(clippy::cast_possible_truncation, reason = "what is left has few digits")]
            let left = (f64::from(*value) - f64::from(first.weight(at)) * step) as f32;
            left
        })
        .collect();
    let second = quantised(&rest);
    [first, second]
}

/// The integer for a value.
fn weight(value: f32, step: f64, (low, high): (f64, f64)) -> i64 {
    round((f64::from(value) / step).clamp(low, high))
}

/// The group scale, at most `whole`, that loses least.
fn best_scale(group: &[f32], row_scale: f64, whole: i64, range: (f64, f64)) -> i64 {
    let loss = |scale: i64| {
        let step = scale as f64 * row_scale;
        let lost =
            group.iter().map(|value| f64::from(*value) - weight(*value, step, range) as f64 * step);
        lost.map(|lost| lost * lost).sum::<f64>()
    };
    let mut best = (loss(whole), whole);
    for tried in 1..=TRIED_SCALES {
        let part = 1.0 - (1.0 - FINEST_TRIED) * f64::from(tried) / f64::from(TRIED_SCALES);
        let scale = round(whole as f64 * part).max(1);
        let lost = loss(scale);
        if lost < best.0 {
            best = (lost, scale);
        }
    }
    best.1
}

/// Quantises a bias: 24 bits and a sign.
pub(super) fn bias(values: &[f32]) -> Bias {
    let largest = values.iter().fold(SMALLEST_SCALE, |max, value| max.max(f64::from(*value).abs()));
    let exponent = exponent_above(largest) - 24;
    let mantissa =
        |value: &f32| narrow(round(f64::from(*value) / exp2(exponent)).clamp(-(1 << 24), 1 << 24));
    Bias { mantissas: values.iter().map(mantissa).collect(), exponent }
}

/// Sinks or a router's biases as scores: base-2 logarithms in Q16. Far beyond other scores nothing is told
/// apart, so what is out of range is held.
pub(super) fn scores(values: &[f32]) -> Bias {
    let one = core::f64::consts::LOG2_E * exp2(-SCORE_EXPONENT);
    let mantissa = |value: &f32| narrow(round(f64::from(*value) * one).clamp(-(1 << 24), 1 << 24));
    Bias { mantissas: values.iter().map(mantissa).collect(), exponent: SCORE_EXPONENT }
}

/// An MLP's limit as the arithmetic has it.
pub(super) fn mlp_limit(limit: f64) -> Result<u32, ImportError> {
    if !(1e-3..=15.0).contains(&limit) {
        let (what, supported) = (format!("swiglu_limit {limit}"), "up to 15".to_owned());
        return Err(ImportError::Unsupported { what, supported });
    }
    Ok(narrow(round(limit * exp2(LIMIT_BITS.cast_signed()))))
}

/// Quantises a norm's gain, times `sqrt(width)`.
pub(super) fn gain(values: &[f32]) -> Gain {
    gain_of(&values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>())
}

/// The same, of gains that have been computed with.
pub(super) fn gain_of(values: &[f64]) -> Gain {
    let root = libm::sqrt(values.len() as f64);
    let scaled: Vec<f64> = values.iter().map(|value| value * root).collect();
    let largest = scaled.iter().fold(SMALLEST_SCALE, |max, value| max.max(value.abs()));
    let exponent = exponent_above(largest) - 14;
    let mantissas = scaled
        .iter()
        .map(|value| narrow(round(value / exp2(exponent)).clamp(-16_384, 16_384)))
        .collect();
    Gain { mantissas, exponent, bias: None }
}

/// `eps * width` as a 24-bit mantissa and an exponent.
pub(super) fn eps(eps: f64, width: u32) -> Eps {
    let value = (eps * f64::from(width)).max(SMALLEST_SCALE);
    let mut exponent = exponent_above(value) - 24;
    let mut mantissa = round(value / exp2(exponent));
    if mantissa >= 1 << 24 {
        exponent += 1;
        mantissa = 1 << 23;
    }
    Eps { mantissa: narrow(mantissa), exponent }
}

/// Fraction bits of the residual stream at most: more bring nothing, as blocks keep 14 bits of the
/// largest value.
pub(super) const MAX_FRACTION_BITS: u32 = 14;
/// Fraction bits at least, whatever the embedding holds.
const MIN_FRACTION_BITS: i32 = 4;
/// Bits that `rescale` gives out.
const RESCALE_BITS: i32 = 30;
/// Bits of the residual that layers may add on top of the embedding's: real models are known for
/// single channels of some thousands.
const HEADROOM_BITS: i32 = 16;

/// The residual's fraction bits: as many as leave the embedding, whose largest value is `largest`,
/// its headroom.
pub(super) fn residual_fraction_bits(largest: f64) -> u32 {
    let bits = RESCALE_BITS - HEADROOM_BITS - exponent_above(largest.max(SMALLEST_SCALE));
    bits.clamp(MIN_FRACTION_BITS, MAX_FRACTION_BITS.cast_signed()).unsigned_abs()
}

/// `round(log2(e) / sqrt(head_dim) * 2^15)`.
pub(super) fn qk_scale(head_dim: u32) -> u32 {
    narrow(round(core::f64::consts::LOG2_E / libm::sqrt(f64::from(head_dim)) * 32_768.0))
}

/// Another scale than that, as a number from `2^14` to `2^15` that keeps its digits, and a power of two.
pub(super) fn qk_scale_and_exponent(scale: f64) -> (u32, i32) {
    let value = core::f64::consts::LOG2_E * scale * 32_768.0;
    let exponent = exponent_above(value) - 15;
    (narrow(round(value / exp2(exponent))), exponent)
}

/// A cap as the arithmetic has it.
pub(super) fn soft_cap(cap: f64) -> Result<SoftCap, ImportError> {
    let above = exponent_above(cap);
    let exponent = above - i32::from(exp2(above) > cap);
    if !(0..=MAX_CAP_EXPONENT.cast_signed()).contains(&exponent) {
        let (what, supported) = (format!("a cap of {cap}"), "1 to 8191".to_owned());
        return Err(ImportError::Unsupported { what, supported });
    }
    let inverse = narrow(round(exp2(16 + exponent) / cap).clamp(1 << 15, 1 << 16));
    Ok(SoftCap { inverse, exponent })
}

/// The fraction bits with which values up to `largest` fit.
pub(super) fn fraction_bits_below(largest: f64) -> u32 {
    let bits = RESCALE_BITS - 1 - exponent_above(largest);
    bits.clamp(MIN_FRACTION_BITS, MAX_FRACTION_BITS.cast_signed()).unsigned_abs()
}

/// The tables of an encoder, whose MLP or gate goes through `activation`; with `tanh` that by which it is
/// computed.
pub(super) fn encoder_tables(
    config: &ModelConfig,
    rotations: &[Vec<f64>],
    activation: Activation,
    tanh: bool,
) -> Tables {
    let rotations: Vec<(Vec<f64>, f64)> =
        rotations.iter().map(|frequencies| (frequencies.clone(), 1.0)).collect();
    let last_norm = Gain { mantissas: Vec::new(), exponent: 0, bias: None };
    let made = tables(config, &rotations, activation, last_norm);
    Tables { softcap: if tanh { soft_caps() } else { Vec::new() }, ..made }
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// The normal distribution function.
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x / core::f64::consts::SQRT_2)
}

/// The same, as models that say `tanh` have it.
fn normal_by_tanh(x: f64) -> f64 {
    let root = libm::sqrt(2.0 / core::f64::consts::PI);
    0.5 * (1.0 + libm::tanh(root * (x + 0.044_715 * x * x * x)))
}

/// What a gate is multiplied by, in steps of 1/64.
fn gate(function: impl Fn(f64) -> f64) -> Vec<u16> {
    (0..SIGMOID_ENTRIES)
        .map(|i| narrow(round(32_768.0 * function((i as f64 - 1024.0) / 64.0))))
        .collect()
}

/// `tanh(x) / x` in steps of 1/64.
fn soft_caps() -> Vec<u16> {
    let entry = |x: f64| if x == 0.0 { 1.0 } else { libm::tanh(x) / x };
    (0..SOFTCAP_ENTRIES).map(|i| narrow(round(32_768.0 * entry(i as f64 / 64.0)))).collect()
}

/// The tables of a model. Each rotation is how many radians a position its pairs turn by, and what cosine
/// and sine are multiplied by.
pub(super) fn tables(
    config: &ModelConfig,
    rotations: &[(Vec<f64>, f64)],
    activation: Activation,
    last_norm: Gain,
) -> Tables {
    let rotation = |(frequencies, scale): &(Vec<f64>, f64)| {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in 0..config.max_positions {
            for frequency in frequencies {
                let angle = f64::from(position) * frequency;
                // What does not turn is not stretched.
                let scale = if *frequency == 0.0 { 1.0 } else { *scale };
                cos.push(narrow(round(libm::cos(angle) * 16_384.0 * scale)));
                sin.push(narrow(round(libm::sin(angle) * 16_384.0 * scale)));
            }
        }
        Rotation { cos, sin }
    };
    let mut tables = tables_without_rotations(last_norm);
    tables.rotations = rotations.iter().map(rotation).collect();
    match activation {
        Activation::Silu => (),
        Activation::GeluTanh => tables.sigmoid = gate(normal_by_tanh),
        Activation::Gelu => tables.sigmoid = gate(normal),
        Activation::QuickGelu => tables.sigmoid = gate(|x| logistic(QUICK_GELU_SLOPE * x)),
    }
    if config.has_caps() {
        tables.softcap = soft_caps();
    }
    tables
}

fn tables_without_rotations(last_norm: Gain) -> Tables {
    Tables {
        exp2: (0..EXP2_ENTRIES)
            .map(|i| narrow(round(libm::exp2(-(i as f64) / 256.0) * 32_768.0)))
            .collect(),
        sigmoid: (0..SIGMOID_ENTRIES)
            .map(|i| narrow(round(32_768.0 / (1.0 + libm::exp(-(i as f64 - 1024.0) / 64.0)))))
            .collect(),
        rsqrt: (0..RSQRT_ENTRIES)
            .map(|i| narrow(round(32_768.0 / libm::sqrt((i as f64 + 256.5) / 256.0)).min(32_767)))
            .collect(),
        rotations: Vec::new(),
        last_norm,
        softcap: Vec::new(),
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
#[expect(
    clippy::cast_possible_truncation,
    reason = "every caller clamps; a float too large for i64 saturates"
)]
fn round(value: f64) -> i64 {
    libm::round(value) as i64
}

/// Into a type that the caller's clamp fits.
fn narrow<T: TryFrom<i64> + Default>(value: i64) -> T {
    T::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_model::package::EXP2;
    use potluck_model::synthetic::{Random, config};

    /// The real value of a weight.
    fn value(linear: &Linear, row: usize, column: usize) -> f64 {
        let at = row * linear.columns + column;
        let scale =
            f64::from(linear.group_scales[at / GROUP]) * f64::from(linear.row_multipliers[row]);
        f64::from(linear.weight(at)) * scale * exp2(linear.exponent)
    }

    fn quantised(values: &[f32], columns: usize, bits: u32) -> Linear {
        let mut quantiser = Quantiser::new(values.len() / columns, columns, bits);
        // Row by row, as a file is read.
        values.chunks_exact(columns).for_each(|row| quantiser.push(row));
        quantiser.finish().0
    }

    #[test]
    fn four_bits_lose_less_than_half_a_step_of_the_largest_on_the_whole() {
        let mut random = Random::new(4);
        // The sum of several is nearly normal, as weights are.
        let values: Vec<f32> = (0..4 * 256)
            .map(|_| (0..6).map(|_| random.within(-1000, 1000)).sum::<i32>() as f32)
            .collect();
        let linear = quantised(&values, 256, 4);
        assert!(linear.weights.iter().all(|weight| (-8..=7).contains(weight)));
        let mut lost = [0.0, 0.0];
        for (at, group) in values.chunks_exact(GROUP).enumerate() {
            let step =
                group.iter().fold(0.0_f64, |max, value| max.max(f64::from(*value).abs())) / 7.0;
            for (i, expected) in group.iter().map(|value| f64::from(*value)).enumerate() {
                let at = at * GROUP + i;
                lost[0] += (value(&linear, at / 256, at % 256) - expected).powi(2);
                lost[1] += ((expected / step).round() * step - expected).powi(2);
            }
        }
        assert!(lost[0] < lost[1], "{} against plain rounding's {}", lost[0], lost[1]);
    }

    #[test]
    fn biases_keep_their_value() {
        let values = [0.5, -3.25, 100.0, 0.0, 1e-3];
        let bias = bias(&values);
        for (mantissa, expected) in bias.mantissas.iter().zip(values) {
            assert!(
                (f64::from(*mantissa) * exp2(bias.exponent) - f64::from(expected)).abs() < 1e-5
            );
        }
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "random numbers for a test")]
    fn a_weight_is_off_by_half_a_step_and_what_its_group_s_scale_was_rounded_by() {
        let mut random = Random::new(1);
        let (rows, columns) = (7, 96);
        // Rows and groups of very different sizes.
        let values: Vec<f32> = (0..rows * columns)
            .map(|at| {
                let smaller = at / columns + at / GROUP % 3 * 2;
                f64::from(random.within(-10_000, 10_000)) * exp2(-(smaller as i32))
            })
            .map(|value| value as f32)
            .collect();
        let linear = quantised(&values, columns, 8);
        let largest = |values: &[f32]| {
            values.iter().fold(0.0_f64, |max, value| max.max(f64::from(*value).abs()))
        };
        for (at, expected) in values.iter().enumerate() {
            let (row, column) = (at / columns, at % columns);
            let in_group = largest(&values[at / GROUP * GROUP..][..GROUP]);
            let in_row = largest(&values[row * columns..][..columns]);
            let error = (value(&linear, row, column) - f64::from(*expected)).abs();
            // A step is a 127th of the group's largest; a scale is rounded by half a 255th of the
            // row's largest at most.
            assert!(
                error < in_group / 250.0 + in_row / 500.0,
                "{expected} of {in_group} and {in_row} is off by {error}"
            );
        }
    }

    #[test]
    fn twelve_bits_are_a_sixteenth_as_far_off() {
        let mut random = Random::new(2);
        let values: Vec<f32> =
            (0..4 * 256).map(|_| random.within(-10_000, 10_000) as f32 / 3.0).collect();
        let lost = |linear: &Linear| {
            let lost = values
                .iter()
                .enumerate()
                .map(|(at, wanted)| value(linear, at / 256, at % 256) - f64::from(*wanted));
            libm::sqrt(lost.map(|lost| lost * lost).sum::<f64>())
        };
        let [eight, twelve] = [8, 12].map(|bits| quantised(&values, 256, bits));
        assert!((0..values.len()).all(|at| (-2047..=2047).contains(&twelve.weight(at))));
        assert!(lost(&twelve) < lost(&eight) / 12.0, "{} against {}", lost(&twelve), lost(&eight));
    }

    #[test]
    fn rows_of_zeros_stay_zero_and_in_range() {
        let mut values = vec![0.0_f32; 3 * 64];
        values[64] = 1.0;
        let linear = quantised(&values, 64, 8);
        assert!(linear.group_scales.iter().all(|scale| *scale > 0));
        assert!(linear.row_multipliers.iter().all(|multiplier| (1..=32_768).contains(multiplier)));
        assert_eq!((value(&linear, 0, 5), value(&linear, 2, 63)), (0.0, 0.0));
        assert!((value(&linear, 1, 0) - 1.0).abs() < 1e-2);
        for bits in [12, 8, 4] {
            assert_eq!(quantised(&[0.0; 64], 64, bits).weights, [0; 64]);
        }
    }

    #[test]
    fn exponents_are_the_smallest_that_cover_the_value() {
        for (value, expected) in
            [(1.0, 0), (1.000_001, 1), (0.5, -1), (0.75, 0), (8.0, 3), (9.0, 4), (1e-20, -66)]
        {
            assert_eq!(exponent_above(value), expected, "{value}");
        }
    }

    #[test]
    fn the_residual_gets_as_many_fraction_bits_as_the_embedding_leaves() {
        for (largest, expected) in
            [(0.0, 14), (0.02, 14), (1.0, 14), (1.5, 13), (40.0, 8), (1e6, 4), (1e30, 4)]
        {
            assert_eq!(residual_fraction_bits(largest), expected, "{largest}");
        }
    }

    #[test]
    fn gains_and_epsilons_keep_their_value() {
        let gain = gain(&[0.75, -0.5, 0.001, 0.0]);
        for (mantissa, expected) in gain.mantissas.iter().zip([1.5, -1.0, 0.002, 0.0]) {
            assert!((f64::from(*mantissa) * exp2(gain.exponent) - expected).abs() < 1e-4);
        }
        for (value, width) in [(1e-5, 192), (1e-6, 4096), (1e-5, 16_384), (1.0, 32)] {
            let Eps { mantissa, exponent } = eps(value, width);
            assert!((1 << 23..1 << 24).contains(&mantissa));
            let got = f64::from(mantissa) * exp2(exponent);
            assert!(
                (got / (value * f64::from(width)) - 1.0).abs() < 1e-6,
                "{value} * {width} as {got}"
            );
        }
        assert!((1 << 23..1 << 24).contains(&eps(0.0, 192).mantissa));
    }

    #[test]
    fn tables_are_those_of_the_page() {
        let frequencies = crate::rope::frequencies(10_000.0, 32).unwrap();
        let (config, last_norm) = (config(1, 32, 32, (1, 1, 32), 32, 8), gain(&[1.0; 32]));
        let tables = tables(&config, &[(frequencies, 1.0)], Activation::Silu, last_norm);
        // The sampler's own copy, which no package can change.
        assert_eq!(tables.exp2, EXP2);
        assert_eq!(
            (tables.sigmoid[0], tables.sigmoid[1024], tables.sigmoid[2048]),
            (0, 16_384, 32_768)
        );
        assert_eq!((tables.rsqrt[0], tables.rsqrt[767]), (32_736, 16_388));
        // Position 0 does not turn; position 1 turns its first pair by one radian.
        let turn = &tables.rotations[0];
        assert_eq!((turn.cos[0], turn.sin[0]), (16_384, 0));
        assert_eq!((turn.cos[16], turn.sin[16]), (8852, 13_787));
    }

    #[test]
    fn gates_caps_and_scores_keep_their_value() {
        let [tanh, erf] = [normal_by_tanh, normal].map(gate);
        for table in [&tanh, &erf] {
            assert_eq!((table[0], table[1024], table[2048]), (0, 16_384, 32_768));
            assert!(table.windows(2).all(|pair| pair[0] <= pair[1]));
        }
        let quick = gate(|x| logistic(QUICK_GELU_SLOPE * x));
        // 1 / (1 + e^-1.702) = 0.8458.
        assert_eq!((quick[0], quick[1024], quick[1088], quick[2048]), (0, 16_384, 27_715, 32_768));
        assert_eq!(mlp_limit(7.0).unwrap(), 7 << 26);
        assert!(mlp_limit(0.0).is_err() && mlp_limit(16.0).is_err());
        assert_eq!(scores(&[1.0, -1e3]).mantissas, [94_548, -(1 << 24)]);
        // Phi(1) = 0.8413, by tanh 0.8412.
        assert_eq!((tanh[1088], erf[1088]), (27_564, 27_569));
        let caps = soft_caps();
        assert!(caps.windows(2).all(|pair| pair[0] >= pair[1]));
        assert_eq!((caps[0], caps[64], caps[1024]), (32_768, 24_956, 2048));
        for cap in [1.0, 30.0, 32.0, 50.0 * core::f64::consts::LOG2_E] {
            let SoftCap { inverse, exponent } = soft_cap(cap).unwrap();
            assert!((1 << 15..=1 << 16).contains(&inverse) && exp2(exponent) <= cap);
            assert!((exp2(16 + exponent) / f64::from(inverse) / cap - 1.0).abs() < 1e-4, "{cap}");
        }
        assert!(soft_cap(0.5).is_err() && soft_cap(1e5).is_err());
        for scale in [1.0, 0.015_625, 0.088] {
            let (got, exponent) = qk_scale_and_exponent(scale);
            assert!((1 << 14..=1 << 15).contains(&got));
            let value = f64::from(got) * exp2(exponent - 15);
            assert!((value / scale / core::f64::consts::LOG2_E - 1.0).abs() < 1e-4, "{scale}");
        }
    }
}

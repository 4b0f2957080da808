//! What the kernels' tests share: true tables, made with this machine's floats, and blocks as
//! numbers. Floats only measure here; nothing pinned depends on them.

use potluck_model::package::{
    EXP2_ENTRIES, Gain, ModelConfig, RSQRT_ENTRIES, Rotation, SIGMOID_ENTRIES, SOFTCAP_ENTRIES,
    Tables,
};
use potluck_model::synthetic::Random;

/// The tables of `docs/numerics.md`, for a base of 10,000.
pub(crate) fn tables(config: &ModelConfig) -> Tables {
    let half = config.head_dim as usize / 2;
    let angle = |index: usize| {
        let frequency = 10_000_f64.powf(-2.0 * (index % half) as f64 / f64::from(config.head_dim));
        (index / half) as f64 * frequency
    };
    let rope = config.max_positions as usize * half;
    Tables {
        exp2: (0..EXP2_ENTRIES).map(|i| round((-(i as f64) / 256.0).exp2() * 32_768.0)).collect(),
        sigmoid: (0..SIGMOID_ENTRIES)
            .map(|i| round(32_768.0 / (1.0 + (-(i as f64 - 1024.0) / 64.0).exp())))
            .collect(),
        rsqrt: (0..RSQRT_ENTRIES)
            .map(|i| round((32_768.0 / ((i as f64 + 256.5) / 256.0).sqrt()).min(32_767.0)))
            .collect(),
        rotations: vec![Rotation {
            cos: (0..rope).map(|index| round(angle(index).cos() * 16_384.0)).collect(),
            sin: (0..rope).map(|index| round(angle(index).sin() * 16_384.0)).collect(),
        }],
        softcap: (0..SOFTCAP_ENTRIES)
            .map(|i| (i as f64 / 64.0).max(1e-9))
            .map(|u| round(u.tanh() / u * 32_768.0))
            .collect(),
        last_norm: Gain {
            mantissas: vec![16_384; config.d_model as usize],
            exponent: -14,
            bias: None,
        },
    }
}

#[expect(clippy::cast_possible_truncation, reason = "every value above is small")]
fn round<T: TryFrom<i64> + Default>(value: f64) -> T {
    T::try_from(value.round() as i64).unwrap_or_default()
}

/// `mantissa * 2^exponent`.
pub(crate) fn value(mantissa: i32, exponent: i32) -> f64 {
    f64::from(mantissa) * f64::from(exponent).exp2()
}

/// `count` numbers of at most `bits` bits and a sign.
pub(crate) fn numbers(random: &mut Random, count: usize, bits: u32) -> Vec<i32> {
    let most = i32::try_from((1_i64 << bits) - 1).unwrap_or(i32::MAX);
    (0..count).map(|_| random.within(-most, most)).collect()
}

//! How fast each pair of a head turns: plain frequencies, and the stretching that Llama 3.1 and
//! later use for long contexts.

use crate::error::ImportError;
use potluck_model::package::MAX_HEAD_DIM;

/// The four numbers of `rope_type: llama3`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Llama3 {
    /// Slow pairs turn so many times slower.
    pub(super) factor: f64,
    /// Pairs that turn fewer times than this over the original context are slow.
    pub(super) low: f64,
    /// Pairs that turn more often than this are left alone.
    pub(super) high: f64,
    /// Positions that the model was first trained with.
    pub(super) original: f64,
}

/// Radians a position of every pair: `theta^(-2 j / head_dim)`, `[head_dim / 2]`.
pub(super) fn frequencies(theta: f64, head_dim: u32) -> Result<Vec<f64>, ImportError> {
    if !(theta.is_finite() && theta >= 1.0) {
        let (what, supported) = (format!("rope_theta {theta}"), "a base of 1 or more".to_owned());
        return Err(ImportError::Unsupported { what, supported });
    }
    if head_dim > MAX_HEAD_DIM {
        let (what, supported) =
            (format!("a head of width {head_dim}"), format!("up to {MAX_HEAD_DIM}"));
        return Err(ImportError::Unsupported { what, supported });
    }
    Ok((0..head_dim / 2)
        .map(|j| libm::pow(theta, -2.0 * f64::from(j) / f64::from(head_dim)))
        .collect())
}

/// Slows the slow pairs down, leaves the fast ones, and goes smoothly from one to the other
/// between.
pub(super) fn llama3(mut frequencies: Vec<f64>, scaling: Llama3) -> Result<Vec<f64>, ImportError> {
    let Llama3 { factor, low, high, original } = scaling;
    let sound =
        [factor, low, high, original].iter().all(|number| number.is_finite() && *number > 0.0);
    if !sound || factor < 1.0 || high <= low {
        let what = format!(
            "a llama3 RoPE with factor {factor}, {low} to {high} turns in {original} positions"
        );
        return Err(ImportError::Unsupported {
            what,
            supported: "a factor of 1 or more, low below high".to_owned(),
        });
    }
    for frequency in &mut frequencies {
        let turns = original * *frequency / core::f64::consts::TAU;
        // 0 for slow pairs, 1 for fast ones.
        let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        *frequency *= kept + (1.0 - kept) / factor;
    }
    Ok(frequencies)
}

/// Divides by factors that a file gives outright.
pub(super) fn divided(mut frequencies: Vec<f64>, factors: &[f32]) -> Result<Vec<f64>, ImportError> {
    if factors.len() != frequencies.len()
        || factors.iter().any(|factor| !(factor.is_finite() && *factor > 0.0))
    {
        let what =
            format!("{} factors of frequencies for {} pairs", factors.len(), frequencies.len());
        return Err(ImportError::Unsupported {
            what,
            supported: "one above 0 for every pair".to_owned(),
        });
    }
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= f64::from(*factor);
    }
    Ok(frequencies)
}

/// The numbers of `rope_type: yarn`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yarn {
    /// The base of the plain frequencies.
    pub(super) theta: f64,
    /// Slow pairs turn so many times slower.
    pub(super) factor: f64,
    /// Pairs that turn more often than this over the original context are left alone.
    pub(super) fast: f64,
    /// Pairs that turn fewer times are slow.
    pub(super) slow: f64,
    /// Positions that the model was first trained with.
    pub(super) original: f64,
    /// Whether the bounds between fast and slow are whole pairs.
    pub(super) truncate: bool,
}

/// Slows the slow pairs down, as YaRN does it (arXiv 2309.00071).
pub(super) fn yarn(mut frequencies: Vec<f64>, scaling: Yarn) -> Result<Vec<f64>, ImportError> {
    let Yarn { theta, factor, fast, slow, original, truncate } = scaling;
    let sound = [theta, factor, fast, slow, original].iter().all(|it| it.is_finite() && *it > 0.0);
    if !sound || factor < 1.0 || theta <= 1.0 {
        let what = format!(
            "a yarn RoPE with factor {factor}, {slow} to {fast} turns in {original} positions"
        );
        return Err(ImportError::Unsupported {
            what,
            supported: "a factor of 1 or more, numbers above 0".to_owned(),
        });
    }
    let width = 2.0 * frequencies.len() as f64;
    // The pair that turns so many times over the original context.
    let pair = |turns: f64| {
        width * libm::log(original / (turns * core::f64::consts::TAU)) / (2.0 * libm::log(theta))
    };
    let (mut low, mut high) = (pair(fast), pair(slow));
    if truncate {
        (low, high) = (libm::floor(low), libm::ceil(high));
    }
    (low, high) = (low.max(0.0), high.min(width - 1.0));
    if low == high {
        high += 0.001;
    }
    for (j, frequency) in frequencies.iter_mut().enumerate() {
        let slowed = ((j as f64 - low) / (high - low)).clamp(0.0, 1.0);
        *frequency *= slowed / factor + (1.0 - slowed);
    }
    Ok(frequencies)
}

/// By how much YaRN stretches what it turns, `0.1 ln(factor) + 1`.
pub(super) fn yarn_scale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * libm::log(factor) + 1.0 }
}

/// By how much LongRoPE does (arXiv 2402.13753).
pub(super) fn longrope_scale(factor: f64, original: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { libm::sqrt(1.0 + libm::log(factor) / libm::log(original)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies_fall_from_one_radian() {
        let got = frequencies(10_000.0, 64).unwrap();
        assert_eq!((got.len(), got[0]), (32, 1.0));
        assert!((got[16] - 0.01).abs() < 1e-12);
        assert!(frequencies(0.5, 64).is_err() && frequencies(f64::NAN, 64).is_err());
    }

    #[test]
    fn llama3_leaves_fast_pairs_and_slows_slow_ones() {
        // The numbers of Llama 3.2: pairs of fewer than 2048 positions a turn stay, of more than
        // 8192 are 32 times slower.
        let scaling = Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 };
        let plain = frequencies(500_000.0, 64).unwrap();
        let scaled = llama3(plain.clone(), scaling).unwrap();
        for (plain, scaled) in plain.iter().zip(&scaled) {
            let positions_a_turn = core::f64::consts::TAU / plain;
            let ratio = plain / scaled;
            match positions_a_turn {
                fast if fast < 2048.0 => assert!((ratio - 1.0).abs() < 1e-12),
                slow if slow > 8192.0 => assert!((ratio - 32.0).abs() < 1e-9),
                _ => assert!(ratio > 1.0 && ratio < 32.0),
            }
        }
        for broken in [
            Llama3 { factor: 0.5, ..scaling },
            Llama3 { high: 1.0, ..scaling },
            Llama3 { original: f64::NAN, ..scaling },
        ] {
            assert!(llama3(plain.clone(), broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn factors_of_a_file_divide() {
        assert_eq!(divided(vec![1.0, 0.5], &[1.0, 2.0]).unwrap(), [1.0, 0.25]);
        assert!(divided(vec![1.0], &[1.0, 2.0]).is_err());
        assert!(divided(vec![1.0], &[0.0]).is_err());
        assert!(divided(vec![1.0], &[f32::NAN]).is_err());
    }
}

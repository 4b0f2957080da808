//! How the next token is sampled, as it travels with each step.

use serde::{Deserialize, Serialize};

/// Parameters of sampling; all integers, so that they mean the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// Temperature in thousandths; 0 is greedy.
    pub temperature_milli: u32,
    /// Keep only this many of the likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the likeliest tokens up to this much probability, in thousandths (1..=1000).
    pub top_p_milli: u32,
    /// What scores of tokens that the text has already are divided by, or multiplied with below 0, in
    /// thousandths; [`NO_REPETITION_PENALTY_MILLI`] leaves them alone.
    pub repetition_penalty_milli: u32,
    /// Seed of the random numbers.
    pub seed: u64,
}

/// Lowest temperature that is not greedy, in thousandths: below it the integer coefficient leaves
/// 32 bits of headroom for no gain.
pub const MIN_TEMPERATURE_MILLI: u32 = 50;
/// Highest temperature, in thousandths: beyond it the text is noise.
pub const MAX_TEMPERATURE_MILLI: u32 = 5_000;
/// A repetition penalty that changes nothing, in thousandths.
pub const NO_REPETITION_PENALTY_MILLI: u32 = 1_000;
/// Lowest repetition penalty, in thousandths: below [`NO_REPETITION_PENALTY_MILLI`] it favours what the
/// text has already, and no score more than doubles.
pub const MIN_REPETITION_PENALTY_MILLI: u32 = 500;
/// Highest repetition penalty, in thousandths: makers set up to 1.3, and no score more than doubles.
pub const MAX_REPETITION_PENALTY_MILLI: u32 = 2_000;

impl Sampling {
    /// True if every field is in the range that the arithmetic is defined for.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let (temperature, penalty) = (self.temperature_milli, self.repetition_penalty_milli);
        (temperature == 0 || (MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI).contains(&temperature))
            && (1..=1000).contains(&self.top_p_milli)
            && (MIN_REPETITION_PENALTY_MILLI..=MAX_REPETITION_PENALTY_MILLI).contains(&penalty)
    }

    /// True if a sample depends on which tokens the text has already.
    #[must_use]
    pub fn minds_repetition(&self) -> bool {
        self.repetition_penalty_milli != NO_REPETITION_PENALTY_MILLI
    }
}

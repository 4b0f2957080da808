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
    /// Seed of the random numbers.
    pub seed: u64,
}

/// Lowest temperature that is not greedy, in thousandths: below it the integer coefficient leaves
/// 32 bits of headroom for no gain.
pub const MIN_TEMPERATURE_MILLI: u32 = 50;
/// Highest temperature, in thousandths: beyond it the text is noise.
pub const MAX_TEMPERATURE_MILLI: u32 = 5_000;

impl Sampling {
    /// True if every field is in the range that the arithmetic is defined for.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let temperature = self.temperature_milli;
        (temperature == 0 || (MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI).contains(&temperature))
            && (1..=1000).contains(&self.top_p_milli)
    }
}

//! What every manifest is held to, a decoder's and an encoder's: version, names, ranges.

use potluck_protocol::NUMERICS_VERSION;
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI,
};

/// Version of the manifest's own form.
pub const FORMAT: u32 = 3;
/// Architectures that the arithmetic computes: one decoder layer, with windows, biases, norms, caps and
/// experts where the config says so.
pub const ARCHITECTURES: [&str; 18] = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "phi3",
    "olmo2",
    "olmo3",
    "smollm3",
    "granite",
    "mixtral",
    "qwen3moe",
    "olmoe",
    "gptoss",
    "qwen2moe",
    "starcoder2",
    "stablelm",
];
/// Bytes of a manifest at most, for whoever writes, fetches or reads one: 94 layers of 128 experts, a
/// name of a hundred bytes each, need 1.3 MB.
pub const MAX_MANIFEST_BYTES: usize = 2 << 20;
/// Bytes of a model's name at most; it becomes a file's name.
pub const MAX_NAME_BYTES: usize = 96;

/// A manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not JSON of this form.
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
    /// A version this build does not speak.
    #[error("the manifest has {field} {got}; this build knows {expected}")]
    Version {
        /// Which version.
        field: &'static str,
        /// What this build knows.
        expected: u32,
        /// What it says.
        got: u32,
    },
    /// An architecture this build does not compute.
    #[error("architecture {0:?} is not supported; supported: {supported}", supported = ARCHITECTURES.join(", "))]
    Architecture(String),
    /// A number outside what the arithmetic is defined for.
    #[error("{field} is {got}, outside {low} to {high}")]
    Range {
        /// Which one.
        field: &'static str,
        /// Lowest.
        low: u64,
        /// Highest.
        high: u64,
        /// What it says.
        got: u64,
    },
    /// Defaults that no step may carry.
    #[error(
        "a temperature of {temperature_milli} and a top p of {top_p_milli} with a repetition penalty of \
         {repetition_penalty_milli} thousandths; allowed are 0 or {MIN_TEMPERATURE_MILLI} to \
         {MAX_TEMPERATURE_MILLI}, 1 to 1000, and {MIN_REPETITION_PENALTY_MILLI} to \
         {MAX_REPETITION_PENALTY_MILLI}"
    )]
    Sampling {
        /// Thousandths.
        temperature_milli: u32,
        /// Thousandths.
        top_p_milli: u32,
        /// Thousandths.
        repetition_penalty_milli: u32,
    },
    /// Longer than any manifest needs to be.
    #[error("a manifest of {got} bytes; at most {MAX_MANIFEST_BYTES} are read")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Numbers that do not fit together.
    #[error("the manifest does not fit together: {0}")]
    Inconsistent(String),
}

/// Whether this build knows a manifest's format and arithmetic.
pub(crate) fn check_versions(format: u32, numerics: u32) -> Result<(), ManifestError> {
    for (field, expected, got) in
        [("format", FORMAT, format), ("numerics", u32::from(NUMERICS_VERSION), numerics)]
    {
        if got != expected {
            return Err(ManifestError::Version { field, expected, got });
        }
    }
    Ok(())
}

/// Whether a number is within `low..=high`.
pub(crate) fn range(
    field: &'static str,
    got: u32,
    low: u32,
    high: u32,
) -> Result<(), ManifestError> {
    if (low..=high).contains(&got) {
        return Ok(());
    }
    Err(ManifestError::Range { field, low: low.into(), high: high.into(), got: got.into() })
}

/// Whether a text may be a model's name: it becomes a file's name, here and on every node.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    plain && !name.starts_with('.') && (1..=MAX_NAME_BYTES).contains(&name.len())
}

//! Which variants of the kernels there are to choose from, and the note of what an adapter was
//! found to run fastest. Measures nothing: that is `tune`.

use serde::{Deserialize, Serialize};

/// How Linear multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// Exact sums of eight products in `f32`.
    Fma,
    /// Four signed bytes at once (`dot4I8Packed`), in two planes.
    Dot,
}

impl Arithmetic {
    /// The one of two that is its own.
    pub(super) fn of<T>(self, fma: T, dot: T) -> T {
        match self {
            Self::Fma => fma,
            Self::Dot => dot,
        }
    }
}

/// How Linear takes many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gemm {
    /// Four rows and one output an invocation (`gemv_rows4_…`).
    Rows4,
    /// Four rows and four outputs an invocation, without a barrier (`gemm_4x4_…`).
    Block4x4,
    /// 64 rows and 64 outputs a workgroup, in its memory (`gemm_tiled_64x64_…`).
    Tiled64x64,
}

/// Which variants of the kernels run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variants {
    /// How all of them multiply.
    pub arithmetic: Arithmetic,
    /// For more than a few rows.
    pub gemm: Gemm,
    /// Invocations that keep the adapter busy: for few rows, the inputs of an output are spread
    /// until there are so many.
    pub busy_invocations: u32,
    /// Whether a single row is rotated and its heads are merged in the dispatches beside these
    /// steps: fewer dispatches, more arithmetic.
    pub fused: bool,
    /// How all of them are compiled.
    pub shaders: Shaders,
}

/// How kernels are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shaders {
    /// Invocations of a workgroup of the kernels between the matrices, at most: a program that
    /// stands in for a GPU pays for every one.
    pub most_invocations: u32,
    /// Whether those find their maxima and sums within subgroups first.
    pub subgroups: bool,
    /// Whether the graphics library checks what the driver does not: indices, loops, divisions. For
    /// tests; a browser does in any case.
    pub checked: bool,
}

impl Variants {
    /// Every arithmetic with every way to take many rows; of the spreads, one of each kind.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let spread = [
            (Gemm::Tiled64x64, 0, true, 256),
            (Gemm::Block4x4, 1 << 10, true, 64),
            (Gemm::Rows4, u32::MAX, false, 16),
        ];
        let with = |arithmetic, subgroups, checked| {
            spread.map(|(gemm, busy_invocations, fused, most_invocations)| {
                let shaders = Shaders { most_invocations, subgroups, checked };
                Self { arithmetic, gemm, busy_invocations, fused, shaders }
            })
        };
        [with(Arithmetic::Fma, true, false), with(Arithmetic::Dot, false, true)].concat()
    }
}

/// What an adapter was found to run fastest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// [`TUNING_VERSION`] of whoever measured.
    pub version: u32,
    /// The adapter and its driver.
    pub adapter: String,
    /// The fastest.
    pub kernels: Variants,
}

/// Raised when kernels or the way to measure them change.
pub const TUNING_VERSION: u32 = 4;

/// The measured kernels, if they are still those of this adapter and version.
pub(super) fn kept(tuning: Option<&Tuning>, adapter: &str) -> Option<Variants> {
    tuning
        .filter(|tuning| tuning.version == TUNING_VERSION && tuning.adapter == adapter)
        .map(|tuning| tuning.kernels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuning_of_another_adapter_or_version_is_not_kept() {
        let kernels = Variants {
            arithmetic: Arithmetic::Dot,
            gemm: Gemm::Block4x4,
            busy_invocations: 7,
            fused: true,
            shaders: Shaders { most_invocations: 64, subgroups: true, checked: false },
        };
        let tuning = Tuning { version: TUNING_VERSION, adapter: "a".to_owned(), kernels };
        assert_eq!(kept(Some(&tuning), "a"), Some(kernels));
        assert_eq!(kept(Some(&tuning), "b"), None);
        assert_eq!(kept(Some(&Tuning { version: 0, ..tuning }), "a"), None);
        assert_eq!(kept(None, "a"), None);
    }
}

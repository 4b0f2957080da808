//! The families of encoders, and what each has that the others have not.

/// Whose layers an encoder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// BERT, XLM-RoBERTa: a row for every position, biases everywhere, norms after, a plain MLP.
    #[default]
    Bert,
    /// Nomic: queries and keys turn, no biases but of norms, norms after, a gated MLP.
    Nomic,
    /// `ModernBERT`: queries and keys turn, no biases at all, norms before, a gated MLP, windows.
    Modern,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bert, Self::Nomic, Self::Modern];

    /// What a manifest calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Nomic => "nomic-bert",
            Self::Modern => "modern-bert",
        }
    }

    /// The one that a manifest calls so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Whether a layer's matrices have biases.
    #[must_use]
    pub fn biases(self) -> bool {
        self == Self::Bert
    }

    /// Whether norms have.
    #[must_use]
    pub fn norm_biases(self) -> bool {
        self != Self::Modern
    }

    /// Whether queries and keys turn, in place of rows for positions.
    #[must_use]
    pub fn turns(self) -> bool {
        self != Self::Bert
    }

    /// Whether an MLP's up is multiplied by its gate.
    #[must_use]
    pub fn gated(self) -> bool {
        self != Self::Bert
    }

    /// Whether norms are before attention and MLP, and one more is at the end; else they are after.
    #[must_use]
    pub fn norms_before(self) -> bool {
        self == Self::Modern
    }
}

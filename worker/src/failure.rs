//! Why the machine could not do what the node wanted, one type an operation.
//!
//! They are sentences only where a person reads them; whoever has to act (find another engine, try
//! again, give up one question) looks at the type.

use std::sync::Arc;

use potluck_engine::engine::{EngineError, ForwardError, GpuLoss, LoadError, SessionError};
use potluck_engine::known_answer::KnownAnswerError;
use potluck_model::package::ManifestError;
use potluck_model::tokenizer::TokenizerError;
use potluck_net::weights::FetchError;

/// A manifest or a tokenizer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailure {
    /// It could not be downloaded, or is not what its hash says.
    #[error(transparent)]
    Download(#[from] FetchError),
    /// The manifest is not one.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The tokenizer is not one.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// A part is not in the engine.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// It could not be downloaded, or is not what its hash says.
    #[error(transparent)]
    Download(#[from] FetchError),
    /// The engine refused it, and not because its GPU is gone.
    #[error(transparent)]
    Refused(LoadError),
    /// There is no engine for it any more.
    #[error(transparent)]
    Engine(#[from] EngineFailure),
    /// No copy is here, and it may not be downloaded now.
    #[error("the data that may be used today is used up")]
    Withheld,
}

/// A step was not computed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StepFailure {
    /// The engine refused it, or failed at it.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// There is no engine for it; the same failure for all steps of a batch.
    #[error(transparent)]
    Engine(Arc<EngineFailure>),
}

/// There is no engine, or one that does not have everything yet.
#[derive(Debug, thiserror::Error)]
pub enum EngineFailure {
    /// The person stopped it meanwhile.
    #[error("the engine is stopped")]
    Stopped,
    /// This machine has no backend of the kind that was asked for.
    #[error(transparent)]
    Backend(#[from] EngineError),
    /// The known-answer test could not be run.
    #[error(transparent)]
    KnownAnswer(#[from] KnownAnswerError),
    /// The known-answer test came out differently.
    #[error("{adapter} computes wrongly: it fails the known-answer test; choose another backend")]
    Wrong {
        /// The adapter's or processor's name.
        adapter: String,
    },
    /// The GPU is gone for good, and nothing else may compute here.
    #[error("{reason}")]
    Lost {
        /// What the GPU's driver said.
        reason: String,
    },
    /// Weights that the lost GPU held could not be fetched again.
    #[error(transparent)]
    Weights(#[from] FetchError),
    /// The engine that took over refused a part.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine that took over could not resume a session.
    #[error(transparent)]
    Resume(#[from] ForwardError),
    /// A session could not be opened.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl StepFailure {
    /// True if the step goes on with what is not in the engine any more.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self, Self::Forward(ForwardError::Position { .. }))
    }
}

impl LoadFailure {
    /// True if another try comes out the same: what failed is not the network.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Download(_) | Self::Withheld => false,
            Self::Refused(_) => true,
            Self::Engine(failure) => failure.is_final(),
        }
    }
}

impl EngineFailure {
    /// True if nothing computes here any more, and nothing will by itself.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Wrong { .. })
    }

    /// Set if a GPU is at its end, so that another engine has to take over.
    pub(crate) fn gpu_loss(&self) -> Option<GpuLoss> {
        match self {
            Self::Load(error) => error.gpu_loss(),
            Self::Resume(error) => error.gpu_loss(),
            Self::Session(SessionError::Gpu { loss, .. }) => *loss,
            _ => None,
        }
    }
}

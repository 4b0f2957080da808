//! Why the engine refused or failed, one type an operation. Nothing here is recovered from: the
//! node decides.

use crate::gpu::GpuError;
use crate::step::MAX_SESSIONS;
use potluck_model::package::{BlobError, BlobRole};

/// There is no such backend here.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A GPU was asked for.
    #[error("no GPU can be used here: {0}")]
    NoGpu(String),
}

/// A part was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The tables come first.
    #[error("{0} came before the model's tables")]
    NoModel(BlobRole),
    /// The model has no such part.
    #[error("the model has no {0}")]
    NoSuchPart(BlobRole),
    /// Not a blob of this model.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The GPU would not take it.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// A session could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// A part is missing.
    #[error("{0} is not loaded")]
    Missing(BlobRole),
    /// Too many.
    #[error("{MAX_SESSIONS} sessions are open already")]
    TooMany,
    /// The name is taken.
    #[error("the session is open already")]
    Exists,
    /// The GPU would not.
    #[error("the GPU could not open a session: {reason}")]
    Gpu {
        /// Its words.
        reason: String,
        /// If that was its end.
        loss: Option<GpuLoss>,
    },
}

/// What became of a GPU; nothing of what it was given can be used any more, or no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuLoss {
    /// Its driver was reset, or the browser took it away. Another may be had.
    Device,
    /// It has no room left: nothing is to be gained from another.
    Memory,
}

impl LoadError {
    /// Whether the GPU is at its end, so that another engine should [take
    /// over](crate::engine::Engine::take_over).
    #[must_use]
    pub fn gpu_loss(&self) -> Option<GpuLoss> {
        match self {
            Self::Gpu(error) => loss(error),
            _ => None,
        }
    }
}

impl ForwardError {
    /// As [`LoadError::gpu_loss`].
    #[must_use]
    pub fn gpu_loss(&self) -> Option<GpuLoss> {
        match self {
            Self::Gpu(error) => loss(error),
            _ => None,
        }
    }
}

fn loss(error: &GpuError) -> Option<GpuLoss> {
    match error {
        GpuError::DeviceLost { .. } => Some(GpuLoss::Device),
        GpuError::OutOfMemory { .. } => Some(GpuLoss::Memory),
        _ => None,
    }
}

/// A step was refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForwardError {
    /// No such session.
    #[error("no such session")]
    NoSession,
    /// A step starts where the last one ended.
    #[error("a step at position {got}, expected {expected}")]
    Position {
        /// Where the session stands.
        expected: u32,
        /// Where the step starts.
        got: u32,
    },
    /// Wrong count or width of rows.
    #[error("{got} values or rows, expected {expected}")]
    Shape {
        /// What is allowed.
        expected: String,
        /// What came.
        got: usize,
    },
    /// Not a token of the model.
    #[error("token {got} of a vocabulary of {vocab}")]
    Token {
        /// Its size.
        vocab: u32,
        /// The token.
        got: u32,
    },
    /// A repetition penalty means the tokens of the text so far, and they were not given.
    #[error("a repetition penalty without the tokens that it is for")]
    Unseen,
    /// A session cannot take two steps at once.
    #[error("two steps of one session at once")]
    Twice,
    /// A part that the session needs was unloaded.
    #[error("{0} is not loaded")]
    Missing(BlobRole),
    /// The context is full.
    #[error("the model's context of {limit} positions is full")]
    Full {
        /// Its size.
        limit: u32,
    },
    /// The KV caches of all sessions have no room for the step.
    #[error(
        "the KV caches of all sessions hold {held_bytes} of at most {limit_bytes} bytes, and the step needs more than is left; close a session, or ask \
         for less"
    )]
    CachesFull {
        /// What they hold.
        held_bytes: u64,
        /// What they may hold.
        limit_bytes: u64,
    },
    /// Tokens in the middle, or hidden rows at the start.
    #[error("this session's first layer is {first}: it takes {}", if *first == 0 { "tokens" } else { "hidden rows" })]
    Kind {
        /// The session's first layer.
        first: u32,
    },
    /// The GPU failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

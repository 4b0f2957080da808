//! Why a question is not asked, and the limits behind that. Checked where the question comes in.

use potluck_model::tokenizer::TokenizerError;
use potluck_protocol::chat::{ConversationFault, MAX_STOP_BYTES, MAX_STOPS};
use potluck_protocol::page::Failure;
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI,
};

/// A question cannot be asked; the sentences are for the person.
#[derive(Debug, thiserror::Error)]
pub(super) enum QuestionFault {
    #[error("{MAX_QUESTIONS} questions are being answered already; wait for one, or cancel it")]
    TooMany,
    #[error("this question is being answered already")]
    Repeated,
    #[error(transparent)]
    Conversation(#[from] ConversationFault),
    #[error(
        "an answer may end at up to {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes, and others were given"
    )]
    Stops,
    #[error("the seed is {seed}; at most {MAX_SEED} is allowed")]
    Seed { seed: u64 },
    #[error("an answer of 0 tokens was asked for; ask for at least 1")]
    NoTokens,
    #[error("not connected to a server")]
    NotConnected,
    #[error(
        "the temperature is {}; use 0, or {} to {}",
        thousandths(*milli),
        thousandths(MIN_TEMPERATURE_MILLI),
        thousandths(MAX_TEMPERATURE_MILLI)
    )]
    Temperature { milli: u32 },
    #[error("top-p must be above 0 and at most 1")]
    TopP,
    #[error(
        "the repetition penalty is {}; use 1 for none, or {} to {}",
        thousandths(*milli),
        thousandths(MIN_REPETITION_PENALTY_MILLI),
        thousandths(MAX_REPETITION_PENALTY_MILLI)
    )]
    RepetitionPenalty { milli: u32 },
    #[error("this swarm has no model yet")]
    NoModels,
    #[error("this swarm has no model {wanted:?}; it has {known}")]
    NoSuchModel { wanted: String, known: String },
    #[error(
        "with no layer computed here, others would see the words; ask for at least 1 at each end"
    )]
    NoEnds,
    #[error(
        "{model} has {all} layers: with {layers} at each end computed here, none is left for others; \
         compute at most {most} at each end, or all of it here"
    )]
    NoMiddle { model: String, all: u32, layers: u32, most: u32 },
    #[error(
        "this machine's part of {model} takes {} MB of memory, and {} MB may be used; allow more, \
         compute fewer layers here, or let the swarm compute",
        megabytes(*needed),
        megabytes(*given)
    )]
    NoMemory { model: String, needed: u64, given: u64 },
    #[error("a part of another model is being computed here; wait for that answer, or cancel it")]
    OtherModel,
    #[error(
        "the server named computers for other layers than were asked for; nothing was sent to them. \
         Ask again, or elsewhere"
    )]
    OtherLayers,
    #[error("the model is not ready")]
    NotReady,
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error("the question has {tokens} tokens; {model} takes at most {limit}, answer included")]
    TooManyTokens { tokens: usize, model: String, limit: usize },
    #[error("the answer cannot go on: it has a token that is not one of its kind. Ask again")]
    ForeignToken,
    #[error("the answer cannot go on: it is whole already")]
    Whole,
}

impl QuestionFault {
    /// What a program can do about it.
    pub(super) fn kind(&self) -> Failure {
        match self {
            Self::TooMany | Self::OtherModel => Failure::Busy,
            Self::NoModels | Self::NoSuchModel { .. } => Failure::Model,
            Self::TooManyTokens { .. } | Self::Conversation(ConversationFault::TooLong { .. }) => {
                Failure::Length
            }
            Self::NotConnected | Self::OtherLayers | Self::NotReady => Failure::Swarm,
            _ => Failure::Question,
        }
    }
}

/// Questions of one node at once.
pub(super) const MAX_QUESTIONS: usize = 8;
/// Seeds fit a JavaScript request.
pub(super) const MAX_SEED: u64 = (1 << 53) - 1;

/// Of 10^6 bytes, rounded up.
fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

fn thousandths(milli: u32) -> f64 {
    f64::from(milli) / 1000.0
}

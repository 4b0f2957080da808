//! What goes into a step and what comes out of it, and how much at once: the words that sessions,
//! backends and GPU share. It computes nothing.

use std::collections::BTreeSet;

use potluck_protocol::sampling::Sampling;

use crate::sampler::Logits;

/// Rows of one batch at most: bounds working memory (120 MB on a GPU for a model of 8 billion
/// weights) and the time a batch holds a GPU. A fast one wants hundreds to be busy.
pub const MAX_ROWS: usize = 512;
const _: () = assert!(
    potluck_protocol::codec::MAX_ROWS <= MAX_ROWS,
    "a step that nodes send each other fits a batch"
);
/// Rows by which a session whose layers have windows may be taken back, at most: a step's. What a row
/// that far back sees is kept.
pub const MAX_BACK: u32 = 512;
const _: () = assert!(MAX_BACK as usize == MAX_ROWS, "a whole step can be taken back");
/// Positions that a GPU keeps of a layer with a window: a power of two that holds the window, what a
/// session may go back and what it may be given at once.
pub(crate) const fn ring(window: u32) -> u32 {
    1 << (u32::BITS - (window + 2 * MAX_BACK - 1).leading_zeros())
}

/// Sessions at once.
pub const MAX_SESSIONS: usize = 64;
/// Rows of a batch that the head runs over, at most: a GPU keeps room for their logits.
pub(crate) const MAX_WANTED: usize = 16;

/// A step of a session.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The session it belongs to.
    pub session: u128,
    /// Where its first row goes, which is where the session ended.
    pub position: u32,
    /// Its rows.
    pub input: Input<'a>,
    /// What its last row is wanted for.
    pub want: OutputRequest,
    /// The tokens of the text so far, this step's included: needed where a token is wanted that a
    /// repetition penalty has a say in.
    pub seen: Option<&'a BTreeSet<u32>>,
}

/// Consecutive rows of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionRows<'a> {
    /// The session's id.
    pub session: u128,
    /// Where the first row goes. Before the end of what the session holds: later rows are forgotten
    /// and their places overwritten.
    pub position: u32,
    /// `[rows, d_model]`, the residual stream.
    pub rows: &'a [i32],
    /// What is made of the last row with the head; none: the rows as the layers leave them.
    pub want: Option<OutputRequest>,
}

/// What a step starts from.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Token ids, for a session that starts at layer 0.
    Tokens(&'a [u32]),
    /// `[rows, d_model]` residual rows, for any other.
    Hidden(&'a [i32]),
}

/// What a step ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `[rows, d_model]`, of a session that does not end at the last layer.
    Hidden(Vec<i32>),
    /// Of the step's last row, where they were asked for.
    Logits(Logits),
    /// Sampled from the last row's logits, where it was asked for.
    Token(u32),
    /// The session ends at the last layer, and nothing was asked for.
    None,
}

/// What a step asks for of its last row, where the session ends at the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRequest {
    /// Nothing: the step only extends the session's caches.
    Nothing,
    /// All logits, for measuring; they are large.
    Logits,
    /// The token for the position after the step.
    Token(Sampling),
}

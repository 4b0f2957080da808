//! Frames between nodes: activations and what goes with them.
//!
//! ```text
//! requester --Step--> first stage --Hidden--> … --Hidden--> last stage --Token--> requester
//!      ---------------------------- Seen* ------------------>
//!      <------------------- ReceiptProposal / ReceiptSigned / End / Failed ----------------->
//!      <------- Window ------- every receiver of rows to their sender <------- Window -------
//! ```
//! `Step`, `Hidden`, `Token` and `Seen` travel on [`Channel::Activations`]; the rest on
//! [`Channel::Control`], so that a long prompt never delays the report of its failure. `Seen` is sent
//! only where repetition is penalised, and not by way of the other stages, which it does not concern.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, SessionId};
use crate::identity::Signature;
use crate::receipt::{Receipt, ReceiptId};
use crate::sampling::Sampling;

/// Which of a peer connection's two data channels a frame takes. Both are reliable and ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Channel {
    /// Small and rare: receipts, failures.
    Control,
    /// Steps, hidden rows and tokens, sampled or seen.
    Activations,
}

impl Channel {
    /// The data channel's stream id; both sides open it as negotiated, so no announcement is
    /// needed.
    #[must_use]
    pub const fn stream_id(self) -> u16 {
        match self {
            Self::Control => 0,
            Self::Activations => 1,
        }
    }

    /// The data channel's label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Activations => "activations",
        }
    }
}

/// What nodes send to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerFrame {
    /// Requester to first stage: tokens to compute, at successive positions.
    Step {
        /// The session.
        session: SessionId,
        /// Position of the first token.
        position: u32,
        /// Token ids, 1 to [`MAX_ROWS`](crate::limits::MAX_ROWS).
        tokens: Vec<u32>,
        /// If set, the last stage samples the token that follows the last of these.
        sampling: Option<Sampling>,
    },
    /// Stage to next stage: the residual rows that leave the first one's layers.
    Hidden {
        /// The session.
        session: SessionId,
        /// Position of the first row.
        position: u32,
        /// How many rows, 1 to [`MAX_ROWS`](crate::limits::MAX_ROWS).
        rows: u32,
        /// `[rows, d_model]`, row-major; the encoding is a variable-length integer each, exact and
        /// compact.
        values: Vec<i32>,
        /// As in the step.
        sampling: Option<Sampling>,
    },
    /// Last stage to requester: the token sampled for `position`.
    Token {
        /// The session.
        session: SessionId,
        /// Position the token will stand at.
        position: u32,
        /// The token id.
        token: u32,
    },
    /// Stage to requester: asks for the requester's signature.
    ReceiptProposal {
        /// The stage's work since its last receipt.
        receipt: Receipt,
        /// The stage's signature.
        signature: Signature,
    },
    /// Requester to stage: the receipt is right.
    ReceiptSigned {
        /// [`Receipt::id`] of what the stage proposed.
        receipt: ReceiptId,
        /// The requester's signature.
        signature: Signature,
    },
    /// Requester to every stage: the answer is whole, or no longer wanted. A stage
    /// proposes its last receipt, forgets the session, and says the same to the requester. Comes once
    /// more for one that was kept and is not wanted any longer.
    End {
        /// The session.
        session: SessionId,
        /// More will be said: the stage keeps its keys and values for
        /// [`KEPT_SESSION`](crate::limits::KEPT_SESSION), if it can. False from a stage.
        keeps: bool,
    },
    /// Requester to every stage, when no token arrives in time: asks for a [`PeerFrame::Pong`].
    Ping {
        /// The session.
        session: SessionId,
    },
    /// Stage to requester: the answer to [`PeerFrame::Ping`].
    Pong {
        /// The session.
        session: SessionId,
    },
    /// Anyone to anyone in the session: it cannot go on.
    Failed {
        /// The session.
        session: SessionId,
        /// What went wrong, for people; shown as text.
        reason: String,
        /// The node without which it could go on, if one is at fault.
        failed_node: Option<NodeId>,
    },
    /// Receiver of a session's steps to their sender: so many more rows may come, besides the
    /// [`INITIAL_WINDOW_ROWS`](crate::limits::INITIAL_WINDOW_ROWS) of the session's beginning.
    Window {
        /// The session.
        session: SessionId,
        /// How many rows more, 1 to [`MAX_POSITIONS`](crate::limits::MAX_POSITIONS).
        rows: u32,
    },
    /// Requester to the stage that samples, once a session and only if repetition is penalised: the
    /// tokens that the text has when the session begins. Those sampled in it the stage adds itself.
    Seen {
        /// The session.
        session: SessionId,
        /// Token ids, each once and in ascending order, so that nothing is said of their places; 1 to
        /// [`MAX_POSITIONS`](crate::limits::MAX_POSITIONS).
        tokens: Vec<u32>,
    },
}

impl PeerFrame {
    /// The channel this kind of frame takes.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Step { .. } | Self::Hidden { .. } | Self::Token { .. } | Self::Seen { .. } => {
                Channel::Activations
            }
            Self::ReceiptProposal { .. }
            | Self::ReceiptSigned { .. }
            | Self::End { .. }
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Failed { .. }
            | Self::Window { .. } => Channel::Control,
        }
    }
}

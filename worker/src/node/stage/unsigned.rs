//! Receipts of a session that its requester has not signed, and when a stage stops for that.
//!
//! A requester signs nothing before the session has brought it a token. A stage sees that one did
//! when a step follows a sampled one: from then on everything proposed can be signed, and an honest
//! requester does so within a round trip, while a token takes one as well.

use std::collections::VecDeque;

use potluck_protocol::receipt::RECEIPT_POSITIONS;

/// Proposed and not signed, in order.
#[derive(Debug, Default)]
pub(super) struct Unsigned {
    proposals: VecDeque<Proposal>,
    /// The last step that came asks for a token.
    is_sampled: bool,
    /// A token has come back to the requester.
    has_token: bool,
}

#[derive(Debug)]
struct Proposal {
    /// Where its positions end.
    to_position: u32,
    /// Rows that had come when it could be signed.
    signable_at: Option<u32>,
}

/// Rows that may come while a receipt is unsigned that could be signed: two more receipts' worth.
const PATIENCE_ROWS: u32 = 2 * RECEIPT_POSITIONS;

impl Unsigned {
    /// A receipt goes to the requester; `accepted` rows have come by now.
    pub(super) fn propose(&mut self, to_position: u32, accepted: u32) {
        let signable_at = self.has_token.then_some(accepted);
        self.proposals.push_back(Proposal { to_position, signable_at });
    }

    /// The requester signed the receipt that ends there.
    pub(super) fn sign(&mut self, to_position: u32) {
        self.proposals.retain(|proposal| proposal.to_position != to_position);
    }

    /// A step came, and `accepted` rows with it. `is_reachable`: the requester's connection is open,
    /// so that it has what was proposed.
    pub(super) fn accept(&mut self, is_sampled: bool, accepted: u32, is_reachable: bool) {
        self.has_token |= self.is_sampled;
        self.is_sampled = is_sampled;
        for proposal in &mut self.proposals {
            if !is_reachable {
                proposal.signable_at = None;
            } else if self.has_token {
                proposal.signable_at.get_or_insert(accepted);
            }
        }
    }

    /// True if the requester has had long enough.
    pub(super) fn is_too_long(&self, accepted: u32) -> bool {
        let oldest = self.proposals.front().and_then(|proposal| proposal.signable_at);
        oldest.is_some_and(|signable_at| accepted - signable_at >= PATIENCE_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of single steps, each for a token, from one count to another, with a receipt every 64;
    /// the count at which patience ends.
    fn decode(unsigned: &mut Unsigned, rows: std::ops::Range<u32>, signs: bool) -> Option<u32> {
        for accepted in rows {
            unsigned.accept(true, accepted, true);
            if unsigned.is_too_long(accepted) {
                return Some(accepted);
            }
            if accepted % RECEIPT_POSITIONS == 0 {
                unsigned.propose(accepted, accepted);
            }
            if signs {
                unsigned.sign(accepted);
            }
        }
        None
    }

    #[test]
    fn two_receipts_may_be_unsigned() {
        let mut unsigned = Unsigned::default();
        assert_eq!(decode(&mut unsigned, 1..1000, true), None);
        assert_eq!(decode(&mut unsigned, 1000..2000, false), Some(1024 + 128));
    }

    #[test]
    fn a_prompt_can_be_signed_once_a_token_came_back() {
        let mut unsigned = Unsigned::default();
        for accepted in (128..=4096).step_by(128) {
            unsigned.accept(accepted == 4096, accepted, true);
            unsigned.propose(accepted - 64, accepted);
            unsigned.propose(accepted, accepted);
            assert!(!unsigned.is_too_long(accepted));
        }
        assert_eq!(decode(&mut unsigned, 4097..5000, false), Some(4097 + 128));
    }

    #[test]
    fn a_requester_whose_connection_is_opening_is_not_blamed() {
        let mut unsigned = Unsigned::default();
        unsigned.accept(true, 64, false);
        unsigned.propose(64, 64);
        for accepted in 65..400 {
            unsigned.accept(true, accepted, false);
            assert!(!unsigned.is_too_long(accepted));
        }
        unsigned.accept(true, 400, true);
        assert!(!unsigned.is_too_long(400) && unsigned.is_too_long(400 + PATIENCE_ROWS));
    }
}

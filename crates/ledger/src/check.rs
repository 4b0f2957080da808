//! Is a receipt true to its ticket, signed by both parties, old enough, and new?
//!
//! Whether the stage really computed what the receipt says cannot be seen from it; nothing checks
//! that yet.
//!
//! ```text
//! check       true to the ticket, signed        by itself, so many at once as there are processors
//! earliest_ms not before so much could be done  otherwise: try again
//! place       the next of its stage and session one after the other, as each decides about the next
//! ```

use potluck_protocol::id::NodeId;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt, SignedReceipt};
use potluck_protocol::ticket::{SignedTicket, Ticket};

/// What a receipt is held against, besides its ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who signed the ticket.
    pub server: NodeId,
    /// Who handed the receipt in.
    pub from: NodeId,
    /// Layers of the model.
    pub model_layers: u32,
    /// Positions of a session of the model at most.
    pub max_positions: u32,
    /// Now, in seconds since 1970.
    pub now_s: u64,
}

/// How far a stage's credit in a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sequence number of the next receipt.
    pub next_sequence: u32,
    /// Position where the next receipt must start.
    pub next_position: u32,
}

/// Where a receipt stands among those of its stage and session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the next one.
    Next,
    /// One of its number was credited already: this one, or one that was made up.
    Earlier,
    /// One before it is missing. That one may still be on its way, so nothing is lost.
    Gap,
}

/// Why a receipt is not credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of the two signatures does not hold.
    #[error("a signature does not hold")]
    Signature,
    /// The ticket's signature is not this server's.
    #[error("this server gave no such ticket")]
    Ticket,
    /// The ticket is too old.
    #[error("its ticket is no longer valid")]
    Expired,
    /// Requester and stage are one, or count as one.
    #[error("work for oneself is not credited")]
    Oneself,
    /// It was handed in by another node than its stage.
    #[error("only its stage can hand in a receipt")]
    NotTheStage,
    /// It names another session, model or requester than the ticket.
    #[error("the session has another id, model or requester")]
    OtherSession,
    /// The ticket is for other layers, or for another node.
    #[error("the stage does not compute these layers in the session")]
    NotItsLayers,
    /// Positions out of the model's context, none, or too many.
    #[error("the positions are out of range")]
    Positions,
    /// More sampled tokens than positions, or sampled tokens of a stage without the head.
    #[error("it claims sampled tokens that its stage did not sample")]
    Samples,
    /// It does not begin where the one before it ended, or another of its number was credited.
    #[error("it does not follow on what is credited: the next is number {expected}")]
    OutOfOrder {
        /// The number that is next.
        expected: u32,
    },
}

/// The least time that a position takes a pipeline, microseconds: 4,000 positions a second. A prompt's
/// rows pass through every stage in steps of some hundred kilobytes, of which a network of a gigabit
/// carries about that many; an answer's tokens come one after the other and are far slower. Whoever
/// is faster in earnest waits a moment for the credit, and loses nothing.
const MIN_US_PER_POSITION: u64 = 250;

/// Checks a receipt against the stage's ticket, both signatures and the ticket's own included.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(signed: &SignedReceipt, ticket: &SignedTicket, terms: &Terms) -> Result<(), Refusal> {
    let receipt = &signed.receipt;
    true_to_ticket(receipt, &ticket.ticket, terms)?;
    // Last, because these cost the most.
    if !ticket.is_from(terms.server) {
        return Err(Refusal::Ticket);
    }
    if signed.is_signed_by_both() { Ok(()) } else { Err(Refusal::Signature) }
}

fn true_to_ticket(receipt: &Receipt, ticket: &Ticket, terms: &Terms) -> Result<(), Refusal> {
    if receipt.stage != terms.from {
        return Err(Refusal::NotTheStage);
    }
    if receipt.session != ticket.session
        || receipt.model != ticket.model
        || receipt.requester != ticket.requester
    {
        return Err(Refusal::OtherSession);
    }
    if receipt.stage != ticket.stage || receipt.layers != ticket.layers {
        return Err(Refusal::NotItsLayers);
    }
    if receipt.requester == receipt.stage || !ticket.earns {
        return Err(Refusal::Oneself);
    }
    if terms.now_s > ticket.until_s {
        return Err(Refusal::Expired);
    }
    let positions = receipt.positions();
    if positions == 0 || positions > RECEIPT_POSITIONS || receipt.to_position > terms.max_positions
    {
        return Err(Refusal::Positions);
    }
    let has_head = receipt.layers.end == terms.model_layers;
    if receipt.sampled > if has_head { positions } else { 0 } {
        return Err(Refusal::Samples);
    }
    Ok(())
}

/// When a receipt can be true at the earliest, in milliseconds since 1970: every position of the
/// session up to its last has been computed then.
#[must_use]
pub fn earliest_ms(receipt: &Receipt, ticket: &Ticket) -> u64 {
    let needed_ms = u64::from(receipt.to_position) * MIN_US_PER_POSITION / 1000;
    ticket.opened_ms.saturating_add(needed_ms)
}

impl Progress {
    /// Of a stage that has no receipt in its session yet. One that goes on with an earlier session
    /// (`continues`) begins where the stage's first receipt says: what came before is on that one's.
    #[must_use]
    pub fn before(first: &Receipt, continues: bool) -> Self {
        let next_position = if continues { first.from_position } else { 0 };
        Self { next_sequence: 0, next_position }
    }
}

/// Where a receipt stands after what is credited.
///
/// # Errors
/// If it is the next one, and does not begin where the last ended.
pub fn place(receipt: &Receipt, progress: Progress) -> Result<Place, Refusal> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match receipt.sequence.cmp(&progress.next_sequence) {
        Less => Ok(Place::Earlier),
        Greater => Ok(Place::Gap),
        Equal if receipt.from_position == progress.next_position => Ok(Place::Next),
        Equal => Err(Refusal::OutOfOrder { expected: progress.next_sequence }),
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{LayerRange, ModelId, SessionId};
    use potluck_protocol::identity::Identity;

    use super::*;

    const LAYERS: u32 = 6;
    const OPENED_S: u64 = 1_000;
    const UNTIL_S: u64 = 2_000;

    struct Case {
        server: Identity,
        stage: Identity,
        requester: Identity,
        ticket: Ticket,
        receipt: Receipt,
        terms: Terms,
    }

    impl Case {
        fn new() -> Self {
            let [server, stage, requester] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]));
            let layers = LayerRange { first: 4, end: LAYERS };
            let (session, model) = (SessionId([3; 16]), ModelId([4; 32]));
            let ticket = Ticket {
                session,
                model,
                requester: requester.node(),
                stage: stage.node(),
                layers,
                opened_ms: OPENED_S * 1000,
                until_s: UNTIL_S,
                earns: true,
                continues: false,
            };
            let receipt = Receipt {
                session,
                model,
                stage: stage.node(),
                requester: requester.node(),
                layers,
                sequence: 0,
                from_position: 0,
                to_position: 64,
                sampled: 10,
                output_hash: [0; 32],
            };
            let terms = Terms {
                server: server.node(),
                from: stage.node(),
                model_layers: LAYERS,
                max_positions: 512,
                now_s: OPENED_S + 10,
            };
            Self { server, stage, requester, ticket, receipt, terms }
        }

        /// The verdict on a receipt that both sign, with a ticket that the server signs.
        fn verdict(&self) -> Result<(), Refusal> {
            let signed = SignedReceipt {
                stage_signature: self.receipt.sign(&self.stage),
                requester_signature: self.receipt.sign(&self.requester),
                receipt: self.receipt.clone(),
            };
            let ticket = SignedTicket::new(&self.server, self.ticket.clone());
            check(&signed, &ticket, &self.terms)
        }
    }

    #[test]
    fn an_honest_receipt_passes() {
        assert_eq!(Case::new().verdict(), Ok(()));
    }

    #[test]
    fn every_lie_is_refused_though_both_signed_it() {
        type Lie = (fn(&mut Case), Refusal);
        let lies: [Lie; 15] = [
            (|c| c.receipt.session.0[0] ^= 1, Refusal::OtherSession),
            (|c| c.receipt.model.0[0] ^= 1, Refusal::OtherSession),
            (|c| c.receipt.requester.0[0] ^= 1, Refusal::OtherSession),
            (|c| c.receipt.layers.first = 0, Refusal::NotItsLayers),
            (|c| c.receipt.to_position = 65, Refusal::Positions),
            (|c| c.receipt.to_position = 0, Refusal::Positions),
            (|c| (c.receipt.from_position, c.receipt.to_position) = (500, 513), Refusal::Positions),
            (|c| c.receipt.sampled = 65, Refusal::Samples),
            (
                |c| {
                    c.receipt.layers.end -= 1;
                    c.ticket.layers.end -= 1;
                },
                Refusal::Samples,
            ),
            (|c| c.terms.from = c.requester.node(), Refusal::NotTheStage),
            (|c| c.terms.now_s = UNTIL_S + 1, Refusal::Expired),
            (|c| c.terms.server = c.stage.node(), Refusal::Ticket),
            (|c| c.server = Identity::from_seed(&[2; 32]), Refusal::Ticket),
            (|c| c.ticket.earns = false, Refusal::Oneself),
            // A ticket of another stage of the same session.
            (|c| c.ticket.stage = NodeId([9; 32]), Refusal::NotItsLayers),
        ];
        for (number, (lie, refusal)) in lies.into_iter().enumerate() {
            let mut case = Case::new();
            lie(&mut case);
            assert_eq!(case.verdict(), Err(refusal), "lie {number}");
        }
    }

    #[test]
    fn one_key_on_both_sides_earns_nothing() {
        let mut case = Case::new();
        case.requester = Identity::from_seed(&[2; 32]);
        let node = case.stage.node();
        (case.ticket.requester, case.receipt.requester) = (node, node);
        assert_eq!(case.verdict(), Err(Refusal::Oneself));
    }

    #[test]
    fn one_signature_is_not_enough() {
        let mut case = Case::new();
        // Signs as requester too, under the requester's name.
        case.requester = Identity::from_seed(&[2; 32]);
        assert_eq!(case.verdict(), Err(Refusal::Signature));
    }

    #[test]
    fn a_ticket_changed_after_it_was_signed_is_none() {
        let case = Case::new();
        let signed = SignedReceipt {
            stage_signature: case.receipt.sign(&case.stage),
            requester_signature: case.receipt.sign(&case.requester),
            receipt: case.receipt.clone(),
        };
        let mut ticket =
            SignedTicket::new(&case.server, Ticket { until_s: 0, ..case.ticket.clone() });
        ticket.ticket.until_s = UNTIL_S;
        assert_eq!(check(&signed, &ticket, &case.terms), Err(Refusal::Ticket));
    }

    #[test]
    fn receipts_come_one_after_the_other() {
        let case = Case::new();
        let after = Progress { next_sequence: 1, next_position: 64 };
        let numbered = |sequence, from_position| Receipt {
            sequence,
            from_position,
            to_position: from_position + 6,
            ..case.receipt.clone()
        };
        assert_eq!(place(&numbered(0, 0), Progress::default()), Ok(Place::Next));
        assert_eq!(place(&numbered(0, 0), after), Ok(Place::Earlier));
        assert_eq!(place(&numbered(1, 64), after), Ok(Place::Next));
        assert_eq!(place(&numbered(2, 70), after), Ok(Place::Gap));
        for from in [0, 63, 65] {
            let refusal = Err(Refusal::OutOfOrder { expected: 1 });
            assert_eq!(place(&numbered(1, from), after), refusal, "from {from}");
        }
    }

    #[test]
    fn a_session_that_goes_on_begins_with_its_first_receipt() {
        let receipt = Receipt { from_position: 70, to_position: 90, ..Case::new().receipt };
        let before = Progress::before(&receipt, true);
        assert_eq!(place(&receipt, before), Ok(Place::Next));
        let alone = Progress::before(&receipt, false);
        assert_eq!(place(&receipt, alone), Err(Refusal::OutOfOrder { expected: 0 }));
    }

    #[test]
    fn positions_take_their_time() {
        let Case { mut receipt, ticket, .. } = Case::new();
        let opened_ms = OPENED_S * 1000;
        assert_eq!(earliest_ms(&receipt, &ticket), opened_ms + 16);
        // What came before in the session took its time too.
        (receipt.from_position, receipt.to_position) = (4_032, 4_096);
        assert_eq!(earliest_ms(&receipt, &ticket), opened_ms + 1_024);
        let never = Ticket { opened_ms: u64::MAX, ..ticket };
        assert_eq!(earliest_ms(&receipt, &never), u64::MAX);
    }
}

//! Receipts of this node's stages: proposed to the requester, and handed in to the server once both
//! have signed, until the server has a verdict.
//!
//! The server credits a stage's receipts of a session one after the other, so one of each session is
//! under way at a time and those after it wait their turn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::identity::Signature;
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{Receipt, ReceiptId, SignedReceipt};
use potluck_protocol::server::{ToServer, Verdict};
use potluck_protocol::ticket::SignedTicket;

use super::context::Context;
use super::outbox::Event;

/// Receipts on their way.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    sessions: HashMap<SessionId, OfSession>,
}

/// Those of one session.
#[derive(Debug)]
struct OfSession {
    /// The server's word that this node is a stage of it; goes with every receipt.
    ticket: SignedTicket,
    /// Not signed by the requester yet.
    proposed: VecDeque<Proposed>,
    /// Signed by both, by sequence number, without a verdict of the server yet.
    signed: BTreeMap<u32, SignedReceipt>,
    /// The one that the server has, with its number.
    in_flight: Option<(ReceiptId, u32)>,
    /// How often the server has put off the first of those that wait.
    tries: u32,
    retry_at: Option<Duration>,
    /// Since when the session is over.
    over_since: Option<Duration>,
}

#[derive(Debug)]
struct Proposed {
    id: ReceiptId,
    receipt: Receipt,
    signature: Signature,
}

/// Receipts that wait for the server at most; beyond it new ones are lost, loudly. 1,024 is an hour
/// and more of an offline server.
const MAX_UNJUDGED: usize = 1024;
/// Receipts that wait for requesters at most: the longest contexts of all sessions that a stage may
/// have, 10 MB.
const MAX_PROPOSED: usize = 64 * 512;
/// How long a requester may take to sign when the session is over; it signs at once or is gone.
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait after the first [`Verdict::TryAgain`]; it doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(3);
/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(300);
/// How often a receipt is handed in. The last wait being long, this is about three hours: what is put
/// off for longer misses one before it that is lost for good.
const MAX_TRIES: u32 = 40;

impl Receipts {
    /// A session begins in which work earns: its receipts will come with this ticket.
    pub(super) fn open(&mut self, ticket: SignedTicket) {
        self.sessions.entry(ticket.ticket.session).or_insert_with(|| OfSession {
            ticket,
            proposed: VecDeque::new(),
            signed: BTreeMap::new(),
            in_flight: None,
            tries: 0,
            retry_at: None,
            over_since: None,
        });
    }

    /// The session is over; what is proposed may still be signed.
    pub(super) fn handle_closed(&mut self, session: SessionId, now: Duration) {
        if let Some(of_session) = self.sessions.get_mut(&session) {
            of_session.over_since = Some(now);
        }
    }

    /// Proposes a receipt to its requester.
    pub(super) fn propose(&mut self, receipt: Receipt, context: &mut Context) {
        let waiting = self.sessions.values().map(|of_session| of_session.proposed.len());
        if waiting.sum::<usize>() >= MAX_PROPOSED {
            tracing::warn!("too many receipts wait for a signature; one is lost");
            return;
        }
        let Some(of_session) = self.sessions.get_mut(&receipt.session) else { return };
        let signature = receipt.sign(&context.identity);
        let (id, requester) = (receipt.id(), receipt.requester);
        of_session.proposed.push_back(Proposed { id, receipt: receipt.clone(), signature });
        context.send_peer(requester, PeerFrame::ReceiptProposal { receipt, signature });
    }

    /// The requester signed a receipt, which goes to the server in its turn.
    pub(super) fn handle_signed(
        &mut self,
        from: NodeId,
        id: ReceiptId,
        requester_signature: Signature,
        context: &mut Context,
    ) {
        let unjudged: usize =
            self.sessions.values().map(|of_session| of_session.signed.len()).sum();
        let of_requester =
            self.sessions.values_mut().filter(|it| it.ticket.ticket.requester == from);
        let find = |it: &mut OfSession| it.proposed.iter().position(|proposed| proposed.id == id);
        let found = of_requester.filter_map(|it| find(it).map(|index| (it, index))).next();
        let Some((of_session, index)) = found else { return };
        let Some(Proposed { receipt, signature, .. }) = of_session.proposed.remove(index) else {
            return;
        };
        let signed = SignedReceipt { receipt, stage_signature: signature, requester_signature };
        if !signed.is_signed_by_both() {
            tracing::warn!(peer = %from.short(), "a receipt came back wrongly signed");
            return;
        }
        let Receipt { session, to_position, sequence, .. } = signed.receipt;
        context.outbox.raise(Event::ReceiptSigned { session, to_position });
        if unjudged >= MAX_UNJUDGED {
            tracing::warn!("too many receipts wait for the server; one is lost");
            return;
        }
        of_session.signed.insert(sequence, signed);
        of_session.hand_in(context);
    }

    /// The server's verdict on a receipt.
    pub(super) fn handle_verdict(
        &mut self,
        id: ReceiptId,
        verdict: Verdict,
        context: &mut Context,
    ) {
        let judged = |it: &&mut OfSession| it.in_flight.is_some_and(|(sent, _)| sent == id);
        // Of one that was handed in twice, the second verdict says nothing new.
        let Some(of_session) = self.sessions.values_mut().find(judged) else { return };
        let Some((_, sequence)) = of_session.in_flight.take() else { return };
        match verdict {
            Verdict::Credited { balance_macs } => {
                context.outbox.raise(Event::Credited { balance_macs });
            }
            Verdict::Refused { reason } => tracing::warn!(reason, "the server refused a receipt"),
            Verdict::TryAgain if of_session.tries + 1 < MAX_TRIES => {
                of_session.put_off(context.now);
                return;
            }
            Verdict::TryAgain => {
                tracing::warn!("the server put a receipt off too often; it is lost");
            }
        }
        of_session.signed.remove(&sequence);
        of_session.tries = 0;
        of_session.hand_in(context);
    }

    /// The server is there again: whatever it had not judged is handed in once more.
    pub(super) fn send_again(&mut self, context: &mut Context) {
        for of_session in self.sessions.values_mut() {
            (of_session.in_flight, of_session.retry_at) = (None, None);
            of_session.hand_in(context);
        }
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now;
        self.sessions.retain(|_, of_session| {
            if of_session.over_since.is_some_and(|since| now >= since + SIGN_TIMEOUT) {
                of_session.proposed.clear();
            }
            let waits = !of_session.proposed.is_empty() || !of_session.signed.is_empty();
            of_session.over_since.is_none() || waits
        });
        for of_session in self.sessions.values_mut() {
            if of_session.retry_at.is_some_and(|at| now >= at) {
                of_session.retry_at = None;
                of_session.hand_in(context);
            }
        }
    }
}

impl OfSession {
    /// Hands the first receipt in, unless one is under way or put off.
    fn hand_in(&mut self, context: &mut Context) {
        if self.in_flight.is_some() || self.retry_at.is_some() {
            return;
        }
        let Some((sequence, signed)) = self.signed.first_key_value() else { return };
        self.in_flight = Some((signed.receipt.id(), *sequence));
        context.send_server(&ToServer::Receipt {
            receipt: Box::new(signed.clone()),
            ticket: Box::new(self.ticket.clone()),
        });
    }

    /// The server wants the first one later, and so those after it.
    fn put_off(&mut self, now: Duration) {
        let wait = FIRST_RETRY.saturating_mul(1 << self.tries.min(10)).min(LAST_RETRY);
        self.tries += 1;
        self.retry_at = Some(now + wait);
    }
}

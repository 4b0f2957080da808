//! Receipts of this node's stages: proposed to the requester, and sent to the server once both have
//! signed, until the server has a verdict.

use std::collections::HashMap;
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
    /// Not signed by the requester yet.
    proposed: HashMap<ReceiptId, Proposed>,
    /// Signed by both, without a verdict of the server yet.
    unjudged: HashMap<ReceiptId, SignedReceipt>,
    /// Of the sessions that this node was made a stage of, and until when they are kept.
    tickets: HashMap<SessionId, (SignedTicket, Duration)>,
    retry_at: Option<Duration>,
}

#[derive(Debug)]
struct Proposed {
    receipt: Receipt,
    signature: Signature,
    until: Duration,
}

/// Receipts that wait for the server at most; beyond it new ones are lost, loudly. 1,024 is an hour
/// and more of an offline server.
const MAX_UNJUDGED: usize = 1024;
/// Receipts that wait for a requester at most.
const MAX_PROPOSED: usize = 1024;
/// How long a requester may take to sign; it signs at once or is gone.
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the ticket of a session is kept: as long as the longest answer may take, and its last
/// receipts after it.
const KEEP_TICKET: Duration = Duration::from_secs(24 * 3600);
/// The wait after [`Verdict::TryAgain`].
const RETRY: Duration = Duration::from_secs(3);

impl Receipts {
    /// Proposes a receipt to its requester.
    pub(super) fn propose(&mut self, receipt: Receipt, context: &mut Context) {
        let signature = receipt.sign(&context.identity);
        let requester = receipt.requester;
        if self.proposed.len() >= MAX_PROPOSED {
            tracing::warn!("too many receipts wait for a signature; one is lost");
            return;
        }
        let until = context.now + SIGN_TIMEOUT;
        let proposed = Proposed { receipt: receipt.clone(), signature, until };
        self.proposed.insert(receipt.id(), proposed);
        context.send_peer(requester, PeerFrame::ReceiptProposal { receipt, signature });
    }

    /// The requester signed a receipt, which goes to the server now.
    pub(super) fn handle_signed(
        &mut self,
        from: NodeId,
        id: ReceiptId,
        requester_signature: Signature,
        context: &mut Context,
    ) {
        let Some(proposed) = self.proposed.remove(&id) else { return };
        let signed = SignedReceipt {
            receipt: proposed.receipt,
            stage_signature: proposed.signature,
            requester_signature,
        };
        if from != signed.receipt.requester || !signed.is_signed_by_both() {
            tracing::warn!(peer = %from.short(), "a receipt came back wrongly signed");
        } else if self.unjudged.len() >= MAX_UNJUDGED {
            tracing::warn!("too many receipts wait for the server; one is lost");
        } else {
            self.hand_in(&signed, context);
            self.unjudged.insert(id, signed);
        }
    }

    /// The server's verdict on a receipt.
    pub(super) fn handle_verdict(
        &mut self,
        id: ReceiptId,
        verdict: Verdict,
        context: &mut Context,
    ) {
        match verdict {
            Verdict::Credited { balance_macs } => {
                if self.unjudged.remove(&id).is_some() {
                    context.outbox.raise(Event::Credited { balance_macs });
                }
            }
            Verdict::Refused { reason } => {
                tracing::warn!(reason, "the server refused a receipt");
                self.unjudged.remove(&id);
            }
            Verdict::TryAgain => self.retry_at = Some(context.now + RETRY),
        }
    }

    /// Sends the server everything that it has not judged, in the order of positions: it credits a
    /// stage's receipts one after the other.
    pub(super) fn send_again(&self, context: &mut Context) {
        let mut waiting: Vec<SignedReceipt> = self.unjudged.values().cloned().collect();
        waiting.sort_by_key(|signed| (signed.receipt.session, signed.receipt.sequence));
        for signed in waiting {
            self.hand_in(&signed, context);
        }
    }

    /// The server made this node a stage of a session, and will want to see its word for it again.
    pub(super) fn keep_ticket(&mut self, ticket: SignedTicket, now: Duration) {
        self.tickets.insert(ticket.ticket.session, (ticket, now + KEEP_TICKET));
    }

    fn hand_in(&self, signed: &SignedReceipt, context: &mut Context) {
        let Some((ticket, _)) = self.tickets.get(&signed.receipt.session) else { return };
        context.send_server(&ToServer::Receipt {
            receipt: Box::new(signed.clone()),
            ticket: Box::new(ticket.clone()),
        });
    }

    pub(super) fn tick(&mut self, context: &mut Context) {
        let now = context.now;
        self.proposed.retain(|_, proposed| now < proposed.until);
        self.tickets.retain(|_, (_, until)| now < *until);
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = None;
            self.send_again(context);
        }
    }
}

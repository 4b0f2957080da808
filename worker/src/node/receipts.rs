//! Receipts, from both sides: a stage logs its work and offers it; the requester checks and signs;
//! the stage sends it to the server until the server has a verdict.

use std::collections::HashMap;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::identity::{Purpose, Signature, verify};
use potluck_protocol::peer::PeerFrame;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt, ReceiptId, SignedReceipt};
use potluck_protocol::server::{Session, ToServer, Verdict};

use super::Node;

/// What one stage did in one session since its last receipt.
#[derive(Debug)]
pub(super) struct WorkLog {
    template: Receipt,
    hasher: blake3::Hasher,
}

/// Receipts on their way.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Offered by this node as a stage, not signed by the requester yet.
    offered: HashMap<ReceiptId, Offered>,
    /// Signed by both, not settled by the server yet.
    unsettled: HashMap<ReceiptId, SignedReceipt>,
    retry_at: Option<Duration>,
}

#[derive(Debug)]
struct Offered {
    receipt: Receipt,
    signature: Signature,
    until: Duration,
}

/// Receipts that wait for the server at most; beyond it new ones are lost, loudly. 1,024 is an hour
/// and more of an offline server.
const MAX_UNSETTLED: usize = 1024;
/// Receipts that wait for a requester at most.
const MAX_OFFERED: usize = 1024;
/// How long a requester may take to sign; it signs at once or is gone.
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);
/// After [`Verdict::TryAgain`].
const RETRY: Duration = Duration::from_secs(3);

impl WorkLog {
    pub(super) fn new(session: &Session, stage: NodeId, layers: LayerRange) -> Self {
        let template = Receipt {
            session: session.id,
            model: session.model,
            stage,
            requester: session.requester,
            layers,
            sequence: 0,
            from_position: 0,
            to_position: 0,
            sampled: 0,
            output_hash: [0; 32],
        };
        Self { template, hasher: blake3::Hasher::new() }
    }

    /// Adds a step; returns the receipts it completes.
    pub(super) fn record(&mut self, rows: u32, output: &Output) -> Vec<Receipt> {
        let mut complete = Vec::new();
        let width = match output {
            Output::Hidden(values) => values.len() / rows.max(1) as usize,
            Output::Token(_) | Output::Logits(_) | Output::None => 0,
        };
        for row in 0..rows as usize {
            match output {
                Output::Hidden(values) => {
                    for value in &values[row * width..(row + 1) * width] {
                        self.hasher.update(&value.to_le_bytes());
                    }
                }
                Output::Token(token) if row + 1 == rows as usize => {
                    self.hasher.update(&token.to_le_bytes());
                    self.template.sampled += 1;
                }
                Output::Token(_) | Output::Logits(_) | Output::None => {}
            }
            self.template.to_position += 1;
            if self.template.positions() == RECEIPT_POSITIONS {
                complete.extend(self.finish());
            }
        }
        complete
    }

    /// Closes the receipt that is open, if it covers anything.
    pub(super) fn finish(&mut self) -> Option<Receipt> {
        if self.template.positions() == 0 {
            return None;
        }
        self.template.output_hash = *self.hasher.finalize().as_bytes();
        let receipt = self.template.clone();
        self.hasher = blake3::Hasher::new();
        self.template.sequence += 1;
        self.template.from_position = self.template.to_position;
        self.template.sampled = 0;
        Some(receipt)
    }
}

/// What a requester knows of a session, enough to judge a receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) session: &'a Session,
    /// Positions fed so far.
    pub(super) fed: u32,
    /// Positions of the prompt; a token is drawn after the last of them and after every later one.
    pub(super) prompt: u32,
}

/// True if the receipt says nothing that the requester did not ask for: a stage of this session,
/// its layers, positions that were fed, no more draws than were wanted. Whether the middle of a
/// route computed *rightly* is another matter (audits).
fn is_plausible(receipt: &Receipt, from: NodeId, me: NodeId, known: Known<'_>) -> bool {
    let session = known.session;
    let is_last = session.stages.last().is_some_and(|stage| stage.node == receipt.stage);
    let first_draw = known.prompt.saturating_sub(1).max(receipt.from_position);
    let draws = if is_last { receipt.to_position.saturating_sub(first_draw) } else { 0 };
    receipt.session == session.id
        && receipt.model == session.model
        && receipt.stage == from
        && receipt.requester == me
        && session.stages.iter().any(|stage| stage.node == from && stage.layers == receipt.layers)
        && (1..=RECEIPT_POSITIONS).contains(&receipt.positions())
        && receipt.to_position <= known.fed
        && receipt.sampled <= draws
}

impl Node {
    pub(super) fn offer_receipt(&mut self, receipt: Receipt, now: Duration) {
        let signature = receipt.sign(&self.identity);
        let requester = receipt.requester;
        if self.receipts.offered.len() >= MAX_OFFERED {
            tracing::warn!("too many receipts wait for a signature; one is lost");
            return;
        }
        let offered = Offered { receipt: receipt.clone(), signature, until: now + SIGN_TIMEOUT };
        self.receipts.offered.insert(receipt.id(), offered);
        self.send_peer(requester, PeerFrame::ReceiptProposal { receipt, signature });
    }

    /// As requester: sign what is so.
    pub(super) fn receipt_proposed(
        &mut self,
        from: NodeId,
        receipt: &Receipt,
        signature: &Signature,
    ) {
        let Some(known) = self.asking.known(receipt.session) else {
            tracing::debug!("receipt for an unknown session");
            return;
        };
        let signed = || verify(receipt.stage, Purpose::Receipt, &receipt.signed_bytes(), signature);
        if !is_plausible(receipt, from, self.me, known)
            || !signed()
            || !self.asking.not_yet_signed(receipt)
        {
            tracing::warn!(peer = %from.short(), "refused to sign a receipt");
            return;
        }
        let frame = PeerFrame::ReceiptSigned {
            receipt: receipt.id(),
            signature: receipt.sign(&self.identity),
        };
        self.send_peer(from, frame);
    }

    /// As stage: the requester signed; off to the server.
    pub(super) fn receipt_signed(
        &mut self,
        from: NodeId,
        id: ReceiptId,
        requester_signature: Signature,
    ) {
        let Some(offered) = self.receipts.offered.remove(&id) else { return };
        let signed = SignedReceipt {
            receipt: offered.receipt,
            stage_signature: offered.signature,
            requester_signature,
        };
        if from != signed.receipt.requester || !signed.is_signed_by_both() {
            tracing::warn!(peer = %from.short(), "a receipt came back wrongly signed");
        } else if self.receipts.unsettled.len() >= MAX_UNSETTLED {
            tracing::warn!("too many receipts wait for the server; one is lost");
        } else {
            self.say_to_server(&ToServer::Receipt(Box::new(signed.clone())));
            self.receipts.unsettled.insert(id, signed);
        }
    }

    pub(super) fn receipt_result(&mut self, id: ReceiptId, verdict: Verdict, now: Duration) {
        match verdict {
            Verdict::Credited { balance_macs } => {
                if self.receipts.unsettled.remove(&id).is_some() {
                    self.lending.receipts += 1;
                    self.lending.credit_macs = balance_macs;
                    self.tell_lending_soon(now);
                }
            }
            Verdict::Refused { reason } => {
                tracing::warn!(reason, "the server refused a receipt");
                self.receipts.unsettled.remove(&id);
            }
            Verdict::TryAgain => self.receipts.retry_at = Some(now + RETRY),
        }
    }

    /// In the order of their positions: the server takes a stage's receipts one after the other.
    pub(super) fn resend_receipts(&mut self) {
        let mut waiting: Vec<SignedReceipt> = self.receipts.unsettled.values().cloned().collect();
        waiting.sort_by_key(|signed| (signed.receipt.session, signed.receipt.sequence));
        for signed in waiting {
            self.say_to_server(&ToServer::Receipt(Box::new(signed)));
        }
    }

    pub(super) fn receipts_tick(&mut self, now: Duration) {
        self.receipts.offered.retain(|_, offered| now < offered.until);
        if self.receipts.retry_at.is_some_and(|at| now >= at) {
            self.receipts.retry_at = None;
            self.resend_receipts();
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::{Epoch, ModelId, SessionId};
    use potluck_protocol::identity::Identity;
    use potluck_protocol::server::Stage;

    use super::*;

    fn session(stage: NodeId, requester: NodeId) -> Session {
        let stages = vec![Stage { node: stage, layers: LayerRange { first: 0, end: 6 } }];
        Session {
            id: SessionId([1; 16]),
            model: ModelId([2; 32]),
            requester,
            stages,
            epochs: vec![Epoch(1), Epoch(2)],
        }
    }

    #[test]
    fn a_log_cuts_its_work_every_64_positions() {
        let (stage, requester) =
            (Identity::from_seed(&[1; 32]).node(), Identity::from_seed(&[2; 32]).node());
        let session = session(stage, requester);
        let mut log = WorkLog::new(&session, stage, session.stages[0].layers);
        assert!(log.record(50, &Output::None).is_empty());
        let receipts = log.record(50, &Output::Token(7));
        assert_eq!(receipts.len(), 1);
        assert_eq!(
            (receipts[0].from_position, receipts[0].to_position, receipts[0].sampled),
            (0, 64, 0)
        );
        let last = log.finish().unwrap();
        assert_eq!(
            (last.sequence, last.from_position, last.to_position, last.sampled),
            (1, 64, 100, 1)
        );
        assert!(log.finish().is_none());
    }

    #[test]
    fn the_hash_does_not_depend_on_how_rows_were_grouped() {
        let (stage, requester) = (NodeId([1; 32]), NodeId([2; 32]));
        let session = session(stage, requester);
        let rows: Vec<i32> = (0..8).collect();
        let mut at_once = WorkLog::new(&session, stage, session.stages[0].layers);
        at_once.record(4, &Output::Hidden(rows.clone()));
        let mut one_by_one = WorkLog::new(&session, stage, session.stages[0].layers);
        for row in rows.chunks(2) {
            one_by_one.record(1, &Output::Hidden(row.to_vec()));
        }
        assert_eq!(at_once.finish(), one_by_one.finish());
    }

    #[test]
    fn a_requester_signs_only_what_it_saw() {
        let (stage, requester) = (NodeId([1; 32]), NodeId([2; 32]));
        let session = session(stage, requester);
        let mut log = WorkLog::new(&session, stage, session.stages[0].layers);
        log.record(10, &Output::Token(3));
        let receipt = log.finish().unwrap();
        let known = Known { session: &session, fed: 10, prompt: 10 };
        assert!(is_plausible(&receipt, stage, requester, known));
        assert!(!is_plausible(&receipt, stage, requester, Known { fed: 9, ..known }));
        assert!(!is_plausible(&receipt, stage, requester, Known { prompt: 11, ..known }));
        assert!(!is_plausible(&receipt, requester, requester, known));
        let other = Receipt { layers: LayerRange { first: 0, end: 5 }, ..receipt };
        assert!(!is_plausible(&other, stage, requester, known));
    }
}

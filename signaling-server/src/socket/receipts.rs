//! A receipt's way from a connection to its verdict: checked, credited, told to the hub, answered.
//!
//! Each goes this way in a task of its own, so that signatures are verified on all processors at once
//! and the connection reads on. They are few at a time for a connection.

use std::sync::Arc;

use potluck_ledger::check::{Terms, check, earliest_ms};
use potluck_protocol::api::HardwareClass;
use potluck_protocol::codec::clip_reason;
use potluck_protocol::id::{NodeId, SiteKey};
use potluck_protocol::receipt::{ReceiptId, SignedReceipt};
use potluck_protocol::server::{FromServer, NodeKind, Verdict};
use potluck_protocol::ticket::SignedTicket;
use tokio::sync::{Semaphore, mpsc};

use crate::app::App;
use crate::rooms::Room;
use crate::sites::Counted;
use crate::store::{Credit, Work};

/// The receipts of one connection that are on their way.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Made with the first one: most connections hand in none.
    places: Option<Arc<Semaphore>>,
}

/// Who hands a receipt in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Giver {
    pub(super) node: NodeId,
    /// What it said that it is.
    pub(super) kind: Option<NodeKind>,
    /// What computes there, by that.
    pub(super) class: Option<HardwareClass>,
    /// The site that its volunteer said yes at, if it was in a widget.
    pub(super) site: Option<SiteKey>,
}

/// Receipts of one connection on their way at a time. A stage hands in one a session; those beyond it
/// are told to try again.
const PLACES: usize = 64;

impl Receipts {
    /// Sends a receipt on its way; the verdict goes into `answers`.
    pub(super) fn hand_in(
        &mut self,
        (app, room): (&Arc<App>, &Arc<Room>),
        from: Giver,
        receipt: Box<SignedReceipt>,
        ticket: Box<SignedTicket>,
        answers: &mpsc::WeakSender<Box<FromServer>>,
    ) {
        let id = receipt.receipt.id();
        let places = self.places.get_or_insert_with(|| Arc::new(Semaphore::new(PLACES)));
        let places = (Arc::clone(places).try_acquire_owned().ok(), app.sockets.receipt());
        let (Some(own), Some(common)) = places else {
            return answer(answers, id, Verdict::TryAgain);
        };
        let (app, room, answers) = (Arc::clone(app), Arc::clone(room), answers.clone());
        tokio::spawn(async move {
            let verdict = judge(&app, &room, from, receipt, ticket).await;
            answer(&answers, id, verdict);
            drop((own, common));
        });
    }
}

async fn judge(
    app: &App,
    room: &Room,
    from: Giver,
    signed: Box<SignedReceipt>,
    ticket: Box<SignedTicket>,
) -> Verdict {
    let Some(model) = app.models.get(signed.receipt.model) else {
        return refused("this server does not serve that model any more");
    };
    let now = app.authority.unix_time(room.hub.now());
    let terms = Terms {
        server: app.authority.server(),
        from: from.node,
        model_layers: model.layers,
        max_positions: model.max_positions,
        now_s: now.as_secs(),
    };
    let verifying = app.sockets.verify(move || {
        let earliest_ms = earliest_ms(&signed.receipt, &ticket.ticket);
        let continues = ticket.ticket.continues;
        (check(&signed, &ticket, &terms).map(|()| (signed, continues)), earliest_ms)
    });
    let (signed, continues) = match verifying.await {
        Some((Ok(_), earliest_ms)) if now.as_millis() < u128::from(earliest_ms) => {
            return Verdict::TryAgain;
        }
        Some((Ok(checked), _)) => checked,
        Some((Err(refusal), _)) => return refused(&format!("not credited: {refusal}")),
        None => return Verdict::TryAgain,
    };
    let (stage, session) = (signed.receipt.stage, signed.receipt.session);
    let macs = model.work.macs(&signed.receipt);
    let Giver { kind, class, .. } = from;
    let work = Work { signed: *signed, macs, continues, kind, class, room: room.id };
    match app.store.credit(work).await {
        Credit::Credited { balance_macs, newly } => {
            if newly {
                room.hub.worked(stage, session, macs).await;
                if let Some(site) = from.site {
                    app.sites.count(site, Counted::Macs(macs));
                }
            }
            Verdict::Credited { balance_macs }
        }
        Credit::Refused(reason) => refused(&reason),
        Credit::TryAgain => Verdict::TryAgain,
    }
}

fn refused(reason: &str) -> Verdict {
    Verdict::Refused { reason: clip_reason(reason) }
}

fn answer(answers: &mpsc::WeakSender<Box<FromServer>>, receipt: ReceiptId, verdict: Verdict) {
    if let Some(answers) = answers.upgrade() {
        // A node that does not read hands it in again when it is back.
        let _ = answers.try_send(Box::new(FromServer::ReceiptResult { receipt, verdict }));
    }
}

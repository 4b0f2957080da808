//! A member that wants more than its share: of sessions, or of credit.

mod hostile;

use anyhow::ensure;
use e2e::api;
use e2e::member::Member;
use hostile::Honest;
use potluck_protocol::limits::MAX_SESSIONS_PER_REQUESTER;
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::server::{FromServer, ToServer, Verdict};
use potluck_protocol::ticket::SignedTicket;

/// Sessions that the hog asks for, as was tried on a server that had no bound.
const SESSIONS: usize = 300;

/// Hog: one key asks for hundreds of sessions, and gets as many as anybody may have.
#[tokio::test(flavor = "multi_thread")]
async fn hog() -> anyhow::Result<()> {
    let mut honest = Honest::serving("hostile_hog", 2).await?;
    let mut hog = Member::join(&honest.url(), 1).await?;
    for _ in 0..SESSIONS {
        hog.send_ask().await?;
    }
    let (mut routes, mut refused) = (0, 0);
    while routes + refused < SESSIONS {
        match hog.receive().await? {
            FromServer::Route { .. } => routes += 1,
            FromServer::RequestRefused { reason, .. } => {
                ensure!(!reason.is_empty(), "a refusal says why");
                refused += 1;
            }
            _ => {}
        }
    }
    ensure!(routes <= MAX_SESSIONS_PER_REQUESTER, "one key has {routes} sessions");
    let hog = hog.keep();
    honest.answers().await?;
    honest.are_undisturbed()?;
    ensure!(hog.is_connected(), "a refused request costs nobody the connection");
    Ok(())
}

/// Self-dealing: a key that lends, asks itself, computes nothing and signs both sides.
#[tokio::test(flavor = "multi_thread")]
async fn self_dealing() -> anyhow::Result<()> {
    let mut honest = Honest::nobody_yet("hostile_self_dealing").await?;
    let mut dealer = Member::join(&honest.url(), 1).await?;
    dealer.register(None).await?;
    dealer.load().await?;
    dealer.send_ask().await?;
    let ticket = serve(&mut dealer).await?;
    ensure!(!ticket.ticket.earns, "such a session earns nothing, and its ticket says so");
    for sequence in 0..7 {
        let signed = both_sides(&dealer, &ticket, sequence);
        let verdict = hand_in(&mut dealer, signed, &ticket).await?;
        ensure!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");
    }
    let tally = api::tally(&honest.url()).await?;
    ensure!(tally.is_empty(), "nobody computed anything, but {tally:?}");

    // The same with a ticket that says otherwise, signed by the dealer.
    let forged = potluck_protocol::ticket::Ticket { earns: true, ..ticket.ticket.clone() };
    let forged = SignedTicket::new(dealer.identity(), forged);
    let signed = both_sides(&dealer, &forged, 0);
    let verdict = hand_in(&mut dealer, signed, &forged).await?;
    ensure!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");

    let node = dealer.node();
    dealer.send(&ToServer::Deregister).await?;
    let dealer = dealer.keep();
    honest.add(2)?;
    honest.swarm.serving(2).await?;
    honest.answers().await?;
    let url = honest.url();
    let tally = e2e::wait::until("both honest nodes to be credited", async || {
        let tally = api::tally(&url).await?;
        Ok(if tally.len() >= 2 { Ok(tally) } else { Err(tally) })
    })
    .await?;
    ensure!(tally.iter().all(|row| row.node != node), "{tally:?}");
    ensure!(dealer.is_connected(), "a refused receipt costs nobody the connection");
    honest.are_undisturbed()
}

async fn serve(member: &mut Member) -> anyhow::Result<SignedTicket> {
    loop {
        if let FromServer::Serve { ticket, .. } = member.receive().await? {
            return Ok(*ticket);
        }
    }
}

fn both_sides(dealer: &Member, ticket: &SignedTicket, sequence: u32) -> SignedReceipt {
    let ticket = &ticket.ticket;
    let receipt = Receipt {
        session: ticket.session,
        model: ticket.model,
        stage: ticket.stage,
        requester: ticket.requester,
        layers: ticket.layers,
        sequence,
        from_position: 64 * sequence,
        to_position: 64 * (sequence + 1),
        sampled: 0,
        output_hash: [5; 32],
    };
    let signature = receipt.sign(dealer.identity());
    SignedReceipt { receipt, stage_signature: signature, requester_signature: signature }
}

async fn hand_in(
    member: &mut Member,
    receipt: SignedReceipt,
    ticket: &SignedTicket,
) -> anyhow::Result<Verdict> {
    let id = receipt.receipt.id();
    let (receipt, ticket) = (Box::new(receipt), Box::new(ticket.clone()));
    member.send(&ToServer::Receipt { receipt, ticket }).await?;
    loop {
        if let FromServer::ReceiptResult { receipt, verdict } = member.receive().await?
            && receipt == id
        {
            return Ok(verdict);
        }
    }
}

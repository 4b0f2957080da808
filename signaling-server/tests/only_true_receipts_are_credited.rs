//! Forged, inflated and replayed receipts are refused one by one, and the honest one beside them is
//! credited once.

mod support;

use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::receipt::{RECEIPT_POSITIONS, Receipt, SignedReceipt};
use potluck_protocol::server::{FromServer, Session, Verdict};
use potluck_protocol::ticket::{SignedTicket, Ticket};
use support::{Member, Running};

#[tokio::test]
async fn only_true_receipts_are_credited() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut stage = Member::join(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    assert_eq!(stage.serve().await, session);

    let honest = receipt(&session, stage.node());
    let (alone, asking) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let sign = |receipt: &Receipt| signed(receipt, &alone, &asking);
    let with = |change: fn(&mut Receipt)| {
        let mut changed = honest.clone();
        change(&mut changed);
        changed
    };
    let lies = [
        ("the stage signs for the requester too", signed(&honest, &alone, &alone)),
        (
            "changed after both signed",
            SignedReceipt { receipt: with(|r| r.to_position += 1), ..sign(&honest) },
        ),
        ("positions before its first", sign(&with(|r| r.from_position = 8))),
        (
            "beyond the model's context",
            sign(&with(|r| (r.from_position, r.to_position) = (4000, 4032))),
        ),
        ("layers that the stage did not have", sign(&with(|r| r.layers.end -= 1))),
        ("a session that nobody opened", sign(&with(|r| r.session = SessionId([7; 16])))),
    ];
    // What no session could make true is not a receipt at all: the connection that sends it is
    // closed.
    let impossible = [
        (
            "more positions than a receipt may have",
            sign(&with(|r| r.to_position = RECEIPT_POSITIONS + 1)),
        ),
        ("more samples than positions", sign(&with(|r| r.sampled = r.to_position + 1))),
        ("no positions", sign(&with(|r| r.to_position = 0))),
    ];
    let honest = sign(&honest);
    for (what, lie) in lies {
        let verdict = hand_in(&mut stage, lie).await;
        assert!(matches!(verdict, Verdict::Refused { .. }), "{what}: {verdict:?}");
    }
    for (what, lie) in impossible {
        let ticket = stage.ticket.clone();
        stage.hand_in(lie).await;
        let reason = stage.refusal().await;
        assert!(reason.contains("receipt"), "{what}: {reason}");
        stage = Member::join(&server, 1).await?;
        stage.ticket = ticket;
    }

    // Somebody else hands in the stage's.
    requester.ticket = stage.ticket.clone();
    let verdict = hand_in(&mut requester, honest.clone()).await;
    assert!(matches!(verdict, Verdict::Refused { .. }), "{verdict:?}");

    let Verdict::Credited { balance_macs } = hand_in(&mut stage, honest.clone()).await else {
        panic!("not credited")
    };
    assert!(balance_macs > 0);
    // Again: recognised, and not credited twice. Under the next number: the positions are spent.
    assert_eq!(hand_in(&mut stage, honest.clone()).await, Verdict::Credited { balance_macs });
    let mut again = honest.receipt.clone();
    again.sequence = 1;
    let again = signed(&again, &stage.identity, &requester.identity);
    assert!(matches!(hand_in(&mut stage, again).await, Verdict::Refused { .. }));
    // One that comes before the one before it waits, and is not lost.
    let after = |before: &Receipt| Receipt {
        sequence: before.sequence + 1,
        from_position: before.to_position,
        to_position: before.to_position + 32,
        ..before.clone()
    };
    let next = after(&honest.receipt);
    let [next, later] =
        [&next, &after(&next)].map(|r| signed(r, &stage.identity, &requester.identity));
    assert_eq!(hand_in_once(&mut stage, later.clone()).await, Verdict::TryAgain);
    // The rest of the work is credited as before.
    let Verdict::Credited { balance_macs: more } = hand_in(&mut stage, next).await else {
        panic!("not credited")
    };
    assert!(more > balance_macs);
    assert!(matches!(hand_in(&mut stage, later).await, Verdict::Credited { .. }));
    Ok(())
}

#[tokio::test]
async fn a_ticket_says_what_may_be_credited_and_when() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut stage = Member::join(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    assert_eq!(stage.serve().await, session);
    let given = stage.ticket.clone().expect("it came with the session").ticket;
    let honest = signed(&receipt(&session, stage.node()), &stage.identity, &requester.identity);

    let server_key = server.identity();
    let cases = [
        ("not the server's", SignedTicket::new(&stage.identity, given.clone()), "no such ticket"),
        (
            "for two who count as one",
            SignedTicket::new(&server_key, Ticket { earns: false, ..given.clone() }),
            "for oneself",
        ),
        (
            "too old",
            SignedTicket::new(&server_key, Ticket { until_s: 1, ..given.clone() }),
            "no longer valid",
        ),
    ];
    for (what, ticket, why) in cases {
        stage.ticket = Some(ticket);
        let verdict = hand_in(&mut stage, honest.clone()).await;
        let Verdict::Refused { reason } = verdict else { panic!("{what}: {verdict:?}") };
        assert!(reason.contains(why), "{what}: {reason}");
    }
    // More than can have been done since the session was opened: later, it can.
    let future = Ticket { opened_ms: given.opened_ms + HOUR_MS, ..given.clone() };
    stage.ticket = Some(SignedTicket::new(&server_key, future));
    assert_eq!(hand_in_once(&mut stage, honest.clone()).await, Verdict::TryAgain);
    stage.ticket = Some(an_hour_ago(&server_key, given));
    assert!(matches!(hand_in_once(&mut stage, honest).await, Verdict::Credited { .. }));
    Ok(())
}

#[tokio::test]
async fn work_for_oneself_is_not_credited() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut alone = Member::join(&server, 1).await?;
    alone.register().await;
    // It asks itself, computes nothing, and signs both sides.
    alone.send_ask().await;
    let session = alone.serve().await;
    assert_eq!((session.requester, session.stages[0].node), (alone.node(), alone.node()));
    let receipt = signed(&receipt(&session, alone.node()), &alone.identity, &alone.identity);
    let verdict = hand_in(&mut alone, receipt).await;
    let Verdict::Refused { reason } = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains("for oneself"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn receipts_handed_in_in_parallel_are_each_credited_once() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut stages = [Member::join(&server, 1).await?, Member::join(&server, 2).await?];
    for stage in &mut stages {
        stage.send_register().await;
    }
    for stage in &mut stages {
        stage.load().await;
    }
    let mut requester = Member::join(&server, 3).await?;
    let session = requester.ask().await;
    assert_eq!(session.stages.len(), 2);

    let server_key = server.identity();
    // Both stages hand in their next receipt, several times each, without waiting for verdicts.
    let mut hand_in_all = Vec::new();
    for mut stage in stages {
        let session = &session;
        let (requester, server_key) = (&requester.identity, &server_key);
        hand_in_all.push(async move {
            assert_eq!(stage.serve().await, *session);
            stage.ticket = stage.ticket.map(|signed| an_hour_ago(server_key, signed.ticket));
            let place = session.stage_of(stage.node()).expect("it is a stage");
            let receipt = Receipt {
                layers: session.stages[place].layers,
                sampled: 0,
                ..receipt(session, stage.node())
            };
            let receipt = signed(&receipt, &stage.identity, requester);
            for _ in 0..5 {
                stage.hand_in(receipt.clone()).await;
            }
            let mut verdicts = Vec::new();
            while verdicts.len() < 5 {
                if let FromServer::ReceiptResult { verdict, .. } = stage.receive().await {
                    verdicts.push(verdict);
                }
            }
            // Kept open, as one that goes ends the session.
            (stage, verdicts)
        });
    }
    for (_stage, verdicts) in futures::future::join_all(hand_in_all).await {
        let Verdict::Credited { balance_macs } = verdicts[0] else { panic!("{verdicts:?}") };
        assert!(balance_macs > 0);
        // The balance would be higher after a second credit.
        assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{verdicts:?}");
    }
    Ok(())
}

fn receipt(session: &Session, stage: NodeId) -> Receipt {
    Receipt {
        session: session.id,
        model: session.model,
        stage,
        requester: session.requester,
        layers: session.stages[0].layers,
        sequence: 0,
        from_position: 0,
        to_position: 32,
        sampled: 4,
        output_hash: [5; 32],
    }
}

fn signed(receipt: &Receipt, stage: &Identity, requester: &Identity) -> SignedReceipt {
    SignedReceipt {
        stage_signature: receipt.sign(stage),
        requester_signature: receipt.sign(requester),
        receipt: receipt.clone(),
    }
}

const HOUR_MS: u64 = 3_600_000;

/// The ticket of a session that was opened so long ago that much can have been done.
fn an_hour_ago(server: &Identity, ticket: Ticket) -> SignedTicket {
    let opened_ms = ticket.opened_ms - HOUR_MS;
    SignedTicket::new(server, Ticket { opened_ms, ..ticket })
}

/// Hands in a receipt until there is a verdict that lasts: the server thinks little of work that is
/// done as soon as the session is open.
async fn hand_in(member: &mut Member, receipt: SignedReceipt) -> Verdict {
    loop {
        match hand_in_once(member, receipt.clone()).await {
            Verdict::TryAgain => tokio::task::yield_now().await,
            verdict => return verdict,
        }
    }
}

async fn hand_in_once(member: &mut Member, receipt: SignedReceipt) -> Verdict {
    let id = receipt.receipt.id();
    member.hand_in(receipt).await;
    loop {
        if let FromServer::ReceiptResult { receipt, verdict } = member.receive().await
            && receipt == id
        {
            return verdict;
        }
    }
}

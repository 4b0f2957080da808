//! What happens in a room stays there: who is in it, what is asked and computed, and the tally.

#[path = "support/http.rs"]
mod http;
mod support;

use http::get;
use potluck_protocol::api::{ROOM_HEADER, SwarmView, TallyRow};
use potluck_protocol::id::NodeId;
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::room::{RoomPass, RoomSecret};
use potluck_protocol::server::{FromServer, Session, Verdict};
use support::{Member, Running};

const ROOM: RoomSecret = RoomSecret([1; 16]);
const OTHER: RoomSecret = RoomSecret([2; 16]);

async fn lenders(server: &Running, room: Option<RoomPass>) -> anyhow::Result<Vec<NodeId>> {
    let header = room.map(|pass| format!("{ROOM_HEADER}: {pass}"));
    let headers: Vec<&str> = header.iter().map(String::as_str).collect();
    let reply = get(server.address, "/api/v1/swarm", &headers).await?;
    anyhow::ensure!(reply.status == 200, "{}", reply.text());
    let view: SwarmView = serde_json::from_slice(&reply.body)?;
    Ok(view.nodes.into_iter().map(|node| node.id).collect())
}

#[tokio::test]
async fn a_question_is_answered_by_members_of_its_room_only() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut public = Member::join(&server, 1).await?;
    public.register().await;
    let mut member = Member::join_room(&server, 2, ROOM).await?;
    member.send_ask().await;
    assert!(matches!(member.receive().await, FromServer::Waiting { .. }), "nobody lends in it");
    let mut lender = Member::join_room(&server, 3, ROOM).await?;
    lender.register().await;
    let session = loop {
        match member.receive().await {
            FromServer::Route { session, .. } => break session,
            FromServer::Waiting { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(session.stages.iter().all(|stage| stage.node == lender.node()), "{session:?}");

    assert_eq!(lenders(&server, None).await?, [public.node()]);
    assert_eq!(lenders(&server, Some(ROOM.pass())).await?, [lender.node()]);
    Ok(())
}

#[tokio::test]
async fn a_rooms_tally_is_its_own() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut lender = Member::join_room(&server, 2, ROOM).await?;
    lender.register().await;
    let mut requester = Member::join_room(&server, 3, ROOM).await?;
    requester.ask().await;
    let session = lender.serve().await;
    let receipt = receipt(&session, &lender, &requester);
    let id = receipt.receipt.id();
    loop {
        lender.hand_in(receipt.clone()).await;
        match lender.receive().await {
            FromServer::ReceiptResult { receipt, verdict } if receipt == id => match verdict {
                Verdict::Credited { .. } => break,
                Verdict::TryAgain => {}
                Verdict::Refused { reason } => panic!("{reason}"),
            },
            _ => {}
        }
    }
    let tally = async |headers: Vec<String>| {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = get(server.address, "/api/v1/tally", &headers).await?;
        anyhow::Ok(serde_json::from_slice::<Vec<TallyRow>>(&reply.body)?)
    };
    let own = tally(vec![format!("{ROOM_HEADER}: {}", ROOM.pass())]).await?;
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(own[0].node, lender.node());
    assert_eq!(tally(Vec::new()).await?, [], "nothing of it is public");
    Ok(())
}

/// For the first positions of the session, signed by both.
fn receipt(session: &Session, stage: &Member, requester: &Member) -> SignedReceipt {
    let receipt = Receipt {
        session: session.id,
        model: session.model,
        stage: stage.node(),
        requester: requester.node(),
        layers: session.stages[0].layers,
        sequence: 0,
        from_position: 0,
        to_position: 4,
        sampled: 0,
        output_hash: [0; 32],
    };
    let stage_signature = receipt.sign(&stage.identity);
    let requester_signature = receipt.sign(&requester.identity);
    SignedReceipt { receipt, stage_signature, requester_signature }
}

#[tokio::test]
async fn who_has_no_pass_is_told_nothing() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let _member = Member::join_room(&server, 2, ROOM).await?;
    let asked = async |pass: String| {
        get(server.address, "/api/v1/swarm", &[&format!("{ROOM_HEADER}: {pass}")]).await
    };
    assert_eq!(asked(ROOM.pass().to_string()).await?.status, 200);
    let reply = asked(OTHER.pass().to_string()).await?;
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("nobody is in this room now"), "{}", reply.text());
    for wrong in ["", "x", &ROOM.to_string(), &"f".repeat(63), &"F".repeat(64)] {
        let reply = asked((*wrong).to_owned()).await?;
        assert_eq!(reply.status, 400, "{wrong:?}: {}", reply.text());
    }
    Ok(())
}

//! Over HTTP: a name and a team, signed; receipts that anybody can check; places on the boards; and a
//! room's are told to its members only.

#[path = "support/http.rs"]
mod http;
mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use http::{Reply, get, post};
use potluck_protocol::api::{BoardView, ROOM_HEADER, ReceiptView, ReceiptsPage, TallyRow};
use potluck_protocol::identity::{Identity, Purpose, Signature, verify};
use potluck_protocol::people::{
    PersonView, Says, SignedStatement, Statement, TEAM_HEADER, TeamView,
};
use potluck_protocol::receipt::{Receipt, SignedReceipt};
use potluck_protocol::room::RoomSecret;
use potluck_protocol::server::{FromServer, Session, Verdict};
use serde::de::DeserializeOwned;
use support::{Member, Running};

const ROOM: RoomSecret = RoomSecret([1; 16]);

fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

async fn say(server: &Running, who: &Identity, to: &str, says: Says) -> anyhow::Result<Reply> {
    let statement = Statement { to: to.to_owned(), at_ms: now_ms()?, says };
    let body = serde_json::to_string(&SignedStatement::new(who, &statement)?)?;
    post(server.address, "/api/v1/people", &[], &body).await
}

async fn told<T: DeserializeOwned>(
    server: &Running,
    path: &str,
    headers: &[&str],
) -> anyhow::Result<T> {
    let reply = get(server.address, path, headers).await?;
    anyhow::ensure!(reply.status == 200, "{path}: {} {}", reply.status, reply.text());
    Ok(serde_json::from_slice(&reply.body)?)
}

/// Has the stage credited with the first positions of the session.
async fn earn(stage: &mut Member, requester: &Member, session: &Session) {
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
    let id = receipt.id();
    let receipt = SignedReceipt {
        stage_signature: receipt.sign(&stage.identity),
        requester_signature: receipt.sign(&requester.identity),
        receipt,
    };
    loop {
        stage.hand_in(receipt.clone()).await;
        match stage.receive().await {
            FromServer::ReceiptResult { receipt, verdict } if receipt == id => match verdict {
                Verdict::Credited { .. } => return,
                Verdict::TryAgain => {}
                Verdict::Refused { reason } => panic!("{reason}"),
            },
            _ => {}
        }
    }
}

fn signature(text: &str) -> Signature {
    Signature(HEXLOWER.decode(text.as_bytes()).expect("hex").try_into().expect("64 bytes"))
}

/// As the documentation of [`ReceiptView`] says.
fn is_signed_by_both(receipt: &ReceiptView) -> bool {
    let bytes = HEXLOWER.decode(receipt.signed_bytes.as_bytes()).expect("hex");
    verify(receipt.stage, Purpose::Receipt, &bytes, &signature(&receipt.stage_signature))
        && verify(
            receipt.requester,
            Purpose::Receipt,
            &bytes,
            &signature(&receipt.requester_signature),
        )
}

#[tokio::test]
async fn a_name_a_team_receipts_and_places() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut stage = Member::join(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    assert_eq!(stage.serve().await, session);
    let (me, here) = (Identity::from_seed(&[1; 32]), server.origin());

    let reply = say(&server, &me, &here, Says::Make { name: "Bakers".to_owned() }).await?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let person: PersonView = serde_json::from_slice(&reply.body)?;
    let team = person.team.expect("made");
    let rosa = Says::Name { name: "Rosa".to_owned() };
    assert_eq!(say(&server, &me, &here, rosa.clone()).await?.status, 200);
    assert_eq!(say(&server, &me, "https://other.example", rosa).await?.status, 403);
    let turned = Says::Name { name: "\u{202e}asoR".to_owned() };
    let reply = say(&server, &me, &here, turned).await?;
    assert_eq!(reply.status, 422);
    assert!(reply.text().contains("cannot be a name"), "{}", reply.text());
    for body in ["", "{}", &"x".repeat(100_000)] {
        assert_eq!(post(server.address, "/api/v1/people", &[], body).await?.status, 400);
    }
    earn(&mut stage, &requester, &session).await;

    let tally: Vec<TallyRow> = told(&server, "/api/v1/tally?limit=5", &[]).await?;
    assert_eq!((tally.len(), tally[0].called.as_deref()), (1, Some("Rosa")));
    let nodes: serde_json::Value = told(&server, "/api/v1/swarm/nodes", &[]).await?;
    assert_eq!(nodes["nodes"][0]["called"], "Rosa");

    let receipts = format!("/api/v1/receipts/{}", stage.node());
    let page: ReceiptsPage = told(&server, &receipts, &[]).await?;
    assert_eq!((page.receipts.len(), page.next), (1, None));
    let receipt = &page.receipts[0];
    assert!(is_signed_by_both(receipt));
    assert_eq!((receipt.to_position, receipt.credit_macs), (4, tally[0].credit_macs));
    let mut forged = receipt.clone();
    forged.requester_signature = forged.stage_signature.clone();
    assert!(!is_signed_by_both(&forged));
    for (path, status) in [
        ("/api/v1/receipts/xyz", 400),
        ("/api/v1/boards?class=quantum", 400),
        ("/api/v1/boards?period=decade", 400),
        ("/api/v1/team", 400),
    ] {
        assert_eq!(get(server.address, path, &[]).await?.status, status, "{path}");
    }

    // As `Member` registers: a program.
    let own = stage.node().to_string();
    for period in ["week", "all"] {
        let path = format!("/api/v1/boards?class=native&period={period}&own={own}");
        let board: BoardView = told(&server, &path, &[]).await?;
        assert_eq!(board.rows.len(), 1, "{board:?}");
        assert_eq!(board.rows[0].called.as_deref(), Some("Rosa"));
        assert_eq!(board.own.map(|own| own.place), Some(1));
        let path = format!("/api/v1/boards?of=teams&class=native&period={period}");
        let board: BoardView = told(&server, &path, &[]).await?;
        assert_eq!(board.rows[0].key, team.id.tag());
        assert_eq!(board.rows[0].credit_macs, tally[0].credit_macs);
    }
    let phones: BoardView = told(&server, "/api/v1/boards?class=phone&period=all", &[]).await?;
    assert_eq!(phones.rows, []);

    let header = format!("{TEAM_HEADER}: {}", team.id);
    let seen: TeamView = told(&server, "/api/v1/team", &[&header]).await?;
    assert_eq!(seen, TeamView { name: "Bakers".to_owned(), members: 1 });
    let unknown = format!("{TEAM_HEADER}: {}", "0".repeat(32));
    assert_eq!(get(server.address, "/api/v1/team", &[&unknown]).await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn a_rooms_receipts_and_places_are_told_to_its_members() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut stage = Member::join_room(&server, 1, ROOM).await?;
    stage.register().await;
    let mut requester = Member::join_room(&server, 2, ROOM).await?;
    let session = requester.ask().await;
    assert_eq!(stage.serve().await, session);
    earn(&mut stage, &requester, &session).await;
    let pass = format!("{ROOM_HEADER}: {}", ROOM.pass());
    let receipts = format!("/api/v1/receipts/{}", stage.node());
    let boards = "/api/v1/boards?class=native&period=all";
    for (headers, count) in [(vec![], 0), (vec![pass.as_str()], 1)] {
        let page: ReceiptsPage = told(&server, &receipts, &headers).await?;
        assert_eq!(page.receipts.len(), count);
        let board: BoardView = told(&server, boards, &headers).await?;
        assert_eq!(board.rows.len(), count);
    }
    let statement = Statement {
        to: server.origin(),
        at_ms: now_ms()?,
        says: Says::Make { name: "Bakers".to_owned() },
    };
    let body = serde_json::to_string(&SignedStatement::new(&stage.identity, &statement)?)?;
    let reply = post(server.address, "/api/v1/people", &[&pass], &body).await?;
    assert_eq!(reply.status, 422, "{}", reply.text());
    Ok(())
}

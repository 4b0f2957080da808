//! A connection that the server lets go is closed at once, with its socket, its task and its permit,
//! however little the other side reads; and everybody is told when the server stops.

mod support;

use std::time::Duration;

use potluck_protocol::id::RequestId;
use potluck_protocol::server::{FromServer, Signal, SignedSignal, ToServer};
use support::{Member, Running};

/// Where nothing but what is tested ends a connection.
async fn patient(max_connections: usize) -> anyhow::Result<Running> {
    Running::start_with(|config| {
        config.max_messages_per_second = 1_000_000;
        config.timeouts.silence_tick = Duration::from_secs(3600);
        config.timeouts.send = Duration::from_secs(3600);
        config.max_connections = max_connections;
    })
    .await
}

/// Has the server send so much to `stage`, which does not read, that its task waits in the middle.
async fn fill(requester: &mut Member, stage: &Member) {
    let answer = Signal::Answer { sdp: "x".repeat(16 * 1024) };
    let signal = SignedSignal::new(&requester.identity, stage.node(), answer, None);
    let message = ToServer::Signal { to: stage.node(), signal };
    for _ in 0..1_000 {
        requester.send(&message).await;
    }
}

/// Waits until there is room for one more.
async fn room_for_one(server: &Running) -> Member {
    loop {
        if let Ok(member) = Member::join(server, 9).await {
            return member;
        }
    }
}

#[tokio::test]
async fn a_stage_that_does_not_read_is_let_go() -> anyhow::Result<()> {
    let server = patient(2).await?;
    let mut stage = Member::join_narrow(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    requester.ask().await;
    fill(&mut requester, &stage).await;
    // Signals beyond a measure are lost, so the stage is not let go for them; but what it must not
    // miss has its measure too.
    let model = requester.model();
    'until_it_is_gone: for request in 2.. {
        let request = RequestId(request);
        requester
            .send(&ToServer::Ask { request, model, exclude: Vec::new(), continues: None })
            .await;
        let session = loop {
            match requester.receive().await {
                FromServer::Route { session, .. } => break session.id,
                FromServer::Waiting { .. } => break 'until_it_is_gone,
                _ => {}
            }
        };
        let reason = "enough".to_owned();
        requester
            .send(&ToServer::EndSession { session, reason, failed_node: None, keeps: false })
            .await;
    }
    // Its place is free, though it has read nothing yet.
    let mut other = room_for_one(&server).await;
    other.register().await;
    assert_eq!(requester.ask().await.stages[0].node, other.node());
    while stage.receive_or_end().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn one_that_is_replaced_while_it_does_not_read_is_let_go() -> anyhow::Result<()> {
    let server = patient(3).await?;
    let mut old = Member::join_narrow(&server, 1).await?;
    old.register().await;
    let mut requester = Member::join(&server, 2).await?;
    requester.ask().await;
    fill(&mut requester, &old).await;
    let mut new = Member::join(&server, 1).await?;
    let _third = room_for_one(&server).await;
    new.register().await;
    while old.receive_or_end().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn all_are_told_to_come_back_when_the_server_stops() -> anyhow::Result<()> {
    let mut server = Running::start().await?;
    let mut members = [Member::join(&server, 1).await?, Member::join(&server, 2).await?];
    server.stop();
    for member in &mut members {
        let (reason, retry_after_ms) = member.parting().await;
        assert!(reason.contains("stopping") && retry_after_ms.is_some(), "{reason}");
    }
    server.ended().await;
    Ok(())
}

//! Too many connections are turned away, too many messages end a connection, and so does silence;
//! others go on undisturbed.

mod support;

use std::time::Duration;

use potluck_protocol::server::{FromServer, Report, Signal, SignedSignal, ToServer};
use support::{Member, Running};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::StatusCode;

/// The sentence with which the server turns a connection away; `None` if it accepts it.
async fn turned_away(server: &Running) -> anyhow::Result<Option<String>> {
    match connect_async(server.socket_url()).await {
        Ok(_) => Ok(None),
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let body = response.into_body().unwrap_or_default();
            Ok(Some(String::from_utf8(body)?))
        }
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn connections_in_all_have_a_limit() -> anyhow::Result<()> {
    let server = Running::start_with(|config| config.max_connections = 2).await?;
    let mut first = Member::join(&server, 1).await?;
    let second = Member::join(&server, 2).await?;
    let sentence = turned_away(&server).await?.expect("a third connection is one too many");
    assert!(sentence.contains("no more room"), "{sentence}");
    // The two are undisturbed, and one that goes makes room.
    assert_eq!(first.register().await.len(), first.models[0].layers);
    second.vanish();
    while turned_away(&server).await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn connections_from_one_address_have_a_limit() -> anyhow::Result<()> {
    let server = Running::start_with(|config| config.max_connections_per_address = 1).await?;
    let first = Member::join(&server, 1).await?;
    let sentence = turned_away(&server).await?.expect("a second connection is one too many");
    assert!(sentence.contains("this address"), "{sentence}");
    first.vanish();
    while turned_away(&server).await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn messages_have_a_rate() -> anyhow::Result<()> {
    let server = Running::start_with(|config| config.max_messages_per_second = 1).await?;
    let mut other = Member::join(&server, 1).await?;
    let mut hasty = Member::join(&server, 2).await?;
    // A burst of four is fine; of so many more, one comes before the next second allows it.
    for _ in 0..20 {
        hasty.send(&ToServer::Report(Report::default())).await;
    }
    let reason = hasty.refusal().await;
    assert!(reason.contains("more than 1 messages a second"), "{reason}");
    assert_eq!(other.register().await.len(), other.models[0].layers);
    Ok(())
}

#[tokio::test]
async fn silence_ends_a_connection() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.timeouts.ping_every = Duration::from_millis(200);
        config.timeouts.silence = Duration::from_millis(1_500);
    })
    .await?;
    let mut silent = Member::join(&server, 1).await?;
    silent.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    // A member answers pings only while it receives; nobody receives for the silent one.
    loop {
        if let FromServer::SessionEnded { session: ended, reason, failed_node } =
            requester.receive().await
        {
            assert_eq!(ended, session.id);
            assert_eq!(failed_node, Some(silent.node()), "{reason}");
            break;
        }
    }
    // The silent one finds its connection ended; the requester, which sent as little but answered
    // pings, goes on.
    while silent.receive_or_end().await.is_some() {}
    assert_eq!(requester.register().await.len(), requester.models[0].layers);
    Ok(())
}

#[tokio::test]
async fn a_handshake_has_a_time_limit() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.timeouts.handshake = Duration::from_millis(100);
    })
    .await?;
    let reason = Member::connect(&server, 1).await?.refusal().await;
    assert!(reason.contains("took too long"), "{reason}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.max_messages_per_second = 1_000_000;
        // Only what is not read may end it.
        config.timeouts.silence = Duration::from_secs(3600);
        config.timeouts.send = Duration::from_secs(3600);
    })
    .await?;
    let mut stage = Member::join(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    // Far more than sockets and the outbox hold.
    let signal = Signal::Offer { sdp: "x".repeat(16 * 1024) };
    let signal = SignedSignal::new(&requester.identity, stage.node(), signal);
    for _ in 0..4_000 {
        requester.send(&ToServer::Signal { to: stage.node(), signal: signal.clone() }).await;
    }
    loop {
        if let FromServer::SessionEnded { session: ended, failed_node, .. } =
            requester.receive().await
        {
            assert_eq!((ended, failed_node), (session.id, Some(stage.node())));
            break;
        }
    }
    // The requester goes on; the stage reads what was on its way, and then the end.
    let mut other = Member::join(&server, 3).await?;
    other.register().await;
    assert_eq!(requester.ask().await.stages[0].node, other.node());
    while stage.receive_or_end().await.is_some() {}
    Ok(())
}

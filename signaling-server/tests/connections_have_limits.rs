//! Too many connections are turned away, too many messages end a connection, and so does silence;
//! each is told when to come back, and others go on undisturbed.

mod support;

use std::time::Duration;

use potluck_protocol::server::{FromServer, Report, Signal, SignedSignal, ToServer};
use support::{Member, Running};

/// The sentence with which the server turns a connection away; `None` if it lets it in.
async fn turned_away(server: &Running) -> anyhow::Result<Option<String>> {
    let mut member = Member::connect(server, 99).await?;
    if member.challenge().await.is_ok() {
        return Ok(None);
    }
    drop(member);
    let mut member = Member::connect(server, 99).await?;
    let (reason, retry_after_ms) = member.parting().await;
    assert!(retry_after_ms.is_some(), "{reason}");
    Ok(Some(reason))
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
    let (reason, retry_after_ms) = hasty.parting().await;
    assert!(reason.contains("more than 1 messages a second"), "{reason}");
    assert!(retry_after_ms.is_some());
    assert_eq!(other.register().await.len(), other.models[0].layers);
    Ok(())
}

#[tokio::test]
async fn offers_have_a_rate_and_what_is_over_it_is_lost() -> anyhow::Result<()> {
    let server = Running::start_with(|config| config.max_messages_per_second = 1_000_000).await?;
    let mut stage = Member::join(&server, 1).await?;
    stage.register().await;
    let mut requester = Member::join(&server, 2).await?;
    requester.ask().await;
    let signal = |signal| ToServer::Signal {
        to: stage.node(),
        signal: SignedSignal::new(&requester.identity, stage.node(), signal, None),
    };
    let offer = signal(Signal::Offer { sdp: "again".to_owned() });
    let answer = signal(Signal::Answer { sdp: "at last".to_owned() });
    for _ in 0..1_000 {
        requester.send(&offer).await;
    }
    requester.send(&answer).await;
    let mut offers = 0;
    loop {
        let FromServer::Signal { signal, .. } = stage.receive().await else { continue };
        match signal.signal {
            Signal::Offer { .. } => offers += 1,
            _ => break,
        }
    }
    assert!((1..100).contains(&offers), "{offers}");
    // The sender is not shut out for it.
    requester.ask().await;
    Ok(())
}

#[tokio::test]
async fn silence_ends_a_connection() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.timeouts.heartbeat = Duration::from_millis(50);
        config.timeouts.silence_tick = Duration::from_millis(500);
    })
    .await?;
    let mut silent = Member::join(&server, 1).await?;
    silent.register().await;
    let mut requester = Member::join(&server, 2).await?;
    let session = requester.ask().await;
    // The requester has nothing to say, and says that it is there.
    let mut heartbeats =
        tokio::time::interval(Duration::from_millis(u64::from(requester.heartbeat_ms)));
    let mut heard = 0;
    loop {
        heartbeats.tick().await;
        requester.send(&ToServer::Heartbeat).await;
        match requester.receive().await {
            FromServer::Heartbeat => heard += 1,
            FromServer::SessionEnded { session: ended, reason, failed_node } => {
                assert_eq!(ended, session.id);
                assert_eq!(failed_node, Some(silent.node()), "{reason}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(heard > 0);
    let (reason, retry_after_ms) = silent.parting().await;
    assert!(reason.contains("no sign of life") && retry_after_ms.is_some(), "{reason}");
    assert_eq!(requester.register().await.len(), requester.models[0].layers);
    Ok(())
}

#[tokio::test]
async fn a_handshake_has_a_time_limit() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.timeouts.handshake = Duration::from_millis(100);
    })
    .await?;
    let (reason, retry_after_ms) = Member::connect(&server, 1).await?.parting().await;
    assert!(reason.contains("took too long") && retry_after_ms.is_some(), "{reason}");
    Ok(())
}

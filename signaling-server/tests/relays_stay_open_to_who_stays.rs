//! A node that stays connected is told new credentials for relays before those that it has end.

mod support;

use std::time::Duration;

use potluck_protocol::server::FromServer;
use support::{Member, Running};

#[tokio::test]
async fn credentials_are_made_anew() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.ice_servers = vec!["turn:127.0.0.1:3478".parse().expect("a relay")];
        config.turn_secret = Some("north".parse().expect("a secret"));
        config.timeouts.silence_tick = Duration::from_millis(50);
        config.timeouts.silence_ticks = u8::MAX;
        // At every tick.
        config.timeouts.credentials = Duration::ZERO;
    })
    .await?;
    let mut member = Member::join(&server, 1).await?;
    let FromServer::IceServers { ice_servers } = member.receive().await else {
        panic!("nothing else is said to a member that does nothing");
    };
    let user = ice_servers[0].username.as_deref().expect("a relay's user");
    assert!(user.ends_with(&format!(":{}", member.node())), "{user} is another's");
    assert_eq!(ice_servers[0].urls, ["turn:127.0.0.1:3478"]);
    assert!(ice_servers[0].credential.is_some());
    Ok(())
}

#[tokio::test]
async fn what_does_not_end_is_told_once() -> anyhow::Result<()> {
    let server = Running::start_with(|config| {
        config.ice_servers = vec![
            "turn:anna:hush@127.0.0.1:3478".parse().expect("a relay"),
            "stun:127.0.0.1:3478".parse().expect("a server"),
        ];
        config.turn_secret = Some("north".parse().expect("a secret"));
        config.timeouts.silence_tick = Duration::from_millis(50);
        // It would be told twice within the three ticks that it takes to be let go.
        config.timeouts.silence_ticks = 3;
        config.timeouts.credentials = Duration::ZERO;
    })
    .await?;
    let mut member = Member::join(&server, 1).await?;
    let said = member.receive_or_end().await;
    assert!(matches!(said, Some(FromServer::Refused { .. })), "{said:?}");
    Ok(())
}

//! Who one is must be proved with the key, in the order and versions of the protocol, from a page
//! that may connect, once at a time.

mod support;

use futures::StreamExt as _;
use potluck_protocol::codec::decode_from_server;
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use support::{Member, Running};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

#[tokio::test]
async fn a_key_must_be_proved() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let origin = server.origin();

    // Another's key, signed with one's own.
    let mut thief = Member::connect(&server, 1).await?;
    let victim = Identity::from_seed(&[2; 32]).node();
    thief
        .send(&ToServer::Hello {
            protocol: PROTOCOL_VERSION,
            numerics: NUMERICS_VERSION,
            node: victim,
        })
        .await;
    let FromServer::Challenge { nonce } = thief.receive().await else {
        anyhow::bail!("no challenge")
    };
    let signature =
        thief.identity.sign(Purpose::Challenge, &challenge_bytes(&nonce, victim, &origin));
    thief.send(&ToServer::Prove { origin: origin.clone(), signature, room: None }).await;
    let reason = thief.refusal().await;
    assert!(reason.contains("does not prove the key"), "{reason}");

    // A proof overheard on another connection.
    let mut replayer = Member::connect(&server, 3).await?;
    let node = replayer.node();
    replayer
        .send(&ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION, node })
        .await;
    let FromServer::Challenge { nonce: fresh } = replayer.receive().await else {
        anyhow::bail!("no challenge")
    };
    assert_ne!(fresh, nonce);
    let signature =
        replayer.identity.sign(Purpose::Challenge, &challenge_bytes(&nonce, node, &origin));
    replayer.send(&ToServer::Prove { origin, signature, room: None }).await;
    let reason = replayer.refusal().await;
    assert!(reason.contains("does not prove the key"), "{reason}");

    // Other numerics must never share a session.
    let mut old = Member::connect(&server, 4).await?;
    let node = old.node();
    old.send(&ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION + 1, node })
        .await;
    let (reason, retry_after_ms) = old.parting().await;
    assert!(reason.contains("numerics") && reason.contains("update"), "{reason}");
    assert_eq!(retry_after_ms, None, "it is of no use until it is updated");

    // A page from elsewhere. Pages cannot read why an upgrade is refused, so it is let in to be told.
    let mut request = server.socket_url().into_client_request()?;
    request
        .headers_mut()
        .insert(header::ORIGIN, HeaderValue::from_static("https://elsewhere.example"));
    let (mut socket, _) = connect_async(request).await?;
    let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("no word") };
    let FromServer::Refused { reason, retry_after_ms } = decode_from_server(&bytes)? else {
        panic!("it is let in")
    };
    assert!(reason.contains("--allow-origin") && retry_after_ms.is_some(), "{reason}");

    // The same identity again: the newer connection is the one that counts, for good.
    let mut first = Member::join(&server, 5).await?;
    let mut second = Member::join(&server, 5).await?;
    let (reason, retry_after_ms) = first.parting().await;
    assert!(reason.contains("connected elsewhere"), "{reason}");
    assert_eq!(retry_after_ms, None);
    assert_eq!(second.register().await.len(), second.models[0].layers);
    Ok(())
}

#[tokio::test]
async fn a_challenge_cannot_be_passed_on() -> anyhow::Result<()> {
    let server = Running::start().await?;
    // A server that nodes dial as https://evil.example dials this one, and lets a node answer our
    // challenge. The node signs what it dialled; what the one in between names us is its own choice.
    for host in ["evil.example", "evil.example:443"] {
        let refused = Member::connect_as(&server, 1, host).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("421")), "{host}");
    }
    let mut between = Member::connect_as(&server, 1, &server.address.to_string()).await?;
    let refused = between.prove("https://evil.example").await.unwrap_err().to_string();
    assert!(refused.contains("you dialled") && refused.contains("evil.example"), "{refused}");
    // It cannot sign for the node either.
    let mut between = Member::connect(&server, 1).await?;
    let nonce = between.challenge().await?;
    let signature = between
        .identity
        .sign(Purpose::Challenge, &challenge_bytes(&nonce, between.node(), "https://evil.example"));
    between.send(&ToServer::Prove { origin: server.origin(), signature, room: None }).await;
    let reason = between.refusal().await;
    assert!(reason.contains("does not prove the key"), "{reason}");
    Ok(())
}

//! Who one is must be proved with the key, in the order and versions of the protocol, from a page
//! that may connect, once at a time.

mod support;

use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::server::{FromServer, ToServer, challenge_bytes};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use support::{Member, Running};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::{self};

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
    thief.send(&ToServer::Prove { origin: origin.clone(), signature }).await;
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
    replayer.send(&ToServer::Prove { origin, signature }).await;
    let reason = replayer.refusal().await;
    assert!(reason.contains("does not prove the key"), "{reason}");

    // Other numerics must never share a session.
    let mut old = Member::connect(&server, 4).await?;
    let node = old.node();
    old.send(&ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION + 1, node })
        .await;
    let reason = old.refusal().await;
    assert!(reason.contains("numerics") && reason.contains("update"), "{reason}");

    // A page from elsewhere.
    let mut request = server.socket_url().into_client_request()?;
    request
        .headers_mut()
        .insert(header::ORIGIN, HeaderValue::from_static("https://elsewhere.example"));
    match connect_async(request).await {
        Err(tungstenite::Error::Http(response)) => {
            assert_eq!(response.status(), StatusCode::FORBIDDEN)
        }
        other => panic!("{other:?}"),
    }

    // The same identity again: the newer connection is the one that counts.
    let mut first = Member::join(&server, 5).await?;
    let mut second = Member::join(&server, 5).await?;
    let reason = first.refusal().await;
    assert!(reason.contains("connected elsewhere"), "{reason}");
    assert_eq!(second.register().await.len(), second.models[0].layers);
    Ok(())
}

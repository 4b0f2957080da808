//! Garbage to the server's socket closes that one connection with a reason, and nobody else
//! notices.

use std::time::Duration;

use e2e::api;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::PATIENCE;
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, decode_from_server, encode};
use potluck_protocol::server::{FromServer, ToServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn bad_bytes() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("bad_bytes").await?;
    swarm.add_native(&["--backend", "cpu"])?;
    let before = swarm.serving(1).await?;
    let question = Question::new("What is 2 plus 3?", 1).at_most(24);
    let answer = swarm.ask(&question).await?;

    let out_of_order = encode(&ToServer::Deregister);
    let cut_short = &out_of_order[..out_of_order.len() - 1];
    for (what, message) in [
        ("noise", Message::binary(vec![0xff; 64])),
        ("nothing", Message::binary(Vec::new())),
        ("cut short", Message::binary(cut_short.to_vec())),
        ("out of order", Message::binary(out_of_order.clone())),
        ("text", Message::text("{\"hello\": true}")),
        ("too long", Message::binary(vec![0; MAX_SERVER_MESSAGE_BYTES + 1])),
    ] {
        closes_after(&swarm, what, message).await?;
    }
    not_even_http(&swarm).await?;

    let after = api::swarm(&swarm.url()).await?;
    assert_eq!(after.nodes.len(), 1, "{after:?}");
    assert_eq!(after.nodes[0].id, before.nodes[0].id);
    assert_eq!(
        swarm.ask(&question).await?.token_ids,
        answer.token_ids,
        "the others go on as before"
    );
    Ok(())
}

/// Sends one message and waits for the end of the connection; what comes before it must be a
/// challenge or the reason.
async fn closes_after(swarm: &Swarm, what: &str, message: Message) -> anyhow::Result<()> {
    let address = format!("ws://127.0.0.1:{}/api/v1/socket", swarm.server.port());
    let (mut socket, _) = connect_async(address).await?;
    // The server may close before all of a long message is sent.
    let _ = socket.send(message).await;
    let end = timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(bytes) = message {
                let reply =
                    decode_from_server(&bytes).expect("the server itself speaks the protocol");
                assert!(
                    matches!(reply, FromServer::Refused { .. } | FromServer::Challenge { .. }),
                    "{what}: {reply:?}"
                );
            }
        }
    });
    assert!(end.await.is_ok(), "{what}: the connection stays open");
    Ok(())
}

async fn not_even_http(swarm: &Swarm) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", swarm.server.port())).await?;
    stream.write_all(&[0x16, 0x03, 0x01, 0x00, 0xff, 0x00, 0x0d, 0x0a, 0x0d, 0x0a]).await?;
    let mut answer = Vec::new();
    let closed =
        timeout(PATIENCE.max(Duration::from_secs(1)), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "noise on the port must end the connection");
    Ok(())
}

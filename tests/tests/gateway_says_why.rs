//! Where nobody computes, programs are told so, and when to come back; also where everybody leaves in
//! the middle of an answer. A gateway with a key answers nobody without it.

use e2e::gateway::{Reply, events};
use e2e::swarm::Swarm;
use serde_json::{Value, json};

/// A question whose answer is as long as the context, as the noise in it ends nowhere.
fn chat(stream: bool) -> Value {
    let said = "Tell me a story about a fox and a lantern.";
    json!({ "messages": [{ "role": "user", "content": said }], "stream": stream, "seed": 5, "temperature": 5 })
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_says_why() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("gateway_says_why").await?;
    let gateway = swarm.add_gateway(&["--api-key", "secret"]).await?;
    let key = [("authorization", "Bearer secret")];
    let reply = gateway.post("/v1/chat/completions", &chat(false)).await?;
    assert_eq!(
        (reply.status.as_u16(), &reply.body["error"]["code"]),
        (401, &"invalid_api_key".into())
    );
    assert_eq!(gateway.get("/healthz").await?.status, 200, "that it is there is no secret");

    // Nobody lends: streamed or not, an error's status says so.
    let asked = [false, true].map(async |stream| {
        Reply::of(gateway.send("/v1/chat/completions", &chat(stream), &key).await?).await
    });
    for reply in futures::future::try_join_all(asked).await? {
        assert_eq!(reply.status, 503, "{reply:?}");
        assert_eq!(reply.retry_after.as_deref(), Some("10"));
        let words = reply.body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(words, "layers 0 to 5 of potluck-tiny have no volunteer yet");
    }

    // All leave in the middle: what was sent is right, and the stream says that the rest is missing.
    swarm.add_native(&["--backend", "cpu", "--processor", "1"])?;
    swarm.serving(1).await?;
    let mut stream = gateway.send("/v1/chat/completions", &chat(true), &key).await?;
    assert_eq!(stream.status(), 200);
    let mut begun = Vec::new();
    while begun.iter().filter(|byte| **byte == b'\n').count() < 6 {
        begun.extend(stream.chunk().await?.unwrap_or_default());
    }
    swarm.natives.remove(0).kill().await?;
    let rest = events(stream).await?;
    let Some(last) = rest.last() else { anyhow::bail!("the stream ended without a word") };
    let words = last["error"]["message"].as_str().unwrap_or_default();
    assert!(
        words.contains("no volunteer yet") && words.contains("tokens so far are right"),
        "{last}"
    );
    Ok(())
}

//! Programs ask a swarm by the protocols that they know: every one gives the words that one process
//! computes alone, whole or piece by piece, and a conversation's next turn is not computed anew.

use e2e::gateway::{Gateway, Reply, events};
use e2e::question::Question;
use e2e::swarm::Swarm;
use serde_json::{Value, json};

const PROMPT: &str = "Tell me a story about a fox and a lantern, please, and tell it kindly.";

fn chat(more: &Value) -> Value {
    let mut body = json!({
        "model": "potluck-tiny",
        "messages": [{ "role": "user", "content": PROMPT }],
        "seed": 5,
    });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    body
}

/// The texts of a stream's pieces, at `place` in each.
fn joined(events: &[Value], place: &str) -> String {
    events.iter().filter_map(|event| event.pointer(place)?.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_answers_programs() -> anyhow::Result<()> {
    let mut swarm = Swarm::start("gateway_answers_programs").await?;
    for _ in 0..2 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(2).await?;
    let gateway = swarm.add_gateway(&[]).await?;
    let words = swarm.reference_answer(&Question::new(PROMPT, 5)).await?;

    open_ai(&gateway, &words.text).await?;
    let tokens = u64::try_from(words.token_ids.len())?;
    next_turn(&gateway, &words.text, tokens).await?;
    others(&gateway, &words.text).await?;
    wrong(&gateway).await?;
    gone(&gateway).await
}

async fn open_ai(gateway: &Gateway, words: &str) -> anyhow::Result<()> {
    let models = gateway.get("/v1/models").await?;
    assert_eq!(models.body["data"][0]["id"], "potluck-tiny");
    let whole = gateway.post("/v1/chat/completions", &chat(&json!({ "frob": 1 }))).await?;
    assert_eq!(whole.status, 200, "{whole:?}");
    assert_eq!(whole.body["choices"][0]["message"]["content"], words);
    assert_eq!(whole.body["choices"][0]["finish_reason"], "stop");
    assert_eq!(whole.ignored.as_deref(), Some("frob"));

    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let stream = gateway.send("/v1/chat/completions", &chat(&options), &[]).await?;
    let pieces = events(stream).await?;
    assert_eq!(joined(&pieces, "/choices/0/delta/content"), words);
    assert_eq!(pieces.last(), Some(&Value::from("[DONE]")));
    let usage = &pieces[pieces.len() - 2];
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["completion_tokens"], whole.body["usage"]["completion_tokens"]);

    let several = gateway.post("/v1/chat/completions", &chat(&json!({ "n": 2 }))).await?;
    assert_eq!(several.body["choices"][0]["message"]["content"], words);
    assert!(several.body["choices"][1]["message"]["content"].is_string());
    // Nothing of what ends it is given out, wherever it is cut.
    let (before, after) = words.split_at(words.len() / 2);
    let stop: String = after.chars().take(9).collect();
    let expected = &words[..words.find(&stop).unwrap_or(before.len())];
    let stopped = chat(&json!({ "stop": [stop], "stream": true }));
    let pieces = events(gateway.send("/v1/chat/completions", &stopped, &[]).await?).await?;
    assert_eq!(joined(&pieces, "/choices/0/delta/content"), expected);
    let cut = gateway.post("/v1/chat/completions", &chat(&json!({ "max_tokens": 3 }))).await?;
    assert_eq!(cut.body["choices"][0]["finish_reason"], "length");

    let input = json!({ "model": "potluck-tiny", "input": PROMPT, "seed": 5 });
    let response = gateway.post("/v1/responses", &input).await?;
    assert_eq!(response.body["output"][0]["content"][0]["text"], words);
    let mut input = input;
    input["stream"] = true.into();
    let pieces = events(gateway.send("/v1/responses", &input, &[]).await?).await?;
    let deltas = pieces.iter().filter(|piece| piece["type"] == "response.output_text.delta");
    assert_eq!(deltas.filter_map(|piece| piece["delta"].as_str()).collect::<String>(), words);
    assert_eq!(pieces.last().map(|last| &last["type"]), Some(&"response.completed".into()));
    Ok(())
}

/// The next turn of the conversation: what was said before is not computed again.
async fn next_turn(gateway: &Gateway, words: &str, tokens: u64) -> anyhow::Result<()> {
    let first = gateway.post("/v1/chat/completions", &chat(&json!({}))).await?;
    let prompt = first.body["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
    let messages = json!([
        { "role": "user", "content": PROMPT },
        { "role": "assistant", "content": words },
        { "role": "user", "content": "What is 2 + 3?" },
    ]);
    let next =
        gateway.post("/v1/chat/completions", &chat(&json!({ "messages": messages }))).await?;
    assert_eq!(next.status, 200, "{next:?}");
    let kept = next.body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    // All of the first prompt, and of the answer as much as is tokenised as it was drawn.
    let kept = kept.unwrap_or(0);
    assert!((prompt..prompt + tokens).contains(&kept), "{kept} of {prompt} and {tokens}");
    Ok(())
}

async fn others(gateway: &Gateway, words: &str) -> anyhow::Result<()> {
    let mut body = chat(&json!({ "max_tokens": 400 }));
    let message = gateway.post("/v1/messages", &body).await?;
    assert_eq!(message.body["content"][0]["text"], words, "{message:?}");
    assert_eq!(message.body["stop_reason"], "end_turn");
    body["stream"] = true.into();
    let pieces = events(gateway.send("/v1/messages", &body, &[]).await?).await?;
    assert_eq!(joined(&pieces, "/delta/text"), words);
    assert_eq!(pieces.last().map(|last| &last["type"]), Some(&"message_stop".into()));
    let count = json!({ "messages": [{ "role": "user", "content": "What is 2 + 3?" }] });
    let counted = gateway.post("/v1/messages/count_tokens", &count).await?;
    let long = "word ".repeat(2_000);
    let count = json!({ "messages": [{ "role": "user", "content": long }] });
    let longer = gateway.post("/v1/messages/count_tokens", &count).await?;
    let tokens = |reply: &Reply| reply.body["input_tokens"].as_u64().unwrap_or(0);
    assert!(tokens(&counted) > 5 && tokens(&longer) > 2_000, "{counted:?} {longer:?}");

    let messages = json!([{ "role": "user", "content": PROMPT }]);
    let options = json!({ "seed": 5 });
    let asked = json!({ "model": "potluck-tiny:latest", "messages": messages, "options": options });
    let response = gateway.send("/api/chat", &asked, &[]).await?;
    let lines = response.text().await?;
    let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(joined(&lines, "/message/content"), words);
    assert_eq!(lines.last().map(|last| &last["done"]), Some(&true.into()));
    let asked = json!({ "prompt": PROMPT, "options": options, "stream": false });
    let generated = gateway.post("/api/generate", &asked).await?;
    assert_eq!(generated.body["response"], words);
    Ok(())
}

/// What is wrong is named, in the protocol's own shape.
async fn wrong(gateway: &Gateway) -> anyhow::Result<()> {
    let long = "word ".repeat(3_000);
    let messages = json!([{ "role": "user", "content": long }]);
    for (more, status, code) in [
        (json!({ "model": "another" }), 404, "model_not_found"),
        (json!({ "logit_bias": { "5": 1 } }), 400, "unsupported_parameter"),
        (json!({ "messages": messages }), 400, "context_length_exceeded"),
    ] {
        let reply = gateway.post("/v1/chat/completions", &chat(&more)).await?;
        assert_eq!((reply.status.as_u16(), &reply.body["error"]["code"]), (status, &code.into()));
    }
    let large = json!({ "messages": "x".repeat(10 << 20) });
    let reply = gateway.post("/v1/chat/completions", &large).await?;
    assert_eq!(reply.status, 413);
    let reply = gateway.post("/v1/nothing", &json!({})).await?;
    assert_eq!(
        (reply.status.as_u16(), &reply.body["error"]["type"]),
        (404, &"invalid_request_error".into())
    );
    let page = [("origin", "https://page.example")];
    let reply = Reply::of(gateway.send("/v1/chat/completions", &chat(&json!({})), &page).await?);
    assert_eq!(reply.await?.status, 403, "a page from elsewhere");
    Ok(())
}

/// Clients that go away in the middle leave their places to others.
async fn gone(gateway: &Gateway) -> anyhow::Result<()> {
    for _ in 0..3 {
        let mut begun = Vec::new();
        // As many as are answered at once.
        for _ in 0..8 {
            let mut stream = gateway
                .send("/v1/chat/completions", &chat(&json!({ "stream": true })), &[])
                .await?;
            assert!(stream.chunk().await?.is_some());
            begun.push(stream);
        }
        drop(begun);
    }
    let reply = gateway.post("/v1/chat/completions", &chat(&json!({ "max_tokens": 2 }))).await?;
    assert_eq!(reply.status, 200, "{reply:?}");
    Ok(())
}

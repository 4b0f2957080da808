//! Swarm and tally: with a tag, told to whoever asks and pushed to whoever subscribes.

#[path = "support/http.rs"]
mod http;
mod support;

use anyhow::Context as _;
use potluck_protocol::api::{ModelView, NodesPage, SwarmView, TallyRow};
use serde_json::from_slice;
use support::{Member, Running};

#[tokio::test]
async fn what_is_known_is_not_sent_again() -> anyhow::Result<()> {
    let server = Running::start().await?;
    for path in ["/api/v1/swarm", "/api/v1/tally", "/api/v1/tally?limit=3", "/api/v1/models"] {
        let first = http::get(server.address, path, &[]).await?;
        assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")));
        let tag = first.header("etag").context("it has a tag")?;
        let known = format!("If-None-Match: \"other\", W/{tag}");
        let second = http::get(server.address, path, &[&known]).await?;
        assert_eq!((second.status, second.body.len()), (304, 0), "{path}");
        assert_eq!(second.header("etag"), Some(tag));
    }
    Ok(())
}

#[tokio::test]
async fn the_swarm_is_told_whole_in_sums_and_in_pages() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let mut members = Vec::new();
    for seed in 1..=3 {
        let mut member = Member::join(&server, seed).await?;
        member.send_register().await;
        members.push(member);
    }
    members[0].load().await;
    let swarm = loop {
        let reply = http::get(server.address, "/api/v1/swarm", &[]).await?;
        let swarm: SwarmView = from_slice(&reply.body)?;
        if swarm.totals.serving == 1 {
            break swarm;
        }
    };
    assert_eq!((swarm.nodes.len(), swarm.totals.nodes, swarm.totals.natives), (3, 3, 3));
    assert_eq!((swarm.connected, swarm.totals.browsers), (3, 0));
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/swarm/nodes?limit=2{after}");
        let page: NodesPage = from_slice(&http::get(server.address, &path, &[]).await?.body)?;
        pages.push(page.nodes.len());
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(pages, [2, 1]);
    let wrong = http::get(server.address, "/api/v1/swarm/nodes?after=xyz", &[]).await?;
    assert_eq!(wrong.status, 400);
    Ok(())
}

#[tokio::test]
async fn changes_are_pushed() -> anyhow::Result<()> {
    let page = tempfile::tempdir()?;
    let document = |build: &str| format!("<meta name=\"build\" content=\"{build}\" /><p>hello");
    std::fs::write(page.path().join("index.html"), document("one"))?;
    let server =
        Running::start_with(|config| config.page_dir = Some(page.path().to_owned())).await?;
    let mut events = http::open(server.address, "/api/v1/events", &[]).await?;
    let begin = http::read_until(&mut events, "event: tally\ndata: []\n\n").await?;
    assert!(begin.contains("content-type: text/event-stream"), "{begin}");
    assert!(begin.contains("event: build\ndata: one\n\n"), "{begin}");
    let data = begin.split("event: swarm\ndata: ").nth(1).context("the swarm is told")?;
    let swarm: SwarmView = serde_json::from_str(data.lines().next().context("in one line")?)?;
    assert_eq!(swarm.totals.nodes, 0);
    let mut member = Member::join(&server, 1).await?;
    member.register().await;
    let changed = http::read_until(&mut events, "\"state\":\"serving\"").await?;
    assert!(!changed.contains("event: tally"), "only what changed: {changed}");
    std::fs::write(page.path().join("index.html"), document("second"))?;
    http::read_until(&mut events, "event: build\ndata: second\n\n").await?;
    Ok(())
}

#[tokio::test]
async fn subscribers_are_bounded_and_make_room_when_they_go() -> anyhow::Result<()> {
    let server = Running::start_with(|config| config.max_connections_per_address = 4).await?;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut events = http::open(server.address, "/api/v1/events", &[]).await?;
        http::read_until(&mut events, "event: swarm").await?;
        open.push(events);
    }
    let fourth = http::get(server.address, "/api/v1/events", &[]).await?;
    assert_eq!(fourth.status, 429);
    assert!(fourth.text().contains("this address"), "{}", fourth.text());
    // Others are answered all the same.
    assert_eq!(http::get(server.address, "/api/v1/swarm", &[]).await?.status, 200);
    drop(open.pop());
    loop {
        let mut events = http::open(server.address, "/api/v1/events", &[]).await?;
        if http::read_until(&mut events, "\r\n\r\n").await?.starts_with("HTTP/1.1 200") {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn the_shapes_are_those_of_the_protocol() -> anyhow::Result<()> {
    let server = Running::start().await?;
    let _: Vec<TallyRow> =
        from_slice(&http::get(server.address, "/api/v1/tally", &[]).await?.body)?;
    let models: Vec<ModelView> =
        from_slice(&http::get(server.address, "/api/v1/models", &[]).await?.body)?;
    assert_eq!(models[0].name, "potluck-tiny");
    Ok(())
}

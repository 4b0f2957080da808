//! What the page hears of the swarm: pushed, fetched where pushing is refused, and in sums where
//! there are more seats than anyone reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::browser::{Graphics, Scheme, is_available};
use e2e::proxy::{Answer, Proxy};
use e2e::swarm::Swarm;
use potluck_protocol::api::{
    InclusiveLayers, ModelCopies, NodeState, NodeView, NodesPage, SwarmTotals, SwarmView,
};
use potluck_protocol::id::NodeId;
use potluck_protocol::server::NodeKind;
use serde_json::json;

const EVENTS: &str = "/api/v1/events";
const NAMES: &str = "/api/v1/swarm/nodes";

#[tokio::test(flavor = "multi_thread")]
async fn page_told() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_told").await?;
    let artifacts = swarm.artifacts().to_owned();
    let is_refused = Arc::new(AtomicBool::new(true));
    let proxy = Proxy::start(swarm.server.port(), {
        let is_refused = Arc::clone(&is_refused);
        move |path| match is_refused.load(Ordering::SeqCst) {
            true if path.starts_with(EVENTS) => Answer::Status(503),
            _ => Answer::Pass(path.to_owned()),
        }
    })
    .await?;
    swarm.add_native(&["--backend", "cpu"])?;
    let name = swarm.serving(1).await?.nodes[0].name.clone();
    swarm.add_browser(Graphics::Machine).await?;

    // Refused: the page asks by itself.
    let browser = &swarm.browsers[0];
    browser.open(&proxy.url()).await?;
    browser.wait_for_text("swarm-table", |text| text.contains(&name)).await?;
    let asked = |proxy: &Proxy, start: &str| {
        proxy.asked().iter().filter(|path| path.starts_with(start)).count()
    };
    assert_eq!(asked(&proxy, EVENTS), 1, "a stream that is refused is not asked for at once");

    // Pushed: it hears of somebody new without asking for the swarm again.
    is_refused.store(false, Ordering::SeqCst);
    browser.open(&format!("{}/?again", proxy.url())).await?;
    browser.wait_for_text("swarm-table", |text| text.contains(&name)).await?;
    let before = asked(&proxy, "/api/v1/swarm");
    swarm.add_native(&["--backend", "cpu"])?;
    let view = swarm.serving(2).await?;
    let browser = &swarm.browsers[0];
    for node in &view.nodes {
        browser.wait_for_text("swarm-table", |text| text.contains(&node.name)).await?;
    }
    assert_eq!(asked(&proxy, "/api/v1/swarm"), before, "pushed, not asked for");
    assert_eq!(asked(&proxy, EVENTS), 2);
    drop(proxy);

    // More than anyone reads.
    let pushed = serde_json::to_string(&crowd())?;
    let names = serde_json::to_string(&NodesPage { nodes: vec![node(3), node(4)], next: None })?;
    let proxy = Proxy::start(swarm.server.port(), move |path| {
        if path.starts_with(EVENTS) {
            let body = format!("event: swarm\ndata: {pushed}\n\n");
            Answer::Body { content_type: "text/event-stream", body }
        } else if path.starts_with(NAMES) {
            Answer::Body { content_type: "application/json", body: names.clone() }
        } else {
            Answer::Pass(path.to_owned())
        }
    })
    .await?;
    browser.show_size(1280, 1400, false).await?;
    browser.open(&proxy.url()).await?;
    browser.wait_for_text("sums", |text| text.contains("1,204: 1,100 in browsers")).await?;
    browser.wait_for_text("copies", |text| text.contains("nobody")).await?;
    assert_eq!(asked(&proxy, NAMES), 0, "names come when they are asked for");
    browser.click("names").await?;
    browser.wait_for_text("swarm-table", |text| text.contains(&node(4).name)).await?;
    browser.screenshot(&artifacts.join("crowd-light.png")).await?;
    browser.show_scheme(Scheme::Dark).await?;
    browser.screenshot(&artifacts.join("crowd-dark.png")).await?;
    browser.show_size(390, 2400, true).await?;
    browser.screenshot(&artifacts.join("crowd-phone.png")).await?;
    let overflow = "return document.documentElement.scrollWidth > arguments[0]";
    assert_eq!(browser.read(overflow, &[json!(390)]).await?, false, "a phone scrolls sideways");
    Ok(())
}

fn crowd() -> SwarmView {
    let copies = vec![260, 260, 251, 251, 0, 240];
    SwarmView {
        models: vec![ModelCopies { name: "potluck-tiny".to_owned(), layers: 6, copies }],
        connected: 1_350,
        sessions: 212,
        waiting: 3,
        totals: SwarmTotals {
            nodes: 1_204,
            browsers: 1_100,
            natives: 104,
            serving: 1_180,
            fetching: 20,
            waiting: 4,
            memory_bytes: 1_300_000_000_000,
            rows: 9_123_456,
            rows_per_s: 3_456.7,
        },
        ..SwarmView::default()
    }
}

fn node(byte: u8) -> NodeView {
    let id = NodeId([byte; 32]);
    NodeView {
        id,
        name: id.name(),
        called: None,
        kind: NodeKind::Browser,
        backend: "webgpu".to_owned(),
        model: Some("potluck-tiny".to_owned()),
        layers: InclusiveLayers::try_from([0, 2]).ok(),
        state: NodeState::Serving,
        tokens: 1_234,
        ms_per_token_p50: Some(1.5),
        memory_bytes: 1 << 30,
        sessions: 1,
        connected_at_s: 1_700_000_000,
    }
}

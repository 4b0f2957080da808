//! A widget in another site's page, under that site's strict policy: nothing is fetched or computed
//! before a click inside it, then it lends, says what, for whom and at what cost, computes a token for
//! somebody, and stops. The credit is the visitor's.

use std::time::{Duration, Instant};

use e2e::api;
use e2e::browser::Graphics;
use e2e::browser::is_available;
use e2e::embed::{
    Owner, PRIVATE_SITES, enter, sites, snippet, state, text, wait_for, wait_until_free,
};
use e2e::host::Host;
use e2e::proxy::{Answer, Proxy};
use e2e::question::Question;
use e2e::sizes::WIDGET_LIMIT_BYTES;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::grant::DEFAULT_MEMORY_BYTES;
use potluck_protocol::server::NodeKind;

/// From the tap to the end of all computing.
const STOP: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn embed_lends() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page_and("embed_lends", &[PRIVATE_SITES]).await?;
    let artifacts = swarm.artifacts().to_owned();
    // Before the server, to see what is asked of it.
    let proxy = Proxy::start(swarm.server.port(), |path| Answer::Pass(path.to_owned())).await?;
    let server = proxy.url();
    let host = Host::start(&server).await?;
    let owner = Owner::new(&server, 1);
    let site = owner.register(&host, "Rosa's recipes").await?;
    host.show(&snippet(&server, site, "data-theme=\"light\""));
    let before = proxy.asked().len();
    let asked = || proxy.asked().split_off(before);

    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(720, 640, false).await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;
    wait_until_free(browser, true).await?;

    // Who runs it, for what, what is sent, what it costs: before anything happens.
    let words = text(browser).await?;
    for said in [
        "127.0.0.1",
        "Rosa's recipes",
        "potluck-tiny",
        "Sent",
        "network address",
        "Wh an hour",
        "MB",
    ] {
        assert!(words.contains(said), "{said} is not in {words}");
    }
    let frame = format!("/embed.html?site={site}");
    assert_eq!(asked(), ["/embed.js", &*frame], "the widget itself and nothing else");
    assert!(api::swarm(&server).await?.nodes.is_empty());
    let read = "return [document.cookie, performance.getEntriesByType('resource').length]";
    assert_eq!(browser.read(read, &[]).await?, serde_json::json!(["", 0]));
    let weight = served_bytes(&server, &["/embed.js", &frame]).await?;
    assert!(weight <= WIDGET_LIMIT_BYTES, "{weight} bytes before a yes");
    // A click that is no person's is none.
    browser.read("document.getElementById('yes').click()", &[]).await?;
    assert_eq!(state(browser).await?, "asking");
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("asking-light.png")).await?;
    enter(browser, 0).await?;

    browser.click_css("#yes").await?;
    wait_for(browser, "lending").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    let view = swarm.serving(1).await?;
    let node = &view.nodes[0];
    // Of the machine the server learns what computes, and what was offered: nothing to know it by.
    assert_eq!((node.kind, node.memory_bytes), (NodeKind::Browser, DEFAULT_MEMORY_BYTES));
    assert!(["simd128", "scalar", "webgpu"].contains(&&*node.backend), "{}", node.backend);

    // A token for a stranger, and the credit for it.
    swarm.ask(&Question::new("Tell me a story about a fox.", 1)).await?;
    let browser = &swarm.browsers[0];
    browser.wait_for_text("done", |text| !text.starts_with("0 tokens")).await?;
    browser.wait_for_text("done", |text| !text.contains(" 0.0000 GMAC")).await?;
    let words = text(browser).await?;
    for said in
        ["layers", "potluck-tiny", "people who ask", "credited to you", "Wh, estimated", " in, "]
    {
        assert!(words.contains(said), "{said} is not in {words}");
    }
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("lending-light.png")).await?;
    enter(browser, 0).await?;

    let tapped = Instant::now();
    browser.click("stop").await?;
    wait_for(browser, "stopped").await?;
    until("the server to see it gone", async || {
        let view = api::swarm(&server).await?;
        Ok(if view.connected == 0 { Ok(()) } else { Err(view) })
    })
    .await?;
    eprintln!(
        "stopped after {:?}, the asking included (at most {STOP:?} is promised)",
        tapped.elapsed()
    );
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("stopped-light.png")).await?;

    // The site has a sum and its visitor the credit.
    let tally = api::tally(&server).await?;
    assert_eq!(tally.len(), 1, "{tally:?}");
    let listed = sites(&server).await?;
    assert_eq!((listed.len(), listed[0].key), (1, site));
    assert_eq!(listed[0].origins, [host.origin()]);
    assert!(listed[0].macs > 0);
    let seen = owner.site(site).await?;
    let [day] = seen.days[..] else { panic!("one day: {seen:?}") };
    assert_eq!((day.shown, day.accepted, day.refused), (2, 1, 0), "one was the test's own");
    assert_eq!(day.macs, listed[0].macs);
    Ok(())
}

/// Bytes as a browser gets them, heads not counted.
async fn served_bytes(server: &str, paths: &[&str]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for path in paths {
        let client = reqwest::Client::new();
        let asking = client.get(format!("{server}{path}")).header("accept-encoding", "br");
        let answer = asking.send().await?.error_for_status()?;
        assert_eq!(answer.headers()["content-encoding"], "br");
        let bytes = answer.bytes().await?.len() as u64;
        eprintln!("{path}: {bytes} bytes");
        sum += bytes;
    }
    Ok(sum)
}

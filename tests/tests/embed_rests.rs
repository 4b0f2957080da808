//! A widget that lends rests when its page is out of sight, and says so; it goes on by itself. What its
//! visitor agreed to is theirs to keep: within the limits that were asked for, over in 90 days at most.

use e2e::api;
use e2e::browser::{Kind, is_available};
use e2e::embed::{Scene, enter, state, wait_for};
use e2e::wait::until;
use potluck_protocol::api::NodeState;
use potluck_protocol::grant::MAX_GRANT_S;

#[tokio::test(flavor = "multi_thread")]
async fn embed_rests() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_rests", "data-theme=dark").await?;
    let (server, artifacts) = (scene.swarm.url(), scene.swarm.artifacts().to_owned());
    scene.visitor(Kind::Usual).await?;
    let Scene { swarm, site, .. } = &scene;
    let browser = &swarm.browsers[0];
    browser.click_css("#yes").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    swarm.serving(1).await?;

    browser.hide(true).await?;
    wait_for(browser, "paused").await?;
    browser.wait_for_text("phase-explained", |text| text.contains("hidden")).await?;
    browser.wait_for_text("stop", |text| text == "Stop").await?;
    until("the server to know of the pause", async || {
        let view = api::swarm(&server).await?;
        let paused = view.nodes.iter().all(|node| node.state == NodeState::Paused);
        Ok(if paused { Ok(()) } else { Err(view) })
    })
    .await?;
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("paused-dark.png")).await?;
    browser.hide(false).await?;
    enter(browser, 0).await?;
    wait_for(browser, "lending").await?;

    // The record of the yes, as it can be saved.
    // Read from the address itself: the frame's policy lets it fetch nothing but its own server.
    let href = "return decodeURIComponent(document.querySelector('[data-testid=consent-record]').href.split(',')[1])";
    let record = browser.read(href, &[]).await?;
    let record: serde_json::Value = serde_json::from_str(record.as_str().unwrap_or_default())?;
    let text = record.to_string();
    for said in [site.to_string(), server.clone(), "30".to_owned()] {
        assert!(text.contains(&said), "{said} is not in {text}");
    }
    let lasts = record["event"][0]["validity_duration"].as_str().unwrap_or_default();
    let lasts = lasts.trim_start_matches("PT").trim_end_matches('S').parse::<u64>()?;
    assert!((1..=MAX_GRANT_S).contains(&lasts), "{lasts} s");
    assert_eq!(state(browser).await?, "lending");
    browser.click("stop").await?;
    wait_for(browser, "stopped").await
}

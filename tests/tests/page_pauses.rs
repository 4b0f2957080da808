//! A tab that lends is needed for something else: each reason, by the browser's own emulation where it
//! has one. The page says that it is paused and why, the server knows, nothing is computed, and it goes
//! on by itself when the reason has passed.

use e2e::api;
use e2e::browser::{Browser, Graphics, Scheme, is_available};
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::{NodeState, NodeView};
use serde_json::json;

/// Chromium tells a battery and the kind of a connection of real machines only: no command of its
/// own changes them, so these stand in.
const STAND_IN: &str = "
const battery = Object.assign(new EventTarget(), { charging: true, level: 1 });
navigator.getBattery = async () => battery;
const connection = { kind: 'wifi' };
Object.defineProperty(NetworkInformation.prototype, 'type', { get: () => connection.kind });
window.plugIn = (charging) => {
  battery.charging = charging;
  battery.dispatchEvent(new Event('chargingchange'));
};
window.connectBy = (kind) => {
  connection.kind = kind;
  navigator.connection.dispatchEvent(new Event('change'));
};
";
/// Keeps the page from being drawn: so long at a time, milliseconds.
const JAM: &str = "
const jam = () => { const until = performance.now() + 150; while (performance.now() < until); };
window.jam = setInterval(jam, 160);
";

#[tokio::test(flavor = "multi_thread")]
async fn page_pauses() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_pauses").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let question = Question::new("Tell me a story about a fox and a lantern.", 5);
    let whole = swarm.reference_answer(&question).await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.stand_in(STAND_IN).await?;
    let page = format!("{url}/?backend=cpu");

    // Where data is saved, a yes starts nothing yet.
    browser.open(&page).await?;
    browser.save_data(true).await?;
    browser.click("lend").await?;
    shows_pause(browser, "saves data").await?;
    assert!(api::swarm(&url).await?.nodes.is_empty(), "nothing has begun");
    browser.save_data(false).await?;
    browser.read("connectBy('wifi')", &[]).await?;
    serves(browser, &url).await?;

    // Asked for, in the middle of an answer, which goes on where it was.
    let mut asking = swarm.start_asking(&question)?;
    asking.wait_for_first_token(1).await?;
    let browser = &swarm.browsers[0];
    browser.click("pause").await?;
    paused(browser, &url, "break").await?;
    for (scheme, name) in [(Scheme::Light, "paused-light.png"), (Scheme::Dark, "paused-dark.png")] {
        browser.show_scheme(scheme).await?;
        browser.screenshot(&artifacts.join(name)).await?;
    }
    browser.click("resume").await?;
    serves(browser, &url).await?;
    let answer =
        asking.outcome().await?.map_err(|text| anyhow::anyhow!("the answer stopped: {text}"))?;
    assert_eq!(answer.token_ids, whole.token_ids);

    // Out of sight: a question that comes meanwhile waits.
    let browser = &swarm.browsers[0];
    browser.hide(true).await?;
    let before = paused(browser, &url, "hidden").await?;
    let asking = swarm.start_asking(&question)?;
    until("the question to wait", async || {
        let view = api::swarm(&url).await?;
        Ok(if view.waiting == 1 { Ok(()) } else { Err(view) })
    })
    .await?;
    let browser = &swarm.browsers[0];
    let after = paused(browser, &url, "hidden").await?;
    assert_eq!(after.tokens, before.tokens, "nothing is computed in a hidden page");
    browser.hide(false).await?;
    serves(browser, &url).await?;
    let answer =
        asking.outcome().await?.map_err(|text| anyhow::anyhow!("the answer stopped: {text}"))?;
    assert_eq!(answer.token_ids, whole.token_ids);

    let browser = &swarm.browsers[0];
    let script = async |script: &str| browser.read(script, &[]).await.map(drop);
    script("plugIn(false)").await?;
    paused(browser, &url, "battery").await?;
    script("plugIn(true)").await?;
    serves(browser, &url).await?;

    script("connectBy('cellular')").await?;
    paused(browser, &url, "paid by the amount").await?;
    script("connectBy('wifi')").await?;
    serves(browser, &url).await?;

    browser.press("critical").await?;
    paused(browser, &url, "enough to do").await?;
    browser.press("nominal").await?;
    serves(browser, &url).await?;

    // A page that is drawn too late has troubles of its own, until something is computed beside it.
    script(JAM).await?;
    let asking = swarm.start_asking(&question)?;
    let browser = &swarm.browsers[0];
    paused(browser, &url, "smoothly").await?;
    browser.read("clearInterval(window.jam)", &[]).await?;
    let answer =
        asking.outcome().await?.map_err(|text| anyhow::anyhow!("the answer stopped: {text}"))?;
    assert_eq!(answer.token_ids, whole.token_ids);

    // A phone's browser lends only where it was chosen; Stop is there in a pause too.
    browser.click("stop").await?;
    browser.be_phone(true).await?;
    browser.open(&page).await?;
    browser.click("lend").await?;
    shows_pause(browser, "phone").await?;
    browser.click("stop").await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    Ok(())
}

/// The page says that it is paused, why, and offers Stop.
async fn shows_pause(browser: &Browser, why: &str) -> anyhow::Result<()> {
    browser.wait_for_text("phase", |text| text == "Paused").await?;
    browser.wait_for_text("phase-explained", |text| text.contains(why)).await?;
    browser.wait_for_text("stop", |text| text == "Stop").await?;
    let overflow = "return document.documentElement.scrollWidth > window.innerWidth + arguments[0]";
    assert_eq!(browser.read(overflow, &[json!(0)]).await?, false);
    Ok(())
}

/// The same, and the server has no session through it; the node as the server sees it.
async fn paused(browser: &Browser, url: &str, why: &str) -> anyhow::Result<NodeView> {
    shows_pause(browser, why).await?;
    until("the server to know of the pause", async || {
        let view = api::swarm(url).await?;
        Ok(match &view.nodes[..] {
            [node] if node.state == NodeState::Paused && node.sessions == 0 => Ok(node.clone()),
            _ => Err(view),
        })
    })
    .await
}

/// The page and the server say that it goes on.
async fn serves(browser: &Browser, url: &str) -> anyhow::Result<()> {
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    until("the tab to serve", async || {
        let view = api::swarm(url).await?;
        Ok(if view.serving().count() == 1 { Ok(()) } else { Err(view) })
    })
    .await
}

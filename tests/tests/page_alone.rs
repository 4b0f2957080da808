//! A tab answers by itself: a visitor reads who would get the words, chooses that nobody does, and is
//! answered without a volunteer, a route or a connection.

use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::question::Question;
use e2e::swarm::Swarm;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";

#[tokio::test(flavor = "multi_thread")]
async fn page_alone() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_alone").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let reference = swarm.reference_answer(&Question::new(PROMPT, 42)).await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    let count_connections = "window.connections = 0; const Real = window.RTCPeerConnection; \
        window.RTCPeerConnection = function(...all) { window.connections += 1; return new Real(...all); };";
    browser.stand_in(count_connections).await?;
    browser.open(&format!("{url}/?backend=cpu&seed=42")).await?;
    browser.click("who").await?;
    browser.wait_for_text("who-hint", |text| text.contains("gets your words")).await?;
    let choose = "const list = document.querySelector('[data-testid=who-choice]'); \
        list.value = arguments[0]; \
        list.dispatchEvent(new Event('change', { bubbles: true }));";
    for (who, says) in [("ends", "Words can still be worked out"), ("all", "leaves this computer")]
    {
        browser.read(choose, &[who.into()]).await?;
        browser.wait_for_text("who-hint", |text| text.contains(says)).await?;
        // How much is downloaded is said before anything is.
        browser.wait_for_text("who-hint", |text| text.contains("MB")).await?;
    }
    browser.screenshot(&artifacts.join("who.png")).await?;
    browser.write("prompt", PROMPT).await?;
    browser.click("ask").await?;
    browser.wait_for_text("answer", |text| text.trim() == reference.text.trim()).await?;
    browser.wait_for_text("answer-nodes", |text| text.contains("(you)")).await?;
    browser.wait_for_text("answer-status", |text| text.contains("Done")).await?;
    browser.screenshot(&artifacts.join("answer.png")).await?;
    assert_eq!(browser.read("return window.connections", &[]).await?, 0);
    let view = api::swarm(&url).await?;
    assert!(view.nodes.is_empty() && view.sessions == 0, "nothing was lent: {view:?}");
    Ok(())
}

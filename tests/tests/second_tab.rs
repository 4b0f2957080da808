//! One browser lends once: a second tab is told so and computes nothing; when the first one stops,
//! the second may.

use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::swarm::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn second_tab() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("second_tab").await?;
    let url = swarm.url();
    swarm.add_lending_browser(Graphics::Machine, "?backend=cpu").await?;
    let first = swarm.serving(1).await?.nodes[0].id;

    let browser = &swarm.browsers[0];
    browser.open_tab().await?;
    browser.open(&format!("{url}/?backend=cpu")).await?;
    browser.click("lend").await?;
    browser
        .wait_for_text("notice", |text| {
            text.contains("Another tab of this browser is already lending")
        })
        .await?;

    let nodes = api::swarm(&url).await?.nodes;
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert_eq!(nodes[0].id, first, "the first tab goes on undisturbed");

    // Asking from the second tab is fine: it is another requester, and the first tab computes the
    // answer.
    browser.write("prompt", "What is 2 plus 3?").await?;
    browser.click("ask").await?;
    browser.wait_for_text("answer-status", |text| text.starts_with("Done")).await?;
    let nodes = api::swarm(&url).await?.nodes;
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    assert_eq!(nodes[0].id, first, "the first tab still lends");
    Ok(())
}

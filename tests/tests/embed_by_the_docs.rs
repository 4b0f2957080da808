//! What `docs/embedding.md` says, step by step in a browser: from no account to the first token that a
//! visitor of one's own site computed, and to its count.

use e2e::browser::{Browser, Graphics, Scheme, is_available};
use e2e::embed::{PRIVATE_SITES, enter, wait_for, wait_until_free};
use e2e::host::Host;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn embed_by_the_docs() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page_and("embed_by_the_docs", &[PRIVATE_SITES]).await?;
    let (server, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let host = Host::start(&server).await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(900, 1000, false).await?;

    // A key, and a site that has not been proved.
    browser.open(&format!("{server}/sites")).await?;
    browser.wait_for_text("key-text", |text| text.contains("no password")).await?;
    browser.screenshot(&artifacts.join("sites-new.png")).await?;
    browser.click("make-key").await?;
    browser.wait_for_text("key-text", |text| text.contains("has the key")).await?;
    browser.write("name", "Rosa's <b>recipes</b>").await?;
    browser.write("origins", &format!("{}/some/page.html", host.origin())).await?;
    browser.click("register").await?;
    browser.wait_for_text("site-state", |text| text.contains("has not been proved")).await?;
    let read_key = "return document.querySelector('[data-testid=site] code:last-of-type').textContent.match(/[0-9a-f]{32}/)[0]";
    let key = browser.read(read_key, &[]).await?;
    let key = key.as_str().unwrap_or_default().to_owned();

    // Checked too early, it says what it missed; then it runs, and gives the line to copy.
    browser.click("check").await?;
    browser.wait_for_text("notice", |text| text.contains("names the key")).await?;
    host.prove(&key);
    browser.click("check").await?;
    browser.wait_for_text("site-state", |text| text.contains("Runs")).await?;
    let line = browser.wait_for_text("snippet", |text| text.contains(&key)).await?;
    host.show(&line);
    pictures(browser, &artifacts, "sites").await?;

    // A visitor's yes, and a token.
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;
    wait_until_free(browser, true).await?;
    browser.click_css("#yes").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    swarm.serving(1).await?;
    swarm.ask(&Question::new("Tell me a story about a fox.", 1)).await?;
    let browser = &swarm.browsers[0];
    browser.wait_for_text("done", |text| !text.contains(" 0.0000 GMAC")).await?;

    // The same browser still has the key; what happened is counted.
    browser.leave_frames().await?;
    browser.open(&format!("{server}/sites")).await?;
    until("the day's counts", async || {
        let days = browser.text("days").await?.unwrap_or_default();
        // Shown once and accepted once; hours and credit follow.
        Ok(if days.contains("GMAC") && days.contains("110") { Ok(()) } else { Err(days) })
    })
    .await?;
    pictures(browser, &artifacts, "sites-counts").await?;
    browser.click("switch").await?;
    browser.wait_for_text("site-state", |text| text.contains("switched off by")).await?;
    Ok(())
}

async fn pictures(browser: &Browser, folder: &std::path::Path, name: &str) -> anyhow::Result<()> {
    for (scheme, shade) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        browser.show_scheme(scheme).await?;
        browser.screenshot(&folder.join(format!("{name}-{shade}.png"))).await?;
    }
    browser.show_size(390, 844, true).await?;
    browser.screenshot(&folder.join(format!("{name}-phone.png"))).await?;
    browser.show_size(900, 1000, false).await
}

//! Without its server, a page that somebody used shows a page of its own, in both languages, that says
//! what is lost (nothing) and what to do; and when the server is back it goes on from there.

use e2e::browser::{Graphics, is_available};
use e2e::swarm::Swarm;
use e2e::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn page_is_offline() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_is_offline").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.open(&url).await?;
    let keeps = "return navigator.serviceWorker.getRegistrations().then((all) => all.length)";
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    assert_eq!(browser.read(keeps, &[]).await?, 0, "nothing stays before a click");
    browser.click("lend").await?;
    // Active, and with what it shows: it answers for this page then.
    let ready = "return caches.match('./offline.html').then((page) => \
                 !!page && navigator.serviceWorker.controller?.state === 'activated')";
    until("the offline page to be kept", async || {
        let is_kept = browser.read(ready, &[]).await?;
        Ok(if is_kept == true { Ok(()) } else { Err(is_kept) })
    })
    .await?;

    swarm.server.stop().await?;
    let browser = &swarm.browsers[0];
    browser.open(&url).await?;
    let text = "return document.body.innerText";
    let said = browser.read(text, &[]).await?;
    let said = said.as_str().unwrap_or_default();
    for words in ["cannot be reached", "Nothing credited is lost", "无法连接到这个群组的服务器"]
    {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    let languages = "return [...document.querySelectorAll('[lang]')].map((part) => part.lang)";
    assert_eq!(browser.read(languages, &[]).await?, serde_json::json!(["en", "zh-Hans"]));
    let background = "return getComputedStyle(document.querySelector('main')).maxWidth";
    assert_ne!(browser.read(background, &[]).await?, "none", "with its style");
    browser.screenshot(&artifacts.join("offline.png")).await?;

    // Tried again too early, it is the same; then the page is back.
    browser.click_css("a").await?;
    until("the offline page again", async || {
        let title = browser.read("return document.title", &[]).await?;
        Ok(if title == "Potluck: no connection" { Ok(()) } else { Err(title) })
    })
    .await?;
    swarm.server.crash_and_restart(true).await?;
    let browser = &swarm.browsers[0];
    browser.click_css("a").await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    browser.click("lend").await?;
    swarm.serving(1).await?;
    Ok(())
}

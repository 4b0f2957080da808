//! A page that is open since yesterday, and a server that has a newer one: the page says so and goes
//! on, and when it would start what is gone it says to reload, which then works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::browser::{Graphics, Scheme, is_available};
use e2e::proxy::{Answer, Proxy};
use e2e::swarm::Swarm;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn page_is_old() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_is_old").await?;
    let artifacts = swarm.artifacts().to_owned();
    // As if the page's folder had been replaced after the page was fetched.
    let is_replaced = Arc::new(AtomicBool::new(true));
    let proxy = Proxy::start(swarm.server.port(), {
        let is_replaced = Arc::clone(&is_replaced);
        move |path| match is_replaced.load(Ordering::SeqCst) {
            true if path.starts_with("/potluck-node") => Answer::Status(404),
            true if path.starts_with("/api/v1/events") => Answer::Body {
                content_type: "text/event-stream",
                body: "event: build\ndata: tomorrow\n\n".to_owned(),
            },
            _ => Answer::Pass(path.to_owned()),
        }
    })
    .await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(1280, 900, false).await?;
    browser.open(&format!("{}/?backend=cpu", proxy.url())).await?;
    browser.wait_for_text("newer", |text| text.contains("a newer page")).await?;
    browser.screenshot(&artifacts.join("newer-light.png")).await?;

    browser.click("lend").await?;
    browser.wait_for_text("notice", |text| text.contains("This page is old")).await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    browser.screenshot(&artifacts.join("old-light.png")).await?;
    browser.show_scheme(Scheme::Dark).await?;
    browser.screenshot(&artifacts.join("old-dark.png")).await?;
    browser.show_size(390, 844, true).await?;
    browser.screenshot(&artifacts.join("old-phone.png")).await?;
    let overflow = "return document.documentElement.scrollWidth > arguments[0]";
    assert_eq!(browser.read(overflow, &[json!(390)]).await?, false, "a phone scrolls sideways");

    is_replaced.store(false, Ordering::SeqCst);
    browser.click("reload").await?;
    // The button goes with the old page.
    browser.wait_for_text("swarm-table", |text| text.contains("Nobody lends yet")).await?;
    assert_eq!(browser.text("newer").await?, None, "the server has this very page");
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    Ok(())
}

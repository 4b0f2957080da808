//! The owner switches a site off: whoever lends there is stopped at once, the widget says by whom, and
//! it comes back when it is switched on. Pages of origins that are not the site's get no widget, and an
//! operator's word goes before the owner's.

use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::embed::{Owner, PRIVATE_SITES, enter, sites, snippet, text, wait_for, wait_until_free};
use e2e::host::Host;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::site::Task;

#[tokio::test(flavor = "multi_thread")]
async fn embed_owner() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page_and("embed_owner", &[PRIVATE_SITES]).await?;
    let (server, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let host = Host::start(&server).await?;
    let owner = Owner::new(&server, 1);
    let origins = vec![host.origin()];
    let task = Task::Register { name: "Rosa's recipes".to_owned(), origins };
    let key = owner.perform(task).await?.sites[0].key;
    host.show(&snippet(
        &server,
        key,
        "data-label=\"<b>Help</b> us \u{202e}\" data-accent=\"red;}*{display:none}\"",
    ));
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(720, 640, false).await?;

    // Not proved: only the owner's preview, on the server's own pages, shows why.
    browser.open(&format!("{server}/embed.html?site={key}")).await?;
    wait_for(browser, "unavailable").await?;
    assert!(text(browser).await?.contains("has not been proved"));
    let answer = owner.perform(Task::Check { site: key }).await?;
    assert_eq!(answer.faults.len(), 1, "{answer:?}");
    host.prove(&key.to_string());
    assert!(owner.perform(Task::Check { site: key }).await?.faults.is_empty());

    // What the page wants it to look like is a text and a colour, or nothing.
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;
    let label = browser.read("return document.querySelector('h1').textContent.trim()", &[]).await?;
    assert_eq!(label, "<b>Help</b> us");
    let accent = "return document.documentElement.style.length";
    assert_eq!(browser.read(accent, &[]).await?, 0, "a colour that is none is left out");

    wait_until_free(browser, true).await?;
    browser.click_css("#yes").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    swarm.serving(1).await?;
    let browser = &swarm.browsers[0];
    owner.perform(Task::Switch { site: key, on: false }).await?;
    wait_for(browser, "unavailable").await?;
    assert!(text(browser).await?.contains("switched off by Rosa's recipes"));
    until("the node to be gone", async || {
        let view = api::swarm(&server).await?;
        Ok(if view.connected == 0 { Ok(()) } else { Err(view) })
    })
    .await?;
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("switched-off-lending.png")).await?;
    assert!(sites(&server).await?.is_empty());
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "unavailable").await?;
    assert!(text(browser).await?.contains("switched off by Rosa's recipes"));
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("switched-off.png")).await?;

    owner.perform(Task::Switch { site: key, on: true }).await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;

    // The same page under another origin: the browser shows no frame, and the page stays whole.
    browser.leave_frames().await?;
    browser.open(&host.other_origin()).await?;
    let script =
        "const f = document.querySelector('potluck-widget iframe'); return f && f.clientHeight";
    until("the widget's element", async || {
        let height = browser.read(script, &[]).await?;
        Ok(if height.is_null() { Err(()) } else { Ok(()) })
    })
    .await?;
    enter(browser, 0).await?;
    assert_eq!(browser.read("return !!document.getElementById('widget')", &[]).await?, false);
    browser.leave_frames().await?;
    assert_eq!(browser.read(script, &[]).await?, 0, "what may not be here takes no room");
    Ok(())
}

//! Where the browser keeps nothing for a page, the widget asks and lends all the same, and a *no* holds
//! for as long as the page is open. A phone is not asked unless its owner wants to be. In a frame that
//! somebody sandboxed without its origin, nothing is possible, and the widget says so.

use e2e::browser::{Graphics, Kind, is_available};
use e2e::embed::{Scene, come, enter, snippet, text, wait_for, wait_until_free};

#[tokio::test(flavor = "multi_thread")]
async fn embed_keeps_nothing() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_keeps_nothing", "").await?;
    let (server, artifacts) = (scene.swarm.url(), scene.swarm.artifacts().to_owned());
    scene.visitor(Kind::KeepsNothing).await?;
    let Scene { swarm, host, site, .. } = &mut scene;
    let browser = &swarm.browsers[0];
    let keeps = "try { localStorage.length; return true } catch { return false }";
    assert_eq!(browser.read(keeps, &[]).await?, false, "the browser is as the test needs it");
    browser.click_css("#no").await?;
    wait_for(browser, "refused").await?;
    come(browser, &host.origin()).await?;
    wait_until_free(browser, true).await?;
    browser.click_css("#yes").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    swarm.serving(1).await?;
    let browser = &swarm.browsers[0];
    browser.click("stop").await?;
    wait_for(browser, "stopped").await?;

    // A frame without an origin of its own.
    let frame = format!("{server}/embed.html?site={site}");
    host.show(&format!(
        "<potluck-widget><iframe sandbox=allow-scripts src=\"{frame}\"></iframe></potluck-widget>"
    ));
    browser.leave_frames().await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "unavailable").await?;
    assert!(text(browser).await?.contains("sandbox"));

    host.show(&snippet(&server, *site, ""));
    swarm.add_browser_as(Graphics::Machine, Kind::Phone).await?;
    let phone = &swarm.browsers[1];
    phone.show_size(390, 844, true).await?;
    phone.open(&host.origin()).await?;
    enter(phone, 0).await?;
    wait_for(phone, "phone").await?;
    assert!(text(phone).await?.contains("Phones are not asked"));
    phone.leave_frames().await?;
    phone.screenshot(&artifacts.join("phone.png")).await?;
    enter(phone, 0).await?;
    phone.click_css("#widget button").await?;
    wait_for(phone, "asking").await
}

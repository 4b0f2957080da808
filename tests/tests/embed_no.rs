//! *No* is as easy as *yes*, is remembered for 90 days, and takes nothing away. *Ask me* takes it back.

use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::embed::{Owner, PRIVATE_SITES, enter, snippet, text, wait_for, wait_until_free};
use e2e::host::{CONTENT, Host};
use e2e::swarm::Swarm;
use e2e::wait::until;
use serde_json::json;

const DAY_MS: f64 = 86_400_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn embed_no() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page_and("embed_no", &[PRIVATE_SITES]).await?;
    let (server, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let host = Host::start(&server).await?;
    let owner = Owner::new(&server, 1);
    let site = owner.register(&host, "Rosa's recipes").await?;
    host.show(&snippet(&server, site, ""));
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(720, 640, false).await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;
    wait_until_free(browser, true).await?;

    // Equal weight: as large, of the same letters and colours, side by side.
    let weight = "const of = (id) => { const e = document.getElementById(id), r = e.getBoundingClientRect(), \
                  s = getComputedStyle(e); return [r.width, r.height, r.top, s.color, s.backgroundColor, \
                  s.fontWeight, s.fontSize, s.borderColor, s.borderStyle, s.borderWidth] }; return [of('yes'), of('no')]";
    let weights = browser.read(weight, &[]).await?;
    assert_eq!(weights[0], weights[1]);

    // By the keyboard alone: the first key comes to "yes", the next to "no".
    let focused = "return document.activeElement.id";
    browser.type_keys("\u{e004}").await?;
    assert_eq!(browser.read(focused, &[]).await?, "yes");
    browser.type_keys("\u{e004}").await?;
    assert_eq!(browser.read(focused, &[]).await?, "no");
    browser.type_keys("\u{e007}").await?;
    wait_for(browser, "refused").await?;
    assert!(text(browser).await?.contains("not asked here again before"));
    let kept = browser.read("return localStorage.potluckNo - Date.now()", &[]).await?;
    let days = kept.as_f64().unwrap_or_default() / DAY_MS;
    assert!((89.9..=90.0).contains(&days), "{days} days");
    browser.leave_frames().await?;
    browser.screenshot(&artifacts.join("refused.png")).await?;

    // Not asked again, and the page is as it was.
    browser.open(&host.origin()).await?;
    assert_eq!(
        browser.read("return document.getElementById('content').textContent", &[]).await?,
        CONTENT
    );
    enter(browser, 0).await?;
    wait_for(browser, "refused").await?;
    let view = api::swarm(&server).await?;
    assert_eq!((view.connected, view.nodes.len()), (0, 0));
    until("the answer to be counted", async || {
        let site = owner.site(site).await?;
        let day = site.days.first().copied().unwrap_or_default();
        Ok(if (day.accepted, day.refused) == (0, 1) { Ok(()) } else { Err(day) })
    })
    .await?;

    // The ninety days are over; or whoever said no asks to be asked.
    browser.click_css("#widget button").await?;
    wait_for(browser, "asking").await?;
    browser.read("localStorage.potluckNo = Date.now() - arguments[0]", &[json!(1)]).await?;
    browser.leave_frames().await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await
}

//! *No* is as easy as *yes*, is remembered for 90 days, and takes nothing away. *Ask me* takes it back.

use e2e::api;
use e2e::browser::{Kind, is_available};
use e2e::embed::{Scene, come, enter, text, wait_for};
use e2e::host::CONTENT;
use e2e::wait::until;
use serde_json::json;

const DAY_MS: f64 = 86_400_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn embed_no() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_no", "").await?;
    let (server, artifacts) = (scene.swarm.url(), scene.swarm.artifacts().to_owned());
    scene.visitor(Kind::Usual).await?;
    let Scene { swarm, host, owner, site } = &scene;
    let browser = &swarm.browsers[0];

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
    let kept = "return localStorage['potluckNo' + arguments[0]] - Date.now()";
    let kept = browser.read(kept, &[json!(site.to_string())]).await?;
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
        let site = owner.site(*site).await?;
        let day = site.days.first().copied().unwrap_or_default();
        Ok(if (day.accepted, day.refused) == (0, 1) { Ok(()) } else { Err(day) })
    })
    .await?;

    // The ninety days are over; or whoever said no asks to be asked.
    browser.click_css("#widget button").await?;
    wait_for(browser, "asking").await?;
    let past = "localStorage['potluckNo' + arguments[0]] = Date.now() - 1";
    browser.read(past, &[json!(site.to_string())]).await?;
    come(browser, &host.origin()).await
}

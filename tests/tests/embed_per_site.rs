//! A yes or a no is one site's: no other site in the same browser takes it for its own visitor's word,
//! whether the browser keeps the two apart or not. Each asks in the language that its owner chose.

use e2e::api;
use e2e::browser::{Kind, is_available};
use e2e::embed::{Scene, come, enter, snippet, text, wait_for, wait_until_free};
use e2e::host::Host;

#[tokio::test(flavor = "multi_thread")]
async fn embed_per_site() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_per_site", "").await?;
    let server = scene.swarm.url();
    scene.visitor(Kind::Usual).await?;
    let Scene { swarm, host, owner, .. } = &scene;
    let browser = &swarm.browsers[0];
    let (first, near, far) =
        (host.origin(), Host::start(&server).await?, Host::start(&server).await?);
    // One that shares its storage with the first, and one that does not.
    let key = owner.register_at(&near, near.origin(), "Nearby").await?;
    near.show(&snippet(&server, key, "data-lang=zh"));
    let far_origin = far.numeric_origin();
    let key = owner.register_at(&far, far_origin.clone(), "Elsewhere").await?;
    far.show(&snippet(&server, key, ""));

    browser.click_css("#no").await?;
    wait_for(browser, "refused").await?;
    for other in [&far_origin, &near.origin()] {
        come(browser, other).await?;
    }
    wait_until_free(browser, true).await?;
    assert!(text(browser).await?.contains("出一份力"));
    browser.click_css("#yes").await?;
    // In the language that its owner chose, before the yes and after it.
    browser.wait_for_text("phase", |text| text == "服务中").await?;
    browser.wait_for_text("for", |text| text.contains("提问的人")).await?;
    assert_eq!(browser.read("return document.documentElement.lang", &[]).await?, "zh-Hans");
    let workers = "return navigator.serviceWorker.getRegistrations().then((all) => all.length)";
    assert_eq!(browser.read(workers, &[]).await?, 0, "the offline page is the page's own");
    swarm.serving(1).await?;

    // While one lends, the first still has its no, and the other has nobody's word.
    browser.leave_frames().await?;
    browser.open_tab().await?;
    come(browser, &far_origin).await?;
    browser.leave_frames().await?;
    browser.open(&first).await?;
    enter(browser, 0).await?;
    wait_for(browser, "refused").await?;
    assert_eq!(api::swarm(&server).await?.nodes.len(), 1, "nobody else began");
    Ok(())
}

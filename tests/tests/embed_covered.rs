//! A page that lays something over the widget, clips it, or makes it unseen gets no consent: while it
//! does, both buttons are off. Fifty widgets on a page are one question.

use e2e::browser::{Browser, Kind, is_available};
use e2e::embed::{Scene, come, enter, snippet, state, text, wait_for, wait_until_free};
use e2e::wait::until;
use serde_json::json;

const MANY: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn embed_covered() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_covered", "").await?;
    let (server, artifacts) = (scene.swarm.url(), scene.swarm.artifacts().to_owned());
    scene.visitor(Kind::Usual).await?;
    let Scene { swarm, host, site, .. } = &scene;
    let browser = &swarm.browsers[0];

    // What a page can do to a frame, and then undo.
    let cover = "const c = document.createElement('div'); c.id = 'cover'; c.textContent = 'Win a prize'; \
                 Object.assign(c.style, { position: 'fixed', inset: '0', pointerEvents: 'none', opacity: '.5', background: 'red' }); \
                 document.body.append(c)";
    let uncover = "document.getElementById('cover').remove()";
    let look = |property: &str, value: &str| {
        let frame = "document.querySelector('potluck-widget iframe').style";
        (format!("{frame}.{property} = '{value}'"), format!("{frame}.{property} = ''"))
    };
    let mut tricks = vec![(cover.to_owned(), uncover.to_owned())];
    tricks.extend([
        look("opacity", "0.01"),
        look("filter", "blur(9px)"),
        look("transform", "rotate(180deg)"),
    ]);
    for (trick, undo) in &tricks {
        on_page(browser, trick).await?;
        wait_until_free(browser, false).await?;
        until("a word about it", async || {
            let said = text(browser).await?;
            Ok(if said.contains("no answer is taken") { Ok(()) } else { Err(said) })
        })
        .await?;
        if trick == cover {
            browser.leave_frames().await?;
            browser.screenshot(&artifacts.join("covered.png")).await?;
            enter(browser, 0).await?;
        }
        on_page(browser, undo).await?;
        wait_until_free(browser, true).await?;
    }
    assert_eq!(state(browser).await?, "asking");

    // Clipped from the start, so that only the buttons can be seen: what was never read is not agreed to.
    browser.open(&host.origin()).await?;
    let clip = "const w = document.querySelector('potluck-widget'); w.style.height = '120px'; \
                w.style.overflow = 'hidden'; w.firstChild.style.marginTop = '-180px'";
    on_page(browser, clip).await?;
    wait_for(browser, "asking").await?;
    wait_until_free(browser, false).await?;

    // Fifty of them: the first asks, the others are nothing.
    let one = format!("<potluck-widget site=\"{site}\"></potluck-widget>");
    host.show(&(snippet(&server, *site, "") + &one.repeat(MANY - 1)));
    come(browser, &host.origin()).await?;
    browser.leave_frames().await?;
    let count = "return [document.querySelectorAll('potluck-widget').length, \
                 document.querySelectorAll('iframe').length, \
                 [...document.querySelectorAll('potluck-widget')].filter((it) => it.offsetHeight).length]";
    assert_eq!(browser.read(count, &[]).await?, json!([MANY, 1, 1]));
    browser.screenshot(&artifacts.join("many.png")).await?;
    // One that is taken away leaves its place to the next.
    browser.read("document.querySelector('potluck-widget').remove()", &[]).await?;
    enter(browser, 0).await?;
    wait_for(browser, "asking").await?;

    // In another tab of the same site one waits for this one's answer.
    browser.leave_frames().await?;
    browser.open_tab().await?;
    browser.open(&host.origin()).await?;
    enter(browser, 0).await?;
    wait_for(browser, "waiting").await
}

/// Runs a script in the page around the widget, and goes back into its frame.
async fn on_page(browser: &Browser, script: &str) -> anyhow::Result<()> {
    browser.leave_frames().await?;
    browser.read(script, &[]).await?;
    enter(browser, 0).await
}

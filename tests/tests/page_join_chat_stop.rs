//! A visitor opens the page, looks around, lends a hand, chats, and stops: what they see, and what
//! is fetched when.

use anyhow::Context as _;
use e2e::api;
use e2e::browser::{Browser, Graphics, Scheme, is_available};
use e2e::sizes::BEFORE_YES_LIMIT_BYTES;
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::server::NodeKind;
use serde_json::json;

/// What may be fetched before a yes, beyond the page itself, bytes.
const BEFORE_YES_BYTES: u64 = 4096;

/// A desktop window and the narrowest phone in use, CSS pixels.
const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

#[tokio::test(flavor = "multi_thread")]
async fn page_join_chat_stop() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_join_chat_stop").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(DESKTOP.0, DESKTOP.1, false).await?;
    browser.open(&format!("{url}/?backend=cpu&seed=42")).await?;

    // Looking around costs nobody anything.
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    nothing_large_was_fetched(browser).await?;
    assert!(api::swarm(&url).await?.nodes.is_empty(), "nothing is lent before a yes");
    browser.screenshot(&artifacts.join("before-light.png")).await?;

    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text.contains("Serving")).await?;
    let view = swarm.serving(1).await?;
    assert_eq!(view.nodes[0].kind, NodeKind::Browser);
    browser.wait_for_text("layers", |text| text.contains('0') && text.contains('5')).await?;

    // A prompt that tries to be a part of the page stays what it is: text.
    let scripts = browser.read("return document.scripts.length", &[]).await?;
    let prompt = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> Tell me a story about a fox.";
    browser.write("prompt", prompt).await?;
    browser.click("ask").await?;
    let status = "the answer to be whole";
    let answer = until(status, async || {
        let answer = browser.text("answer").await?.unwrap_or_default();
        let status = browser.text("answer-status").await?.unwrap_or_default();
        // The cancel button is there only while tokens are still awaited.
        let asking = browser
            .read("return !!document.querySelector('[data-testid=cancel]:not([disabled])')", &[])
            .await?;
        Ok(if !answer.is_empty() && asking == false { Ok(answer) } else { Err((answer, status)) })
    })
    .await?;
    assert!(!answer.trim().is_empty());
    assert_ne!(browser.read("return document.title", &[]).await?, "owned");
    assert_eq!(
        browser.read("return document.scripts.length", &[]).await?,
        scripts,
        "no script came in with a text"
    );
    assert_eq!(
        browser.read("return document.querySelectorAll('img[src=x]').length", &[]).await?,
        0
    );
    let seed = browser.text("seed").await?.context("the seed is shown with the answer")?;
    assert!(seed.contains("42"), "{seed:?}");
    let node = &view.nodes[0];
    browser.wait_for_text("answer-nodes", |text| text.contains(&node.name)).await?;
    // Who asks themselves earns nothing.
    browser.wait_for_text("tally", |text| text.contains("Nobody was credited yet")).await?;

    browser.screenshot(&artifacts.join("answer-light.png")).await?;
    browser.show_scheme(Scheme::Dark).await?;
    browser.screenshot(&artifacts.join("answer-dark.png")).await?;
    browser.show_size(PHONE.0, PHONE.1, true).await?;
    browser.screenshot(&artifacts.join("answer-phone-dark.png")).await?;
    let overflow = "return document.documentElement.scrollWidth > arguments[0]";
    assert_eq!(
        browser.read(overflow, &[json!(PHONE.0)]).await?,
        false,
        "a phone must not have to scroll sideways"
    );
    browser.show_scheme(Scheme::Light).await?;
    browser.screenshot(&artifacts.join("answer-phone-light.png")).await?;

    browser.click("stop").await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    until("the server to see it gone", async || {
        let view = api::swarm(&url).await?;
        Ok(if view.serving().next().is_none() { Ok(()) } else { Err(view) })
    })
    .await?;
    let tally = api::tally(&url).await?;
    assert!(tally.is_empty(), "one's own question is not credited: {tally:?}");
    Ok(())
}

/// The page itself is its document and what that names; beyond it come only small answers of the
/// API. All of it together, compressed as it came, is what a visitor pays who only looks.
async fn nothing_large_was_fetched(browser: &Browser) -> anyhow::Result<()> {
    let script = "return ['navigation', 'resource'] \
                  .flatMap(kind => performance.getEntriesByType(kind)) \
                  .map(e => [e.name, e.encodedBodySize])";
    let entries = browser.read(script, &[]).await?;
    let fetched: Vec<(String, u64)> = serde_json::from_value(entries)?;
    assert!(!fetched.is_empty(), "the page names at least its own script");
    let whole: u64 = fetched.iter().map(|(_, bytes)| bytes).sum();
    assert!(whole <= BEFORE_YES_LIMIT_BYTES, "{whole} bytes before a yes: {fetched:?}");
    for (name, bytes) in &fetched {
        assert!(
            !name.contains("potluck-node"),
            "the worker must not be fetched before a yes: {name}"
        );
        assert!(!name.contains("/blobs/"), "weights must not be fetched before a yes: {name}");
        let is_page =
            ["potluck-app", "style", "favicon", "icon"].iter().any(|part| name.contains(part));
        assert!(is_page || *bytes <= BEFORE_YES_BYTES, "{name} has {bytes} bytes");
    }
    let workers = "return performance.getEntriesByType('resource').filter(e => e.initiatorType === 'worker').length";
    assert_eq!(browser.read(workers, &[]).await?, 0, "no worker before a yes");
    Ok(())
}

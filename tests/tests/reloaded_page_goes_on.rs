//! A page is reloaded in the middle of an answer: nothing runs until the visitor says so, then the
//! answer goes on to the token, and nothing of it stays in the tab.

use e2e::browser::{Graphics, Scheme, is_available};
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use serde_json::json;

const PROMPT: &str = "Tell me a story about a fox and a lantern.";
const SEED: u64 = 42;

#[tokio::test(flavor = "multi_thread")]
async fn reloaded_page_goes_on() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("reloaded_page_goes_on").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    for _ in 0..2 {
        swarm.add_native(&["--backend", "cpu"])?;
    }
    swarm.serving(2).await?;
    let whole = swarm.reference_answer(&Question::new(PROMPT, SEED)).await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(1280, 900, false).await?;
    browser.open(&url).await?;

    // An answer here takes less time than a reload does; this is what the tab keeps after 30 tokens
    // of it.
    let sampled = &whole.token_ids[..30];
    let kept = json!({ "prompt": PROMPT, "seed": SEED, "temperature_milli": null, "text": "Once upon", "sampled": sampled });
    let keep = "sessionStorage.setItem('potluck-answer', arguments[0])";
    browser.read(keep, &[json!(kept.to_string())]).await?;
    browser.open(&url).await?;

    browser.wait_for_text("go-on", |text| text.contains("Go on")).await?;
    browser
        .wait_for_text("answer-status", |text| text.contains("30 tokens are kept in this tab"))
        .await?;
    let into_view =
        "document.querySelector('[data-testid=go-on]').scrollIntoView({ block: 'center' })";
    browser.read(into_view, &[]).await?;
    for (scheme, name) in [(Scheme::Light, "kept-light.png"), (Scheme::Dark, "kept-dark.png")] {
        browser.show_scheme(scheme).await?;
        browser.screenshot(&artifacts.join(name)).await?;
    }
    browser.show_size(390, 844, true).await?;
    browser.read(into_view, &[]).await?;
    browser.screenshot(&artifacts.join("kept-phone.png")).await?;
    browser.click("go-on").await?;
    let text = until("the answer to be whole", async || {
        let status = browser.text("answer-status").await?.unwrap_or_default();
        let text = browser
            .read("return document.querySelector('[data-testid=answer]').textContent", &[])
            .await?;
        Ok(if status.contains("the first after") { Ok(text) } else { Err(status) })
    })
    .await?;
    assert_eq!(text, json!(whole.text));
    assert!(browser.read("return sessionStorage.getItem('potluck-answer')", &[]).await?.is_null());
    Ok(())
}

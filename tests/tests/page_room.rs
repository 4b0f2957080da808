//! A room in a browser: made with a click, entered with its link, and answered in by its members only.

use anyhow::Context as _;
use e2e::api;
use e2e::browser::{Graphics, is_available};
use e2e::door::LettingIn;
use e2e::process::Folder;
use e2e::question::Question;
use e2e::swarm::Swarm;

#[tokio::test(flavor = "multi_thread")]
async fn page_room() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_room").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.open(&format!("{url}/?backend=cpu")).await?;
    browser.wait_for_text("room-make", |text| text.contains("Make a room")).await?;
    browser.click("room-make").await?;
    browser.wait_for_text("in-room", |text| text.contains("You are in a room")).await?;
    let link =
        browser.read("return document.querySelector('[data-testid=room-link]').value", &[]).await?;
    let link = link.as_str().context("the invitation is a text")?.to_owned();
    assert!(link.starts_with(&format!("{url}/#room=")), "{link}");
    browser.screenshot(&artifacts.join("room.png")).await?;

    // A skip link goes to the content, not out of the room.
    browser.read("document.querySelector('a.skip').click()", &[]).await?;
    let address = browser.read("return location.href", &[]).await?;
    assert!(address.as_str().is_some_and(|it| it.contains("#room=")), "{address}");

    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text.contains("Serving")).await?;
    assert!(api::swarm(&url).await?.nodes.is_empty(), "nothing of it is public");
    // The page itself sees who is in it.
    browser.wait_for_text("swarm-table", |text| text.contains("serving")).await?;

    let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(40);
    let reference = swarm.reference_answer(&question).await?;
    let folder = Folder::new()?;
    let answer = question.ask(&link, &folder.path().join("invited")).await?;
    assert_eq!(
        answer.token_ids, reference.token_ids,
        "computed in the browser, for an invited node"
    );

    // A member at the page lets somebody in by a code.
    let browser = &swarm.browsers[0];
    browser.click("let-in").await?;
    browser.click("door-open").await?;
    let code = browser.wait_for_text("door-code", |text| text.contains('-')).await?;
    swarm.add_native(&["--backend", "cpu", "--code", &code])?;
    let browser = &swarm.browsers[0];
    browser.wait_for_text("door-knocked", |text| text.contains("wants to come in")).await?;
    browser.screenshot(&artifacts.join("knocked.png")).await?;
    browser.click("door-yes").await?;
    browser.wait_for_text("door-ended", |text| text.contains("They are in")).await?;
    browser.wait_for_text("room-members", |text| text.contains(": 2")).await?;

    // A page knocks with a code, after one that is none, and is let in.
    let name = browser.text("in-room").await?;
    browser.open("about:blank").await?;
    browser.open(&format!("{url}/?backend=cpu")).await?;
    let letting_in = LettingIn::start(&link, &folder.path().join("member")).await?;
    browser.click("come-in").await?;
    browser.write("door-typed", "4821").await?;
    browser.click("door-knock").await?;
    browser.wait_for_text("door-status", |text| text.contains("like 4821-KQ7M")).await?;
    browser.write("door-typed", &letting_in.code.to_lowercase()).await?;
    browser.click("door-knock").await?;
    letting_in.yes().await?;
    browser.wait_for_text("in-room", |text| Some(text) == name.as_deref()).await?;

    // Half an invitation is no way into the public swarm without a word.
    let half = &link[..link.len() - 3];
    browser.open("about:blank").await?;
    browser.open(half).await?;
    browser.wait_for_text("notice", |text| text.contains("not whole")).await?;
    Ok(())
}

//! What is a volunteer's own, through the page: they lend, are credited, choose a name that others
//! see, make a team, keep their key, begin anew, and have the old key back with all that is its own.

use anyhow::Context as _;
use e2e::api;
use e2e::browser::{Browser, Graphics, is_available};
use e2e::process::Folder;
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use serde_json::json;

/// Chromium tells a driver of no download, so what would be saved is kept for the test to read.
const KEEP_DOWNLOADS: &str = "window.saved = []; HTMLAnchorElement.prototype.click = function () { \
     window.saved.push(decodeURIComponent(this.href.slice(this.href.indexOf(',') + 1))) }";

#[tokio::test(flavor = "multi_thread")]
async fn page_mine() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_mine").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(1280, 2400, false).await?;
    browser.stand_in(KEEP_DOWNLOADS).await?;
    browser.open(&format!("{url}/?backend=cpu")).await?;
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    swarm.ask(&Question::new("Tell me a story about a fox.", 7).at_most(8)).await?;
    let node = until("the volunteer to be credited", async || {
        let tally = api::tally(&url).await?;
        Ok(tally.first().map(|row| row.node.to_string()).ok_or(tally.len()))
    })
    .await?;

    browser.click("mine-open").await?;
    browser.wait_for_text("key-now", |text| text == node).await?;
    browser.wait_for_text("receipts", |text| text.contains("potluck-tiny")).await?;

    // Typed with a mark of its own and a mark that turns the text.
    browser.write("name-input", "Zoe\u{301} \u{202e}L\u{f6}we ").await?;
    browser.click("name-use").await?;
    browser.wait_for_text("name-now", |text| text == "Zo\u{e9} L\u{f6}we").await?;
    for hook in ["tally", "swarm-table"] {
        browser.wait_for_text(hook, |text| text.contains("Zo\u{e9} L\u{f6}we")).await?;
    }
    board_shows(browser, "people", "browser", "Zo\u{e9} L\u{f6}we").await?;
    choose(browser, "board-class", "phone").await?;
    browser.wait_for_text("board", |text| text.contains("Nobody was credited")).await?;

    browser.write("team-input", "Bakers").await?;
    browser.click("team-make").await?;
    browser.wait_for_text("team-name", |text| text == "Bakers").await?;
    let link = "return document.querySelector('[data-testid=team-link]').value";
    let link = browser.read(link, &[]).await?;
    let link = link.as_str().context("the link is a text")?.to_owned();
    assert!(link.starts_with(&format!("{url}/#team=")), "{link}");
    browser.screenshot(&artifacts.join("mine.png")).await?;

    browser.click("receipts-save").await?;
    let receipts = saved(browser, 1).await?;
    assert!(receipts.contains("requester_signature") && receipts.contains(&node), "{receipts}");
    browser.click("key-backup").await?;
    let backup = saved(browser, 2).await?;
    assert!(backup.contains("Whoever has this file is you"), "{backup}");
    let fields: serde_json::Value = serde_json::from_str(&backup)?;
    assert_eq!(fields["public_key"], node);
    let secret = fields["secret_key"].as_str().context("a secret")?;
    let page = "return document.documentElement.outerHTML";
    let page = browser.read(page, &[]).await?;
    assert!(page.as_str().is_some_and(|page| !page.contains(secret)), "it is in the file only");

    // Lending ends with the key.
    browser.click("key-reset").await?;
    browser.click("key-reset-yes").await?;
    browser.wait_for_text("key-now", |text| text.len() == node.len() && text != node).await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    browser.wait_for_text("receipts", |text| text.contains("No receipt")).await?;
    assert_eq!(browser.text("name-now").await?, None, "a new key has no name");

    let folder = Folder::new()?;
    let (bad, good) = (folder.path().join("bad.json"), folder.path().join("good.json"));
    std::fs::write(&bad, backup.replace(secret, &"0".repeat(64)))?;
    std::fs::write(&good, &backup)?;
    browser.choose("key-file", &bad).await?;
    browser.wait_for_text("mine-failure", |text| text.contains("nothing was changed")).await?;
    browser.choose("key-file", &good).await?;
    browser.wait_for_text("key-found", |text| text.contains(&url)).await?;
    browser.click("key-restore").await?;
    browser.wait_for_text("key-now", |text| text == node).await?;
    browser.wait_for_text("name-now", |text| text == "Zo\u{e9} L\u{f6}we").await?;
    browser.wait_for_text("receipts", |text| text.contains("potluck-tiny")).await?;

    // Left, and joined again by its link.
    browser.click("team-leave").await?;
    browser.wait_for_text("team-make", |_| true).await?;
    browser.open("about:blank").await?;
    browser.open(&link).await?;
    browser.wait_for_text("team-invitation", |text| text.contains("Bakers")).await?;
    browser.click("team-join").await?;
    browser.wait_for_text("team-name", |text| text == "Bakers").await?;
    Ok(())
}

/// A person would choose it in the list; a driver cannot open a list of the system's.
async fn choose(browser: &Browser, hook: &str, value: &str) -> anyhow::Result<()> {
    let script = "const list = document.querySelector(`[data-testid=${arguments[0]}]`); \
                  list.value = arguments[1]; list.dispatchEvent(new Event('change', { bubbles: true }))";
    browser.read(script, &[json!(hook), json!(value)]).await.map(drop)
}

/// Boards are made now and then, so it is looked at until it does.
async fn board_shows(browser: &Browser, of: &str, class: &str, name: &str) -> anyhow::Result<()> {
    choose(browser, "board-class", class).await?;
    until("the board to show the name", async || {
        // What the choice of a moment ago has brought.
        let board = browser.text("board").await?.unwrap_or_default();
        if board.contains(name) {
            return Ok(Ok(()));
        }
        choose(browser, "board-of", of).await?;
        Ok(Err(board))
    })
    .await
}

/// What is in the file that was saved with this number, from 1.
async fn saved(browser: &Browser, number: usize) -> anyhow::Result<String> {
    until("a file to be saved", async || {
        let saved: Vec<String> =
            serde_json::from_value(browser.read("return window.saved", &[]).await?)?;
        Ok(saved.get(number - 1).cloned().ok_or(saved.len()))
    })
    .await
}

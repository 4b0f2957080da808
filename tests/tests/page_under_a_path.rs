//! The page lies under a path of somebody's site: style, programs, worker, socket, weights and the
//! server's word all come from below it.

use e2e::browser::{Graphics, is_available};
use e2e::proxy::{Answer, Proxy};
use e2e::swarm::Swarm;

const FOLDER: &str = "/potluck";

#[tokio::test(flavor = "multi_thread")]
async fn page_under_a_path() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_under_a_path").await?;
    let proxy = Proxy::start(swarm.server.port(), |path| {
        let below = path.strip_prefix(FOLDER).filter(|rest| rest.starts_with('/'));
        below.map_or(Answer::Status(404), |rest| Answer::Pass(rest.to_owned()))
    })
    .await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.open(&format!("{}{FOLDER}/?backend=cpu&seed=42", proxy.url())).await?;
    let style = "return getComputedStyle(document.querySelector('.card')).borderRadius";
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    assert_eq!(browser.read(style, &[]).await?, "10px", "the style sheet is there");
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    browser.write("prompt", "Tell me a story about a fox.").await?;
    browser.click("ask").await?;
    browser.wait_for_text("answer-status", |text| text.starts_with("Done")).await?;
    let name = swarm.serving(1).await?.nodes[0].name.clone();
    browser.wait_for_text("swarm-table", |text| text.contains(&name)).await?;
    browser.wait_for_text("tally", |text| text.contains("Nobody was credited yet")).await?;

    let asked = proxy.asked();
    // A browser asks for this one of every site, unless a page names another.
    let outside: Vec<&String> = asked
        .iter()
        .filter(|path| !path.starts_with("/potluck/") && *path != "/favicon.ico")
        .collect();
    assert!(outside.is_empty(), "asked for outside of the page's folder: {outside:?}");
    for part in ["_loader.js", "_bg.wasm", "/api/v1/socket", "/api/v1/events", "/api/v1/blobs/"] {
        assert!(asked.iter().any(|path| path.contains(part)), "nobody asked for {part}: {asked:?}");
    }
    Ok(())
}

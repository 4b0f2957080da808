//! What the page does not show, the worker does not do: weights that cannot be had are tried for
//! again with **Stop** beside it, after Stop nothing is fetched though they could be had by then, and
//! a server that refuses for good ends everything with its words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use e2e::api;
use e2e::browser::{Browser, Graphics, Scheme, is_available};
use e2e::proxy::{Answer, Proxy};
use e2e::question::Question;
use e2e::swarm::Swarm;
use e2e::wait::until;
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec;
use potluck_protocol::server::FromServer;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const BLOBS: &str = "/api/v1/blobs/";
const SOCKET: &str = "/api/v1/socket";
/// What the server says that has another program than this page by now.
const REFUSAL: &str = "this server speaks another protocol";

#[tokio::test(flavor = "multi_thread")]
async fn page_consent() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_consent").await?;
    let (url, artifacts) = (swarm.url(), swarm.artifacts().to_owned());
    let (are_away, refuses) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let refusing = refusing_server().await?;
    let proxy = Proxy::start(swarm.server.port(), {
        let (are_away, refuses) = (Arc::clone(&are_away), Arc::clone(&refuses));
        move |path| {
            if path.starts_with(BLOBS) && are_away.load(Ordering::SeqCst) {
                Answer::Status(404)
            } else if path.starts_with(SOCKET) && refuses.load(Ordering::SeqCst) {
                Answer::Elsewhere(refusing)
            } else {
                Answer::Pass(path.to_owned())
            }
        }
    })
    .await?;
    let fetches = || proxy.asked().iter().filter(|path| path.starts_with(BLOBS)).count();

    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    browser.show_size(1280, 900, false).await?;
    browser.open(&format!("{}/?backend=cpu", proxy.url())).await?;
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Trying again").await?;
    offers_stop(browser).await?;
    let first_tries = fetches();
    assert!(first_tries > 0);
    until("another try", async || {
        Ok(if fetches() > first_tries { Ok(()) } else { Err(fetches()) })
    })
    .await?;
    offers_stop(browser).await?;
    pictures(browser, &artifacts, "retrying").await?;

    // Stop, and the weights come back: nothing is fetched, however long somebody else computes.
    browser.click("stop").await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    until("the tab to be gone from the server", async || {
        let view = api::swarm(&url).await?;
        Ok(if view.connected == 0 { Ok(()) } else { Err(view) })
    })
    .await?;
    let tries = fetches();
    are_away.store(false, Ordering::SeqCst);
    swarm.add_native(&["--backend", "cpu"])?;
    swarm.serving(1).await?;
    swarm.ask(&Question::new("Tell me a story about a fox.", 1)).await?;
    let browser = &swarm.browsers[0];
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    assert_eq!(fetches(), tries, "nothing is fetched after Stop");
    let view = api::swarm(&url).await?;
    assert_eq!((view.nodes.len(), view.connected), (1, 1), "{view:?}");

    // A new yes is a new yes.
    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    assert!(fetches() > tries);
    offers_stop(browser).await?;

    // The server refuses for good: the page says so, offers to reload, and does nothing more.
    browser.click("stop").await?;
    refuses.store(true, Ordering::SeqCst);
    browser.click("lend").await?;
    browser.wait_for_text("notice", |text| text.contains(REFUSAL)).await?;
    browser.wait_for_text("reload", |text| text == "Reload").await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    browser.wait_for_text("link-state", |text| text == "Not connected").await?;
    pictures(browser, &artifacts, "refused").await?;
    Ok(())
}

/// Stop is there, and nothing that says that nothing goes on.
async fn offers_stop(browser: &Browser) -> anyhow::Result<()> {
    browser.wait_for_text("stop", |text| text == "Stop").await?;
    assert_eq!(browser.text("lend").await?, None);
    Ok(())
}

async fn pictures(browser: &Browser, folder: &std::path::Path, name: &str) -> anyhow::Result<()> {
    for (scheme, shade) in [(Scheme::Dark, "dark"), (Scheme::Light, "light")] {
        browser.show_scheme(scheme).await?;
        browser.screenshot(&folder.join(format!("{name}-{shade}.png"))).await?;
    }
    browser.show_size(390, 844, true).await?;
    browser.screenshot(&folder.join(format!("{name}-phone.png"))).await?;
    let overflow = "return document.documentElement.scrollWidth > arguments[0]";
    assert_eq!(
        browser.read(overflow, &[json!(390)]).await?,
        false,
        "{name}: a phone scrolls sideways"
    );
    browser.show_size(1280, 900, false).await
}

/// A server that hears everybody out and refuses them for good; its port.
async fn refusing_server() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
            let _hello = socket.next().await;
            let refused = FromServer::Refused { reason: REFUSAL.to_owned(), retry_after_ms: None };
            let _gone = socket.send(Message::Binary(codec::encode(&refused).into())).await;
            let _closed = socket.close(None).await;
        }
    });
    Ok(port)
}

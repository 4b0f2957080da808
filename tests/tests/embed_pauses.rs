//! A widget's frame, in a page of another origin, rests for the same reasons as the page does: on
//! battery, with data saving on, over a metered link, under pressure, and when it is drawn too late. It
//! says why, the server knows, nothing is computed, and it goes on by itself.

use std::pin::pin;

use e2e::api;
use e2e::browser::{Browser, Kind, is_available};
use e2e::embed::{Scene, wait_for};
use e2e::question::{Answer, Question};
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::NodeState;

/// Chromium tells a battery and the kind of a connection of real machines only; and what it can be told
/// of data saving and pressure reaches the page alone, no frame of another origin: these stand in.
const STAND_IN: &str = "
const battery = Object.assign(new EventTarget(), { charging: true, level: 1 });
navigator.getBattery = async () => battery;
const connection = { kind: 'wifi', saves: false };
Object.defineProperty(NetworkInformation.prototype, 'type', { get: () => connection.kind });
Object.defineProperty(NetworkInformation.prototype, 'saveData', { get: () => connection.saves });
window.plugIn = (charging) => {
  battery.charging = charging;
  battery.dispatchEvent(new Event('chargingchange'));
};
window.connectBy = (kind, saves) => {
  Object.assign(connection, { kind, saves });
  navigator.connection.dispatchEvent(new Event('change'));
};
const observers = new Set();
window.PressureObserver = class {
  constructor(told) { this.told = told; }
  async observe() { observers.add(this); }
  disconnect() { observers.delete(this); }
};
window.press = (state) => observers.forEach(({ told }) => told([{ source: 'cpu', state }]));
";
/// Keeps the frame from being drawn: so long at a time, milliseconds.
const JAM: &str = "
const jam = () => { const until = performance.now() + 150; while (performance.now() < until); };
window.jam = setInterval(jam, 160);
";

#[tokio::test(flavor = "multi_thread")]
async fn embed_pauses() -> anyhow::Result<()> {
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut scene = Scene::start("embed_pauses", "").await?;
    let url = scene.swarm.url();
    let browser = scene.visitor(Kind::Usual).await?;
    browser.read(STAND_IN, &[]).await?;
    browser.click_css("#yes").await?;
    serves(browser, &url).await?;

    let reasons = [
        ("plugIn(false)", "battery", "plugIn(true)"),
        ("connectBy('wifi', true)", "saves data", "connectBy('wifi', false)"),
        ("connectBy('cellular', false)", "paid by the amount", "connectBy('wifi', false)"),
    ];
    for (begin, why, end) in reasons {
        browser.read(begin, &[]).await?;
        rests(browser, &url, why).await?;
        browser.read(end, &[]).await?;
        serves(browser, &url).await?;
    }

    // Drawn too late while it computes for people who ask one question after another, for as long as it
    // takes to be noticed: the answer that is on its way then waits, and loses nothing.
    let Scene { swarm, .. } = &mut scene;
    let question = Question::new("Tell me a story about a fox and a lantern.", 5);
    let whole = swarm.reference_answer(&question).await?;
    let browser = &swarm.browsers[0];
    browser.read(JAM, &[]).await?;
    let mut noticed = pin!(rests(browser, &url, "smoothly"));
    let mut people = pin!(answered(swarm, &question, &whole));
    loop {
        tokio::select! {
            rests = &mut noticed => break rests?,
            answer = &mut people => {
                answer?;
                people.set(answered(swarm, &question, &whole));
            }
        }
    }
    browser.read("clearInterval(window.jam)", &[]).await?;
    people.await?;

    // Stop is there in a rest too.
    browser.read("press('critical')", &[]).await?;
    rests(browser, &url, "enough to do").await?;
    browser.click("stop").await?;
    wait_for(browser, "stopped").await?;
    gone(swarm).await
}

/// Asks, and compares what is answered.
async fn answered(swarm: &Swarm, question: &Question, whole: &Answer) -> anyhow::Result<()> {
    let outcome = swarm.start_asking(question)?.outcome().await?;
    let answer = outcome.map_err(|text| anyhow::anyhow!("the answer stopped: {text}"))?;
    assert_eq!(answer.token_ids, whole.token_ids);
    Ok(())
}

/// The widget says that it rests, why, and offers Stop; the server has no session through it.
async fn rests(browser: &Browser, url: &str, why: &str) -> anyhow::Result<()> {
    wait_for(browser, "paused").await?;
    browser.wait_for_text("phase-explained", |text| text.contains(why)).await?;
    browser.wait_for_text("stop", |text| text == "Stop").await?;
    until("the server to know of the pause", async || {
        let view = api::swarm(url).await?;
        Ok(match &view.nodes[..] {
            [node] if node.state == NodeState::Paused && node.sessions == 0 => Ok(()),
            _ => Err(view),
        })
    })
    .await
}

/// The widget and the server say that it goes on.
async fn serves(browser: &Browser, url: &str) -> anyhow::Result<()> {
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    wait_for(browser, "lending").await?;
    until("the widget to serve", async || {
        let view = api::swarm(url).await?;
        Ok(if view.serving().count() == 1 { Ok(()) } else { Err(view) })
    })
    .await
}

async fn gone(swarm: &Swarm) -> anyhow::Result<()> {
    until("the node to be gone", async || {
        let view = api::swarm(&swarm.url()).await?;
        Ok(if view.connected == 0 { Ok(()) } else { Err(view) })
    })
    .await
}

//! Nothing on the page keeps anybody out who cannot see it or point at it: axe-core finds nothing in
//! any of its states, by day and by night, on the narrowest phone and on the widest screen, in either
//! language; nothing has to be scrolled sideways; and the browser reports no break of the page's policy.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail, ensure};
use e2e::browser::{Browser, Graphics, Scheme, is_available};
use e2e::proxy::{Answer, Proxy};
use e2e::swarm::Swarm;
use e2e::wait::until;
use potluck_protocol::api::{
    InclusiveLayers, ModelCopies, NodeState, NodeView, SwarmTotals, SwarmView,
};
use potluck_protocol::id::NodeId;
use potluck_protocol::room::RoomSecret;
use potluck_protocol::server::NodeKind;
use serde_json::{Value, json};

/// Widths and heights, CSS pixels: the narrowest phone that WCAG asks for, a usual one, a desktop, 4k.
const SIZES: [(u32, u32); 4] = [(320, 2600), (390, 2600), (1440, 1000), (3840, 2160)];
/// Everything narrower is a phone.
const DESKTOP: u32 = 900;

/// What the server seems to say of the swarm.
#[derive(Clone, Debug, Default, PartialEq)]
enum Told {
    /// The truth.
    #[default]
    Truth,
    /// That it is this.
    Swarm(Box<SwarmView>),
    /// That it has another page.
    Newer,
}

#[tokio::test(flavor = "multi_thread")]
async fn page_is_accessible() -> anyhow::Result<()> {
    let Some(axe) = axe()? else { return Ok(()) };
    if !is_available()? {
        eprintln!("SKIPPED: no Chromium with chromedriver");
        return Ok(());
    }
    let mut swarm = Swarm::start_with_page("page_is_accessible").await?;
    let artifacts = swarm.artifacts().to_owned();
    let told = Arc::new(Mutex::new(Told::default()));
    let proxy = Proxy::start(swarm.server.port(), {
        let told = Arc::clone(&told);
        move |path| {
            let told = told.lock().map(|told| told.clone()).unwrap_or_default();
            let events = |body| Answer::Body { content_type: "text/event-stream", body };
            match told {
                Told::Swarm(view) if path.starts_with("/api/v1/events") => {
                    events(format!("event: swarm\ndata: {}\n\n", json!(*view)))
                }
                Told::Newer if path.starts_with("/api/v1/events") => {
                    events("event: build\ndata: tomorrow\n\n".to_owned())
                }
                _ => Answer::Pass(path.to_owned()),
            }
        }
    })
    .await?;
    let tell = |now| {
        if let Ok(mut told) = told.lock() {
            *told = now;
        }
    };
    swarm.add_native(&["--backend", "cpu"])?;
    swarm.serving(1).await?;
    swarm.add_browser(Graphics::Machine).await?;
    let browser = &swarm.browsers[0];
    let looker = Looker { browser, axe: &axe, artifacts: &artifacts };
    let url = format!("{}/?backend=cpu&seed=42", proxy.url());

    browser.open(&url).await?;
    looker.listen().await?;
    browser.wait_for_text("lend", |text| text.contains("Lend a hand")).await?;
    looker.look("before").await?;
    browser
        .read("for (const one of document.querySelectorAll('summary')) one.click()", &[])
        .await?;
    // What is behind them is drawn once it is fetched.
    browser.wait_for_text("who-hint", |text| !text.is_empty()).await?;
    looker.look("choices").await?;

    browser.click("lend").await?;
    browser.wait_for_text("phase", |text| text == "Serving").await?;
    browser.write("prompt", "Tell me a story about a fox.").await?;
    browser.click("ask").await?;
    browser.wait_for_text("answer-status", |text| text.starts_with("Done")).await?;
    browser.click("mine-open").await?;
    browser.wait_for_text("receipts", |text| !text.is_empty()).await?;
    looker.look("lending").await?;
    browser.read(CHOOSE_CHINESE, &[]).await?;
    browser.wait_for_text("stop", |text| text == "停止").await?;
    assert_eq!(browser.read("return document.documentElement.lang", &[]).await?, "zh-Hans");
    looker.look("lending-zh").await?;
    looker.broke_nothing().await?;

    // The choice is kept, and the words of the page come before it is drawn.
    browser.open(&format!("{url}&again")).await?;
    looker.listen().await?;
    browser.wait_for_text("lend", |text| text == "出一份力").await?;
    browser.read("localStorage.clear()", &[]).await?;

    for (name, view) in [("twenty", twenty()), ("crowd", crowd())] {
        tell(Told::Swarm(Box::new(view)));
        browser.open(&format!("{url}&{name}")).await?;
        browser.wait_for_text("now", |text| text.contains("computers")).await?;
        looker.look(name).await?;
    }
    tell(Told::Newer);
    browser.open(&format!("{url}&newer")).await?;
    looker.listen().await?;
    browser.wait_for_text("newer", |text| text.contains("a newer page")).await?;
    looker.look("newer").await?;
    looker.broke_nothing().await?;

    tell(Told::default());
    browser.open(&format!("{url}&problem#room=half-an-invitation")).await?;
    browser.wait_for_text("notice", |text| text.contains("not whole")).await?;
    looker.look("problem").await?;
    browser.open(&format!("{url}&room#room={}", RoomSecret([7; 16]))).await?;
    looker.listen().await?;
    browser.wait_for_text("in-room", |text| text.contains("You are in a room")).await?;
    looker.look("room").await?;
    looker.broke_nothing().await?;

    browser.open(&format!("{}/offline.html", proxy.url())).await?;
    looker.look("offline").await
}

/// A person would choose it in the list; a driver cannot open a list of the system's.
const CHOOSE_CHINESE: &str = "const list = document.querySelector('[data-testid=language]'); \
     list.value = 'zh-Hans'; list.dispatchEvent(new Event('change', { bubbles: true }))";

struct Looker<'a> {
    browser: &'a Browser,
    axe: &'a str,
    artifacts: &'a Path,
}

impl Looker<'_> {
    /// From now on, breaks of the page's policy are gathered.
    async fn listen(&self) -> anyhow::Result<()> {
        let listen = "window.broken = []; addEventListener('securitypolicyviolation', \
                      (event) => window.broken.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`))";
        self.browser.read(listen, &[]).await.map(drop)
    }

    async fn broke_nothing(&self) -> anyhow::Result<()> {
        let broken = self.browser.read("return window.broken", &[]).await?;
        ensure!(broken == json!([]), "the page broke its own policy: {broken}");
        Ok(())
    }

    /// Looks at the page as it is, in every size and scheme.
    async fn look(&self, name: &str) -> anyhow::Result<()> {
        let browser = self.browser;
        browser.read(self.axe, &[]).await?;
        let mut found = Vec::new();
        for (width, height) in SIZES {
            browser.show_size(width, height, width < DESKTOP).await?;
            for (scheme, shade) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
                browser.show_scheme(scheme).await?;
                let seen = format!("{name}-{width}-{shade}");
                until("the page to be drawn in that size", async || {
                    let drawn = browser.read("return innerWidth", &[]).await?;
                    Ok(if drawn == width { Ok(()) } else { Err(drawn) })
                })
                .await?;
                let violations = browser.read(RUN, &[]).await?;
                let violations: Vec<Value> = serde_json::from_value(violations)?;
                found.extend(violations.into_iter().map(|one| format!("{seen}: {one}")));
                let overflow = "return document.documentElement.scrollWidth > arguments[0]";
                if browser.read(overflow, &[json!(width)]).await? != false {
                    found.push(format!("{seen}: scrolls sideways"));
                }
                browser.screenshot(&self.artifacts.join(format!("{seen}.png"))).await?;
            }
        }
        ensure!(found.is_empty(), "{} found:\n{}", found.len(), found.join("\n"));
        Ok(())
    }
}

/// Every rule of WCAG 2.2 AA and before, and what is only good practice.
const RUN: &str = "return axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', \
     'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }).then((found) => found.violations.map((one) => \
     ({ id: one.id, help: one.help, nodes: one.nodes.map((node) => node.html.slice(0, 200) + ' ' + node.failureSummary) })))";

/// axe-core's script, where it is.
fn axe() -> anyhow::Result<Option<String>> {
    match std::env::var_os("POTLUCK_AXE") {
        Some(path) => {
            let path = Path::new(&path);
            Ok(Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?))
        }
        None if std::env::var_os("POTLUCK_REQUIRE_AXE").is_some() => {
            bail!("axe-core is required; run `cargo xtask setup`, or name it in POTLUCK_AXE")
        }
        None => {
            eprintln!(
                "SKIPPED: no axe-core; `cargo xtask test` brings it, or name it in POTLUCK_AXE"
            );
            Ok(None)
        }
    }
}

/// More than have their names in the drawing, with a layer that nobody holds.
fn twenty() -> SwarmView {
    let node = |byte: u8| {
        let id = NodeId([byte; 32]);
        let first = u32::from(byte) % 3;
        NodeView {
            id,
            name: id.name(),
            called: (byte == 7).then(|| "مريم".to_owned()),
            kind: if byte.is_multiple_of(4) { NodeKind::Native } else { NodeKind::Browser },
            backend: "webgpu".to_owned(),
            model: Some("potluck-tiny".to_owned()),
            layers: InclusiveLayers::try_from([first, first + u32::from(byte) % 2 + 1]).ok(),
            state: NodeState::Serving,
            tokens: 1_234 * u64::from(byte),
            ms_per_token_p50: Some(1.5),
            memory_bytes: 1 << 30,
            sessions: 1,
            connected_at_s: 1_700_000_000,
        }
    };
    let nodes: Vec<NodeView> = (1..=20).map(node).collect();
    let totals = SwarmTotals {
        nodes: 20,
        browsers: 15,
        natives: 5,
        serving: 20,
        memory_bytes: 20 << 30,
        ..SwarmTotals::default()
    };
    let copies = vec![6, 20, 20, 10, 3, 0];
    let models = vec![ModelCopies { name: "potluck-tiny".to_owned(), layers: 6, copies }];
    SwarmView { nodes, models, connected: 25, sessions: 4, waiting: 1, totals }
}

/// More than are listed.
fn crowd() -> SwarmView {
    let copies = vec![260, 260, 251, 251, 0, 240];
    let totals = SwarmTotals {
        nodes: 1_204,
        browsers: 1_100,
        natives: 104,
        serving: 1_180,
        fetching: 20,
        waiting: 4,
        memory_bytes: 1_300_000_000_000,
        rows: 9_123_456,
        rows_per_s: 3_456.7,
    };
    let models = vec![ModelCopies { name: "potluck-tiny".to_owned(), layers: 6, copies }];
    SwarmView {
        models,
        connected: 1_350,
        sessions: 212,
        waiting: 3,
        totals,
        ..SwarmView::default()
    }
}

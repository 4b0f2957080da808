//! The widget on somebody's site, as owner and visitor have to do with it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use potluck_protocol::id::SiteKey;
use potluck_protocol::identity::Identity;
use potluck_protocol::site::{OwnedSite, SignedTask, SiteView, Task, TaskAnswer, TaskText};
use serde_json::Value;

use crate::browser::{Browser, Graphics, Kind};
use crate::host::Host;
use crate::swarm::Swarm;
use crate::wait::until;

/// What a server needs to be told for sites on this machine.
pub const PRIVATE_SITES: &str = "--allow-private-sites";

/// An owner of sites.
#[derive(Debug)]
pub struct Owner {
    identity: Identity,
    server: String,
}

impl Owner {
    /// One with a key of its own, at this server.
    #[must_use]
    pub fn new(server: &str, number: u8) -> Self {
        Self { identity: Identity::from_seed(&[number; 32]), server: server.to_owned() }
    }

    /// Has the server do something.
    ///
    /// # Errors
    /// What the server says against it.
    pub async fn perform(&self, task: Task) -> anyhow::Result<TaskAnswer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let nonce = format!("{}", now.as_nanos());
        let text =
            TaskText { to: self.server.clone(), at_s: now.as_secs(), nonce, task, account: None };
        let task = SignedTask::new(&self.identity, serde_json::to_string(&text)?);
        let url = format!("{}/api/v1/sites/tasks", self.server);
        let answer = reqwest::Client::new().post(&url).json(&task).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{url} answered {text:?}"))
    }

    /// Registers a site and proves it by its file.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn register(&self, host: &Host, name: &str) -> anyhow::Result<SiteKey> {
        self.register_at(host, host.origin(), name).await
    }

    /// The same at this one of the site's origins.
    ///
    /// # Errors
    /// If the server does not take it.
    pub async fn register_at(
        &self,
        host: &Host,
        origin: String,
        name: &str,
    ) -> anyhow::Result<SiteKey> {
        let origins = vec![origin];
        let answer = self.perform(Task::Register { name: name.to_owned(), origins }).await?;
        // Those of one second are listed in the order of their keys.
        let registered = answer.sites.iter().find(|site| site.name == name);
        let site = registered.context("a site that was registered is listed")?.key;
        host.prove(&site.to_string());
        let answer = self.perform(Task::Check { site }).await?;
        ensure!(answer.faults.is_empty(), "{:?}", answer.faults);
        Ok(site)
    }

    /// The site as its owner sees it.
    ///
    /// # Errors
    /// If there is none.
    pub async fn site(&self, key: SiteKey) -> anyhow::Result<OwnedSite> {
        let answer = self.perform(Task::List).await?;
        answer.sites.into_iter().find(|site| site.key == key).context("no such site")
    }
}

/// A swarm, and a site in whose page the widget is.
#[derive(Debug)]
pub struct Scene {
    /// The swarm, with no browser yet.
    pub swarm: Swarm,
    /// The site.
    pub host: Host,
    /// Whose it is.
    pub owner: Owner,
    /// Its key.
    pub site: SiteKey,
}

impl Scene {
    /// Starts a server and a site of its own origin, which shows a widget with these further
    /// attributes. `name` is the folder of the logs.
    ///
    /// # Errors
    /// As [`Swarm::start_with_page_and`], or if the server does not take the site.
    pub async fn start(name: &str, attributes: &str) -> anyhow::Result<Self> {
        let swarm = Swarm::start_with_page_and(name, &[PRIVATE_SITES]).await?;
        let server = swarm.url();
        let host = Host::start(&server).await?;
        let owner = Owner::new(&server, 1);
        let site = owner.register(&host, "Rosa's recipes").await?;
        host.show(&snippet(&server, site, attributes));
        Ok(Self { swarm, host, owner, site })
    }

    /// Somebody comes to the site, and the widget asks them; the browser is in its frame.
    ///
    /// # Errors
    /// If there is no browser, or the widget does not ask.
    pub async fn visitor(&mut self, kind: Kind) -> anyhow::Result<&Browser> {
        let browser = self.swarm.add_browser_as(Graphics::Machine, kind).await?;
        browser.show_size(720, 640, false).await?;
        come(browser, &self.host.origin()).await?;
        wait_until_free(browser, true).await?;
        Ok(browser)
    }
}

/// Opens a page with a widget, which asks, and goes into its frame.
///
/// # Errors
/// If it does not ask.
pub async fn come(browser: &Browser, page: &str) -> anyhow::Result<()> {
    browser.leave_frames().await?;
    browser.open(page).await?;
    // Whoever enters a frame before its document is there may stay with the empty one that it replaces.
    until("the widget's document", async || {
        enter(browser, 0).await?;
        let state = state(browser).await?;
        Ok(if state == NOT_THERE { Err(state) } else { Ok(()) })
    })
    .await?;
    wait_for(browser, "asking").await
}

/// The state of a frame without the widget's document.
const NOT_THERE: &str = "not there";

/// What everybody is told of sites.
///
/// # Errors
/// If the server does not answer or not with that.
pub async fn sites(server: &str) -> anyhow::Result<Vec<SiteView>> {
    let url = format!("{server}/api/v1/sites");
    let text = reqwest::get(&url).await?.text().await?;
    serde_json::from_str(&text).with_context(|| format!("{url} answered {text:?}"))
}

/// The line that a site's owner copies, and a widget with these further attributes.
#[must_use]
pub fn snippet(server: &str, site: SiteKey, attributes: &str) -> String {
    format!(
        "<script type=\"module\" src=\"{server}/embed.js\" data-site=\"{site}\" {attributes}></script>"
    )
}

/// The frame of the widget, from the first on.
const FRAMES: &str = "potluck-widget iframe";

/// Goes into the frame of the widget with this number, from 0.
///
/// # Errors
/// If there is none.
pub async fn enter(browser: &Browser, number: usize) -> anyhow::Result<()> {
    browser.leave_frames().await?;
    browser.enter_frame(FRAMES, number).await
}

/// What state the widget is in whose frame the browser is in: `asking`, `lending`, …
///
/// # Errors
/// If the browser is gone.
pub async fn state(browser: &Browser) -> anyhow::Result<String> {
    let script = "const main = document.querySelector('#widget'); \
                  return !main ? arguments[0] : main.hidden ? 'hidden' \
                  : (main.querySelector('[data-state]') || main).dataset.state";
    let state = browser.read(script, &[NOT_THERE.into()]).await?;
    Ok(state.as_str().unwrap_or_default().to_owned())
}

/// Waits until it is in this state.
///
/// # Errors
/// If that does not come about.
pub async fn wait_for(browser: &Browser, wanted: &str) -> anyhow::Result<()> {
    until(&format!("the widget to be {wanted}"), async || {
        let (state, text) = (state(browser).await?, text(browser).await?);
        Ok(if state == wanted { Ok(()) } else { Err((state, text)) })
    })
    .await
}

/// All that the widget says.
///
/// # Errors
/// If the browser is gone.
pub async fn text(browser: &Browser) -> anyhow::Result<String> {
    let text = browser.read("return document.body.innerText", &[]).await?;
    Ok(text.as_str().unwrap_or_default().to_owned())
}

/// Waits until its two buttons take an answer, or do not.
///
/// # Errors
/// If that does not come about.
pub async fn wait_until_free(browser: &Browser, free: bool) -> anyhow::Result<()> {
    let script = "return ['yes', 'no'].map((id) => document.getElementById(id)?.disabled)";
    until(if free { "the buttons to be on" } else { "the buttons to be off" }, async || {
        let disabled = browser.read(script, &[]).await?;
        let wanted = Value::from(vec![!free, !free]);
        Ok(if disabled == wanted { Ok(()) } else { Err(disabled) })
    })
    .await
}

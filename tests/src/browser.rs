//! A headless Chromium, driven through chromedriver by the page's `data-testid` hooks, as a person
//! would click.
//!
//! One driver and one fresh profile each, so that several browsers are several strangers. Nothing
//! is injected into the page but what stands in for senses that a browser cannot be told to have:
//! scripts are run only to read it.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context as _, bail};
use fantoccini::{Client, ClientBuilder, Locator, elements::Element};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use xtask::programs::chromium;

use crate::devtools::DevTools;
use crate::process::{Output, Process};
use crate::wait::until;

/// What every browser is started with: no window, no network of its own, no sleeping in the
/// background, peers on this machine.
const FLAGS: [&str; 15] = [
    "--headless=new",
    "--enable-unsafe-webgpu",
    "--enable-features=Vulkan",
    "--disable-gpu-watchdog",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    // Without a camera permission Chromium hides local addresses behind names that only multicast
    // DNS resolves; native peers have none.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--allow-loopback-in-peer-connection",
];

/// Where a browser's window is when it is not minimised: left, top, width and height, CSS pixels.
const SHOWN_WINDOW: (u32, u32, u32, u32) = (0, 0, 1280, 900);

/// Which graphics adapter the browser shows to pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graphics {
    /// Whatever the machine has.
    Machine,
    /// SwiftShader, a GPU in software: the same on every machine.
    Software,
}

/// What kind of browser it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As people have it.
    Usual,
    /// Pages can keep nothing in it.
    KeepsNothing,
    /// It says that it is a phone's.
    Phone,
}

/// What a phone's browser calls itself.
const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/156.0.0.0 Mobile Safari/537.36";

/// A light or a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// As in daylight.
    Light,
    /// As at night.
    Dark,
}

/// A running browser.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    // Held for its end: dropping it ends driver and browser.
    _driver: Process,
}

/// True if browsers can be driven here. Where `POTLUCK_REQUIRE_BROWSER` is set, tests that need one
/// must not skip.
///
/// # Errors
/// If there is none although one is required.
pub fn is_available() -> anyhow::Result<bool> {
    let found = chromium().is_some();
    if !found && std::env::var_os("POTLUCK_REQUIRE_BROWSER").is_some() {
        bail!(
            "there is no Chromium with chromedriver, and POTLUCK_REQUIRE_BROWSER is set; run `cargo xtask setup`"
        );
    }
    Ok(found)
}

impl Browser {
    /// Starts one with a fresh profile in `profile`.
    ///
    /// # Errors
    /// If there is no Chromium with chromedriver, or it does not start.
    pub async fn start(profile: &Path, log: &Path, graphics: Graphics) -> anyhow::Result<Self> {
        Self::start_as(profile, log, graphics, Kind::Usual).await
    }

    /// The same of another kind.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub async fn start_as(
        profile: &Path,
        log: &Path,
        graphics: Graphics,
        kind: Kind,
    ) -> anyhow::Result<Self> {
        let programs = chromium()
            .context("there is no Chromium with chromedriver; run `cargo xtask setup`")?;
        let port = free_port()?;
        let port_flag = format!("--port={port}");
        let mut driver = Process::start(&programs.driver, &[port_flag.as_ref()], Output::Log(log))?;
        let mut flags: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        flags.push(format!("--user-data-dir={}", profile.display()));
        if graphics == Graphics::Software {
            flags.push("--use-webgpu-adapter=swiftshader".to_owned());
        }
        if needs_no_sandbox() {
            flags.push("--no-sandbox".to_owned());
        }
        if kind == Kind::Phone {
            flags.push(format!("--user-agent={PHONE}"));
        }
        // 2 is "block", for everything that a page could keep.
        let keeping = if kind == Kind::KeepsNothing { 2 } else { 1 };
        let preferences = json!({ "profile.default_content_setting_values.cookies": keeping });
        let mut capabilities = Map::new();
        capabilities.insert(
            "goog:chromeOptions".to_owned(),
            json!({ "binary": programs.browser, "args": flags, "prefs": preferences }),
        );
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let address = format!("http://127.0.0.1:{port}");
        until("chromedriver to listen", async || {
            let listens = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            if !listens && !driver.is_running() {
                bail!("chromedriver ended; see {}", log.display());
            }
            Ok(if listens { Ok(()) } else { Err(()) })
        })
        .await?;
        let client = builder
            .connect(&address)
            .await
            .with_context(|| format!("no browser; see {}", log.display()))?;
        let this = Self { client, _driver: driver };
        this.emulate_pressure().await?;
        Ok(this)
    }

    /// Opens an address in the current tab and waits until it has loaded.
    ///
    /// # Errors
    /// If the browser is gone or the address does not answer.
    pub async fn open(&self, url: &str) -> anyhow::Result<()> {
        Ok(self.client.goto(url).await?)
    }

    /// Opens another tab of the same browser, in a window of its own, and goes there: the tab before
    /// stays in sight.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn open_tab(&self) -> anyhow::Result<()> {
        let tab = self.client.new_window(false).await?;
        self.client.switch_to_window(tab.handle).await?;
        self.emulate_pressure().await
    }

    /// Waits for the element with this hook and clicks it.
    ///
    /// # Errors
    /// If it does not appear or cannot be clicked.
    pub async fn click(&self, hook: &str) -> anyhow::Result<()> {
        // The page redraws while it works, so an element just found may be an old one, or covered
        // for a moment: look again.
        until(&format!("{hook} to be clicked"), async || {
            Ok(match self.find(hook).await {
                Ok(element) => element.click().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            })
        })
        .await
    }

    /// The same with a selector of CSS, for documents that have no hooks.
    ///
    /// # Errors
    /// If it does not appear or cannot be clicked.
    pub async fn click_css(&self, selector: &str) -> anyhow::Result<()> {
        until(&format!("{selector} to be clicked"), async || {
            Ok(match self.client.find(Locator::Css(selector)).await {
                Ok(element) => element.click().await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            })
        })
        .await
    }

    /// Presses keys, as on a keyboard, where the focus is.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn type_keys(&self, keys: &str) -> anyhow::Result<()> {
        Ok(self.client.active_element().await?.send_keys(keys).await?)
    }

    /// Goes into the frame with this number, from 0, among those that the selector finds; what is
    /// read and clicked from then on is in there.
    ///
    /// # Errors
    /// If there is no such frame.
    pub async fn enter_frame(&self, selector: &str, number: usize) -> anyhow::Result<()> {
        let frame = until(&format!("frame {number} of {selector}"), async || {
            let mut frames = self.client.find_all(Locator::Css(selector)).await?;
            let count = frames.len();
            Ok(if number < count { Ok(frames.swap_remove(number)) } else { Err(count) })
        })
        .await?;
        frame.enter_frame().await?;
        Ok(())
    }

    /// Goes back from such a frame to the tab's own document, if it is in one.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn leave_frames(&self) -> anyhow::Result<()> {
        Ok(self.client.enter_parent_frame().await?)
    }

    /// Types into the element with this hook, in place of what was there.
    ///
    /// # Errors
    /// If it does not appear or takes no text.
    pub async fn write(&self, hook: &str, text: &str) -> anyhow::Result<()> {
        until(&format!("{hook} to be written to"), async || {
            let Ok(element) = self.find(hook).await else { return Ok(Err("not there".to_owned())) };
            let written = match element.clear().await {
                Ok(()) => element.send_keys(text).await,
                Err(error) => Err(error),
            };
            Ok(written.map_err(|error| error.to_string()))
        })
        .await
    }

    /// Chooses a file of this machine in the field with this hook.
    ///
    /// # Errors
    /// If the field does not appear or takes no file.
    pub async fn choose(&self, hook: &str, file: &Path) -> anyhow::Result<()> {
        let path = file.to_string_lossy();
        until(&format!("{hook} to take a file"), async || {
            let Ok(element) = self.find(hook).await else { return Ok(Err("not there".to_owned())) };
            Ok(element.send_keys(&path).await.map_err(|error| error.to_string()))
        })
        .await
    }

    /// The text of the element with this hook as it stands in the document, or `None` if there is
    /// no such element.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn text(&self, hook: &str) -> anyhow::Result<Option<String>> {
        let script = "const e = document.querySelector(`[data-testid=\"${arguments[0]}\"]`); return e && e.textContent;";
        Ok(self.read(script, &[json!(hook)]).await?.as_str().map(str::to_owned))
    }

    /// Waits until the text of the element with this hook is as wanted, and returns it.
    ///
    /// # Errors
    /// If that does not come about.
    pub async fn wait_for_text(
        &self,
        hook: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<String> {
        until(&format!("the right text in {hook}"), async || {
            let text = self.text(hook).await?;
            Ok(match text {
                Some(text) if wanted(&text) => Ok(text),
                other => Err(other),
            })
        })
        .await
    }

    /// Runs a script that reads something off the page.
    ///
    /// # Errors
    /// If the script throws or the browser is gone.
    pub async fn read(&self, script: &str, arguments: &[Value]) -> anyhow::Result<Value> {
        Ok(self.client.execute(script, arguments.to_vec()).await?)
    }

    /// Shows pages as by day or by night.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn show_scheme(&self, scheme: Scheme) -> anyhow::Result<()> {
        let value = if scheme == Scheme::Dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.send_command("Emulation.setEmulatedMedia", features).await
    }

    /// Shows pages as in a window of this size, CSS pixels; `phone` also has touch and a phone's
    /// viewport rules.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn show_size(&self, width: u32, height: u32, phone: bool) -> anyhow::Result<()> {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": phone });
        self.send_command("Emulation.setDeviceMetricsOverride", metrics).await
    }

    /// Hides the page, by minimising the browser's window, or shows it again.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn hide(&self, hidden: bool) -> anyhow::Result<()> {
        if hidden {
            return Ok(self.client.minimize_window().await?);
        }
        let (x, y, width, height) = SHOWN_WINDOW;
        Ok(self.client.set_window_rect(x, y, width, height).await?)
    }

    /// Has the pages of the current tab be told what [`Browser::press`] says, and nothing before that,
    /// instead of how much the machine has to do: it runs tests, and a page would keep itself back.
    async fn emulate_pressure(&self) -> anyhow::Result<()> {
        let source = json!({ "source": "cpu", "enabled": true, "metadata": { "available": true } });
        self.send_command("Emulation.setPressureSourceOverrideEnabled", source).await
    }

    /// Tells the pages of the current tab how much the machine has to do: `nominal`, `fair`, `serious` or `critical`.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn press(&self, state: &str) -> anyhow::Result<()> {
        let state = json!({ "source": "cpu", "state": state });
        self.send_command("Emulation.setPressureStateOverride", state).await
    }

    /// Has the browser save data, or not. Pages that are open are not told.
    ///
    /// # Errors
    /// If the browser is gone, or knows no such thing.
    pub async fn save_data(&self, saves: bool) -> anyhow::Result<()> {
        let saves = json!({ "dataSaverEnabled": saves });
        self.send_command("Emulation.setDataSaverOverride", saves).await
    }

    /// Has the browser say, to pages that are opened from now on, that it is a phone's, or not.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn be_phone(&self, mobile: bool) -> anyhow::Result<()> {
        let metadata = json!({
            "brands": [], "platform": "Android", "platformVersion": "", "architecture": "",
            "model": "", "mobile": mobile,
        });
        let parameters = json!({ "userAgent": "a test", "userAgentMetadata": metadata });
        self.send_command("Emulation.setUserAgentOverride", parameters).await
    }

    /// Runs a script in every page that is opened from now on, before anything of the page: it stands
    /// in for what this browser cannot be told to report.
    ///
    /// # Errors
    /// If the browser is gone.
    pub async fn stand_in(&self, script: &str) -> anyhow::Result<()> {
        let parameters = json!({ "source": script });
        self.send_command("Page.addScriptToEvaluateOnNewDocument", parameters).await
    }

    /// Writes a picture of the page as it is shown to a PNG file.
    ///
    /// # Errors
    /// If the browser is gone or the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> anyhow::Result<()> {
        let png = self.client.screenshot().await?;
        std::fs::write(file, png).with_context(|| format!("{} cannot be written", file.display()))
    }

    async fn find(&self, hook: &str) -> anyhow::Result<Element> {
        Ok(self.client.find(Locator::Css(&format!("[data-testid=\"{hook}\"]"))).await?)
    }

    pub(crate) async fn send_command(
        &self,
        method: &'static str,
        parameters: Value,
    ) -> anyhow::Result<()> {
        self.client.issue_cmd(DevTools { method, parameters }).await?;
        Ok(())
    }
}

/// A port that is free now: not every chromedriver can choose one itself and report it. Another
/// program might open this one first; then chromedriver ends with an error.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Chromium's sandbox refuses to run as root, and has no namespaces in most CI containers.
fn needs_no_sandbox() -> bool {
    rustix::process::geteuid().is_root() || std::env::var_os("CI").is_some()
}

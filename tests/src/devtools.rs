//! A command of the Chrome `DevTools` Protocol, sent through chromedriver, for what `WebDriver` has
//! no word for.
//!
//! Source: <https://chromedevtools.github.io/devtools-protocol/>

use fantoccini::wd::WebDriverCompatibleCommand;
use reqwest::{Method, Url};
use serde_json::{Value, json};

/// One command; its answer is not looked at.
#[derive(Debug)]
pub(crate) struct DevTools {
    /// Such as `Emulation.setEmulatedMedia`.
    pub(crate) method: &'static str,
    /// As the protocol describes them.
    pub(crate) parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &Url,
        session: Option<&str>,
    ) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.method, "params": self.parameters }).to_string()))
    }
}

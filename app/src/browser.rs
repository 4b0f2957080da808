//! What the page asks of the browser besides drawing: its address, chance, what the tab keeps, and
//! the icon in the tab.

use gloo::utils::{document, window};
use js_sys::{JSON, Math};

use potluck_protocol::id::SiteKey;
use web_sys::Url;

use crate::state::Opened;
use crate::state::asking::Kept;
use crate::state::options::Options;

/// Where this page is and how it came here.
#[must_use]
pub fn opened() -> Opened {
    Opened {
        server: server(),
        build: named("build"),
        is_secure: window().is_secure_context(),
        site: site(),
        chose_phone: document().query_selector("[data-phone]").is_ok_and(|one| one.is_some()),
    }
}

/// The site in whose page this document is the widget's, as its address says.
fn site() -> Option<SiteKey> {
    document().get_element_by_id("widget")?;
    let query = window().location().search().ok()?;
    query
        .trim_start_matches('?')
        .split('&')
        .find_map(|pair| pair.strip_prefix("site=")?.parse().ok())
}

/// Address of the folder that this page lies in, without a slash at its end; empty for a page that
/// has no server.
#[must_use]
pub fn server() -> String {
    let base = document().base_uri().ok().flatten().unwrap_or_default();
    let folder = Url::new_with_base(".", &base).map(|url| url.href()).unwrap_or_default();
    folder.trim_end_matches('/').to_owned()
}

/// What the page's builder wrote into its `<meta name="…">`, if it did.
#[must_use]
pub fn named(name: &str) -> Option<String> {
    let element = document().query_selector(&format!("meta[name='{name}']")).ok()??;
    element.get_attribute("content").filter(|content| !content.is_empty())
}

/// Loads the page anew.
pub fn reload() {
    // A browser that does not reload its pages leaves the button.
    let _unchanged = window().location().reload();
}

/// `host:port`, as a person would say who keeps the table.
#[must_use]
pub fn host() -> String {
    window().location().host().unwrap_or_default()
}

/// What the address preselects.
#[must_use]
pub fn options() -> Options {
    Options::from_query(&window().location().search().unwrap_or_default())
}

/// Where a tab keeps an answer that is not whole yet. It goes with the tab, and no other tab sees
/// it.
const KEPT: &str = "potluck-answer";

/// An answer that a reload of this tab broke off. What cannot be read counts as none.
#[must_use]
pub fn kept() -> Option<Kept> {
    let text = window().session_storage().ok()??.get_item(KEPT).ok()??;
    serde_wasm_bindgen::from_value(JSON::parse(&text).ok()?).ok()
}

/// Keeps it, or nothing any more. Where the browser keeps nothing, a reload loses the answer.
pub fn keep(kept: Option<&Kept>) {
    let Ok(Some(storage)) = window().session_storage() else { return };
    let text =
        kept.and_then(|kept| JSON::stringify(&serde_wasm_bindgen::to_value(kept).ok()?).ok());
    let _unchanged = match text.and_then(|text| text.as_string()) {
        Some(text) => storage.set_item(KEPT, &text),
        None => storage.remove_item(KEPT),
    };
}

/// A seed nobody chose. Short, so that it can be read out; it makes an answer repeatable and guards
/// nothing.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the product is from 0 to 10^9"
)]
pub fn random_seed() -> u64 {
    (Math::random() * 1e9) as u64
}

/// Shows `svg` as the tab's icon.
pub fn set_icon(svg: &str) {
    let Ok(Some(link)) = document().query_selector("link[rel='icon']") else { return };
    let address = format!("data:image/svg+xml,{}", String::from(js_sys::encode_uri_component(svg)));
    // An icon that cannot be changed stays as it is; nothing depends on it.
    let _unchanged = link.set_attribute("href", &address);
}

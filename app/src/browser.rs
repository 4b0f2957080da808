//! What the page asks of the browser besides drawing: its address, chance, what the tab keeps, and
//! the icon in the tab.

use gloo::events::EventListener;
use gloo::utils::{document, window};
use js_sys::{Date, JSON, Math};

use potluck_protocol::grant::Limits;
use potluck_protocol::id::{SiteKey, TeamId};
use potluck_protocol::invitation::{Invitation, ROOM_FRAGMENT};
use potluck_protocol::room::{ModelTag, ParseRoomError, RoomSecret};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{HtmlElement, ServiceWorkerContainer, SvgElement, Url};

use crate::state::Opened;
use crate::state::asking::Kept;
use crate::state::options::Options;
use crate::words::Language;

/// Where this page is and how it came here.
#[must_use]
pub fn opened() -> Opened {
    let room = invitation();
    Opened {
        server: server(),
        build: named("build"),
        is_secure: window().is_secure_context(),
        site: site(),
        chose_phone: document().query_selector("[data-phone]").is_ok_and(|one| one.is_some()),
        is_room_unreadable: matches!(room, Some(Err(_))),
        room: room.and_then(Result::ok),
        team: team(),
    }
}

/// What the address invites to, in its fragment, which browsers send to no server.
fn invitation() -> Option<Result<Invitation, ParseRoomError>> {
    let fragment = window().location().hash().ok()?;
    let invitation = || fragment.parse().map(with_kept_pass);
    fragment.contains(ROOM_FRAGMENT).then(invitation)
}

/// Where this browser keeps its passes to rooms with a list, one each.
const PASS: &str = "potluck-room-";

/// The same with the pass that was kept here, where the address has none.
fn with_kept_pass(room: Invitation) -> Invitation {
    if room.keeper.is_none() || room.ticket.is_some() {
        return room;
    }
    let kept =
        || window().local_storage().ok()??.get_item(&format!("{PASS}{}", room.room())).ok()?;
    let kept = kept().and_then(|kept| kept.parse::<Invitation>().ok());
    kept.filter(|kept| kept.with(None) == room).unwrap_or(room)
}

/// Loads the page anew in this room, and keeps the pass, if there is one, so that the room's link alone
/// brings this browser back. The address has it as well, for a browser that keeps nothing.
pub fn enter_room(room: &Invitation) {
    if let (Ok(Some(storage)), Some(_)) = (window().local_storage(), room.ticket) {
        let _unkept = storage.set_item(&format!("{PASS}{}", room.room()), &room.to_string());
    }
    open_at(&format!("#{ROOM_FRAGMENT}{room}"));
}

/// The team that the address invites to.
fn team() -> Option<TeamId> {
    TeamId::invited(&window().location().hash().ok()?)
}

/// The room that this page is in.
#[must_use]
pub fn room() -> Option<Invitation> {
    invitation().and_then(Result::ok)
}

/// Loads the page anew in a room of its own. A browser without randomness has none.
pub fn make_room(model: Option<ModelTag>) {
    if let Some(secret) = random() {
        enter_room(&Invitation::from(RoomSecret(secret)).computing(model));
    }
}

/// Random bytes that guard something; none in a browser without randomness.
#[must_use]
pub fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let crypto = window().crypto().ok()?;
    crypto.get_random_values_with_u8_array(&mut bytes).ok().map(|_| bytes)
}

/// Loads the page anew in the public swarm.
pub fn leave_room() {
    open_at("");
}

/// Loads the page anew with another fragment; a browser that is only told another fragment loads
/// nothing.
fn open_at(fragment: &str) {
    let location = window().location();
    if location.set_hash(fragment).is_ok() {
        reload();
    }
}

/// Loads the page anew when its address invites to another room or team than the one that it is in: a link
/// that is pasted into the tab only changes the fragment.
pub fn follow_invitations() -> EventListener {
    let present = (room(), team());
    EventListener::new(&window(), "hashchange", move |_| {
        if (room(), team()) != present {
            reload();
        }
    })
}

/// Puts a text where it can be pasted from. Only pages that came over HTTPS, or from this machine,
/// are asked to.
pub fn copy(text: &str) {
    let copying = JsFuture::from(window().navigator().clipboard().write_text(text));
    spawn_local(async move {
        // Who may not copy still has the text before their eyes.
        let _refused = copying.await;
    });
}

/// A text in Unicode's normal form C.
#[must_use]
pub fn normal(text: &str) -> String {
    String::from(js_sys::JsString::from(text).normalize("NFC"))
}

/// Has the browser save a text as a file.
pub fn save(name: &str, text: &str) {
    let link = document().create_element("a").ok();
    let Some(link) = link.and_then(|link| link.dyn_into::<HtmlElement>().ok()) else { return };
    let encoded = String::from(js_sys::encode_uri_component(text));
    // Setting attributes of an element made here cannot fail.
    let _set = link.set_attribute("download", name);
    let _set = link.set_attribute("href", &format!("data:application/json,{encoded}"));
    link.click();
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

/// Has the browser keep the one page that it shows where there is no connection; after a click, as
/// everything that stays. A browser that keeps nothing shows a page of its own.
pub fn keep_offline_page() {
    const WORKER: &str = "./offline.js";
    let navigator = window().navigator();
    let workers = js_sys::Reflect::get(&navigator, &"serviceWorker".into()).ok();
    if let Some(workers) = workers.and_then(|one| one.dyn_into::<ServiceWorkerContainer>().ok()) {
        spawn_local(async move {
            let _refused = JsFuture::from(workers.register(WORKER)).await;
        });
    }
}

/// Moves the focus to an element of the page.
pub fn focus(id: &str) {
    let element = document().get_element_by_id(id);
    if let Some(element) = element.and_then(|one| one.dyn_into::<HtmlElement>().ok()) {
        let _unchanged = element.focus();
    }
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

/// What the address preselects, over what was lent at an earlier visit.
#[must_use]
pub fn options() -> Options {
    let lent = limits_lent_before().map(|limits| Options::lent_before(&limits));
    lent.unwrap_or_default().with_query(&window().location().search().unwrap_or_default())
}

/// Where this browser keeps the limits that somebody agreed to last. Nothing is kept before that.
const LENT: &str = "potluck-lent";

/// The limits of an earlier visit's grant, to start from. What cannot be read counts as none.
fn limits_lent_before() -> Option<Limits> {
    let text = window().local_storage().ok()??.get_item(LENT).ok()??;
    serde_wasm_bindgen::from_value(JSON::parse(&text).ok()?).ok()
}

/// Keeps limits that were agreed to for the next visit. Where the browser keeps nothing, that begins
/// with the page's own.
pub fn keep_limits(limits: &Limits) {
    let Ok(Some(storage)) = window().local_storage() else { return };
    let value = serde_wasm_bindgen::to_value(limits).ok();
    let text = value.and_then(|value| JSON::stringify(&value).ok()).and_then(|it| it.as_string());
    if let Some(text) = text {
        let _unchanged = storage.set_item(LENT, &text);
    }
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

/// Where a browser keeps the language that its person chose.
const LANGUAGE: &str = "potluck-language";

/// The language that was chosen here, or else the first of the browser's that the page speaks.
#[must_use]
pub fn language() -> Language {
    let chosen = || window().local_storage().ok()??.get_item(LANGUAGE).ok()?;
    let chosen = chosen().and_then(|tag| Language::of(&tag));
    chosen.unwrap_or_else(|| {
        let tags = window().navigator().languages();
        Language::preferred(tags.iter().filter_map(|tag| tag.as_string()))
    })
}

/// The language that this document is in already.
#[must_use]
pub fn document_language() -> Language {
    let root = document().document_element();
    let tag = root.and_then(|root| root.get_attribute("lang")).unwrap_or_default();
    Language::of(&tag).unwrap_or_default()
}

/// Keeps the choice. Where the browser keeps nothing, it holds until the page is closed.
pub fn keep_language(language: Language) {
    let keep = || window().local_storage().ok()??.set_item(LANGUAGE, language.tag()).ok();
    let _unkept = keep();
}

/// The file with a language's words: its name with a hash, if the page's builder says so.
#[must_use]
pub fn words_file(language: Language) -> String {
    let name = language.tag().split('-').next().unwrap_or_default();
    named(&format!("words-{name}")).unwrap_or_else(|| format!("./{name}.ftl"))
}

/// Has the document say which language it is in, for screen readers, fonts and hyphenation.
pub fn show_language(language: Language, title: &str) {
    document().set_title(title);
    if let Some(root) = document().document_element() {
        let _unchanged = root.set_attribute("lang", language.tag());
        let _unchanged = root.set_attribute("dir", language.direction());
    }
}

/// What the person's clock shows: seconds from 1970-01-01 00:00 as it reads there.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a clock's seconds are far below 2^53")]
pub fn local_time_s() -> i64 {
    let now = Date::new_0();
    (now.get_time() / 1000.0 - now.get_timezone_offset() * 60.0) as i64
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

/// Sets one property of an element's style.
pub fn set_style(element: Option<SvgElement>, property: &str, value: &str) {
    if let Some(element) = element {
        // What a browser does not know it does not show: nothing but motion depends on it.
        let _unchanged = element.style().set_property(property, value);
    }
}

/// Shows `svg` as the tab's icon.
pub fn set_icon(svg: &str) {
    let Ok(Some(link)) = document().query_selector("link[rel='icon']") else { return };
    let address = format!("data:image/svg+xml,{}", String::from(js_sys::encode_uri_component(svg)));
    // An icon that cannot be changed stays as it is; nothing depends on it.
    let _unchanged = link.set_attribute("href", &address);
}

//! What the page asks of the browser besides drawing: its address, chance, the lock between tabs,
//! and the icon in the tab.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::utils::{document, window};
use js_sys::{Function, JSON, Math, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::Callback;

use crate::state::asking::Kept;
use crate::state::options::Options;

/// Name of the lock that one tab of a browser holds while it lends.
const LOCK_NAME: &str = "potluck-lending";

/// `https://host:port` of the server that served this page; empty for a page that has no server.
#[must_use]
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
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

/// Lets one tab of this browser lend at a time.
#[derive(Clone, Debug, Default)]
pub struct LendingLock {
    /// Gives the lock back when called.
    release: Rc<RefCell<Option<Function>>>,
    /// Settles when the browser has taken the last lock back: asking before that would meet
    /// ourselves.
    released: Rc<RefCell<Option<Promise>>>,
}

impl LendingLock {
    /// Asks for the lock; `answer` says whether this tab has it. Where the browser offers no locks
    /// (a page without HTTPS), it does.
    pub fn take(&self, answer: Callback<bool>) {
        let this = self.clone();
        spawn_local(async move {
            let earlier = this.released.borrow_mut().take();
            if let Some(earlier) = earlier {
                // Settled either way, the earlier lock is gone.
                let _settled = JsFuture::from(earlier).await;
            }
            match this.request(&answer) {
                Some(released) => *this.released.borrow_mut() = Some(released),
                None => answer.emit(true),
            }
        });
    }

    /// Gives the lock back, if it is held.
    pub fn release(&self) {
        let release = self.release.borrow_mut().take();
        if let Some(release) = release {
            // Resolving a promise does not throw.
            let _resolved = release.call0(&JsValue::NULL);
        }
    }

    /// `None` if there is no lock manager. `web-sys` has it behind an unstable flag only, hence by
    /// name.
    fn request(&self, answer: &Callback<bool>) -> Option<Promise> {
        let locks = Reflect::get(&window().navigator(), &"locks".into()).ok()?;
        let request: Function = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
        let options = Object::new();
        Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?;
        let (release, answer) = (self.release.clone(), answer.clone());
        let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
            if lock.is_null() {
                answer.emit(false);
                return JsValue::UNDEFINED;
            }
            // The lock is held until this promise is resolved or the tab is gone.
            let held = Promise::new(&mut |resolve, _| *release.borrow_mut() = Some(resolve));
            answer.emit(true);
            held.into()
        });
        request.call3(&locks, &LOCK_NAME.into(), &options, &on_lock).ok()?.dyn_into().ok()
    }
}

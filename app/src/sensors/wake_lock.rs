//! Keeps the screen on, and with it the computer awake, while it is lent; only if the person asked for
//! it. The browser lets go of it by itself when the page is hidden.
//!
//! Source: <https://www.w3.org/TR/screen-wake-lock/>

use std::cell::RefCell;
use std::rc::Rc;

use gloo::events::EventListener;
use gloo::utils::document;
use js_sys::Promise;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::VisibilityState;

use super::property::{call, of_navigator};

/// While it is there, the screen stays on as long as the page is to be seen. Where the browser refuses
/// or knows no such thing, the screen goes off as ever.
pub struct WakeLock {
    held: Rc<RefCell<Option<JsValue>>>,
    _listener: EventListener,
}

impl core::fmt::Debug for WakeLock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WakeLock")
    }
}

impl WakeLock {
    /// Asks for it, and again each time when the page is to be seen again.
    #[must_use]
    pub fn hold() -> Self {
        let held = Rc::new(RefCell::new(None));
        request(&held);
        let again = Rc::downgrade(&held);
        let listener = EventListener::new(&document(), "visibilitychange", move |_| {
            if let Some(held) = again.upgrade() {
                request(&held);
            }
        });
        Self { held, _listener: listener }
    }
}

impl Drop for WakeLock {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            call(&held, "release", None);
        }
    }
}

fn request(held: &Rc<RefCell<Option<JsValue>>>) {
    if document().visibility_state() == VisibilityState::Hidden {
        return;
    }
    let asked =
        of_navigator("wakeLock").and_then(|it| call(&it, "request", Some(&"screen".into())));
    let Some(asked) = asked.and_then(|it| it.dyn_into::<Promise>().ok()) else { return };
    let held = Rc::downgrade(held);
    spawn_local(async move {
        let Ok(lock) = JsFuture::from(asked).await else { return };
        match held.upgrade() {
            Some(held) => {
                if let Some(before) = held.replace(Some(lock)) {
                    call(&before, "release", None);
                }
            }
            // Given up while the browser thought about it.
            None => _ = call(&lock, "release", None),
        }
    });
}

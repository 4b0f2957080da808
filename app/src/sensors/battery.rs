//! Whether the machine charges its battery. Only Chromium tells.
//!
//! Source: <https://www.w3.org/TR/battery-status/>

use std::cell::RefCell;
use std::rc::Rc;

use gloo::events::EventListener;
use js_sys::Promise;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::EventTarget;
use yew::Callback;

use super::property::{call, property};
use crate::state::sensing::Sensed;

/// While it is there; the listener comes with the browser's answer.
pub(super) struct Battery {
    _listener: Rc<RefCell<Option<EventListener>>>,
}

impl Battery {
    pub(super) fn start(report: Callback<Sensed>) -> Self {
        let listener = Rc::new(RefCell::new(None));
        let kept = Rc::downgrade(&listener);
        let navigator: JsValue = gloo::utils::window().navigator().into();
        let asked =
            call(&navigator, "getBattery", None).and_then(|it| it.dyn_into::<Promise>().ok());
        if let Some(asked) = asked {
            spawn_local(async move {
                let Ok(battery) = JsFuture::from(asked).await else { return };
                // Turned off while the browser thought about it.
                let Some(kept) = kept.upgrade() else { return };
                let Ok(battery) = battery.dyn_into::<EventTarget>() else { return };
                let watched = battery.clone();
                let tell = move || {
                    let charging = property(&battery, "charging").and_then(|it| it.as_bool());
                    if let Some(charging) = charging {
                        report.emit(Sensed::Charging(charging));
                    }
                };
                tell();
                let heard = EventListener::new(&watched, "chargingchange", move |_| tell());
                *kept.borrow_mut() = Some(heard);
            });
        }
        Self { _listener: listener }
    }
}

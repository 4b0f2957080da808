//! Save-Data, and what kind of connection it is. Only Chromium tells.
//!
//! Source: <https://wicg.github.io/netinfo/>

use gloo::events::EventListener;
use wasm_bindgen::JsCast as _;
use web_sys::EventTarget;
use yew::Callback;

use super::property::{of_navigator, property};
use crate::state::sensing::Sensed;

/// While it is there.
pub(super) struct Connection {
    _listener: EventListener,
}

impl Connection {
    pub(super) fn start(report: Callback<Sensed>) -> Option<Self> {
        let connection = of_navigator("connection")?.dyn_into::<EventTarget>().ok()?;
        let watched = connection.clone();
        let tell = move || {
            let save_data = property(&connection, "saveData").and_then(|it| it.as_bool());
            let kind = property(&connection, "type").and_then(|it| it.as_string());
            report.emit(Sensed::Connection { save_data: save_data.unwrap_or(false), kind });
        };
        tell();
        Some(Self { _listener: EventListener::new(&watched, "change", move |_| tell()) })
    }
}

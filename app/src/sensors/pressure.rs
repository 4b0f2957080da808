//! How much the machine has to do, whoever makes it do it. Only Chromium tells.
//!
//! Source: <https://www.w3.org/TR/compute-pressure/>

use gloo::utils::window;
use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use yew::Callback;

use super::property::{call, property};
use crate::state::sensing::Sensed;

/// How often the browser is to say it, milliseconds.
const EVERY_MS: u32 = 1_000;

/// While it is there.
pub(super) struct Pressure {
    observer: JsValue,
    _told: Closure<dyn FnMut(Array)>,
}

impl Pressure {
    pub(super) fn start(report: Callback<Sensed>) -> Option<Self> {
        let constructor: Function = property(&window(), "PressureObserver")?.dyn_into().ok()?;
        let told = Closure::<dyn FnMut(Array)>::new(move |records: Array| {
            let latest = records.pop();
            if let Some(state) = property(&latest, "state").and_then(|it| it.as_string()) {
                report.emit(Sensed::Pressure(state));
            }
        });
        let observer = Reflect::construct(&constructor, &Array::of1(told.as_ref())).ok()?;
        let observe: Function = property(&observer, "observe")?.dyn_into().ok()?;
        let options = Object::new();
        Reflect::set(&options, &"sampleInterval".into(), &EVERY_MS.into()).ok()?;
        let asked = observe.call2(&observer, &"cpu".into(), &options).ok()?;
        if let Ok(asked) = asked.dyn_into::<Promise>() {
            // Where it is refused (no HTTPS, a frame that may not), nothing will be said.
            spawn_local(async move { drop(JsFuture::from(asked).await) });
        }
        Some(Self { observer, _told: told })
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        call(&self.observer, "disconnect", None);
    }
}

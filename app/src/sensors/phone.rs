//! Whether this is a phone.
//!
//! Source: <https://wicg.github.io/ua-client-hints/> for browsers' own word.

use gloo::utils::window;
use wasm_bindgen::JsValue;

use super::property::{call, of_navigator, property};
use crate::state::sensing;

pub(super) fn is_phone() -> bool {
    let says = of_navigator("userAgentData").and_then(|it| property(&it, "mobile"));
    let window: JsValue = window().into();
    let coarse = call(&window, "matchMedia", Some(&"(pointer: coarse)".into()));
    let is_coarse = coarse.and_then(|it| property(&it, "matches")?.as_bool()).unwrap_or(false);
    let side = |name| property(&property(&window, "screen")?, name)?.as_f64();
    let shorter = [side("width"), side("height")].into_iter().flatten().fold(f64::MAX, f64::min);
    sensing::is_phone(says.and_then(|it| it.as_bool()), is_coarse, shorter)
}

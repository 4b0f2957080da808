//! Properties of objects that not every browser has.

use gloo::utils::window;
use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};

/// A property, where the object has it.
pub(super) fn property(of: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(of, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// The same of the browser's `navigator`.
pub(super) fn of_navigator(name: &str) -> Option<JsValue> {
    property(&window().navigator(), name)
}

/// Calls a method without arguments, or with one, where the object has it.
pub(super) fn call(of: &JsValue, name: &str, argument: Option<&JsValue>) -> Option<JsValue> {
    let method: Function = property(of, name)?.dyn_into().ok()?;
    match argument {
        Some(argument) => method.call1(of, argument).ok(),
        None => method.call0(of).ok(),
    }
}

//! Claims on what the tabs of one browser share, through the Web Locks API.

use futures::channel::oneshot;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};

/// Claims `name` for as long as this worker or page lives. False if another one of this browser has
/// it.
///
/// Where the browser offers no locks (a page without TLS), everybody gets it: no worse than not
/// asking.
pub async fn claim(name: &str) -> bool {
    let (tell, told) = oneshot::channel();
    match request(name, tell) {
        Some(()) => told.await.unwrap_or(true),
        None => true,
    }
}

/// `None` if there is no lock manager. `web-sys` has it behind an unstable flag only, hence by
/// name.
fn request(name: &str, tell: oneshot::Sender<bool>) -> Option<()> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let request: Function = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
    let options = Object::new();
    Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?;
    let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        let ours = !lock.is_null();
        // The one who asked may have stopped waiting.
        let _ = tell.send(ours);
        // Held until this promise settles: never, so until the worker or the page is gone.
        if ours { Promise::new(&mut |_, _| {}).into() } else { JsValue::UNDEFINED }
    });
    request.call3(&locks, &name.into(), &options, &on_lock).ok()?;
    Some(())
}

//! Claims on what the tabs of one browser share, through the Web Locks API.
//!
//! A claim is answered at once: nobody queues for a lock that another tab has.

use futures::channel::oneshot;
use futures::future::{Either, select};
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

/// How the browser answered a [`claim`].
#[derive(Debug)]
pub enum Claim {
    /// This page or worker has it, until the lock is released or dropped.
    Held(Lock),
    /// Another page or worker of this browser has it.
    Taken,
    /// The browser offers no locks (a page without TLS), so nobody can know who else has it.
    Unknown,
}

impl Claim {
    /// True unless somebody else is known to have it: where there are no locks, everybody goes
    /// ahead, which is no worse than not asking.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        !matches!(self, Self::Taken)
    }
}

/// A lock that is held. It ends with this value, or with the page or worker.
#[derive(Debug)]
pub struct Lock {
    /// Settles the promise that the browser holds the lock for.
    release: Function,
    /// Settles when the browser has taken the lock back.
    released: Promise,
}

impl Lock {
    /// Gives the lock back at once. The future, which need not be awaited, ends when the browser
    /// has it: a [`claim`] made before that may find it taken, by ourselves.
    pub fn release(self) -> impl Future<Output = ()> + 'static {
        let released = JsFuture::from(self.released.clone());
        drop(self);
        async move {
            // However it settled, the lock is gone.
            let _settled = released.await;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Resolving a promise does not throw.
        let _resolved = self.release.call0(&JsValue::NULL);
    }
}

/// Claims `name` among the pages and workers of this origin in this browser.
///
/// The claim lasts as long as the returned [`Lock`]; keep it (and not `_`) for as long as what it
/// stands for.
pub async fn claim(name: &str) -> Claim {
    let (sender, answer) = oneshot::channel();
    let Some(request) = request(name, sender) else { return Claim::Unknown };
    // A request that is refused (an origin that may have no locks) is never answered.
    let release = match select(answer, JsFuture::from(request.clone())).await {
        Either::Left((answer, _)) => answer.ok(),
        Either::Right((_, mut answer)) => answer.try_recv().ok().flatten(),
    };
    match release {
        Some(Some(release)) => Claim::Held(Lock { release, released: request }),
        Some(None) => Claim::Taken,
        None => Claim::Unknown,
    }
}

/// Asks for the lock; what releases it goes to `sender`, or `None` if another has it. The promise
/// settles when the lock is free again.
///
/// `None` if there is no lock manager. `web-sys` has it behind an unstable flag only, hence by
/// name.
fn request(name: &str, sender: oneshot::Sender<Option<Function>>) -> Option<Promise> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).ok()?;
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    let request: Function = Reflect::get(&locks, &"request".into()).ok()?.dyn_into().ok()?;
    let options = Object::new();
    Reflect::set(&options, &"ifAvailable".into(), &JsValue::TRUE).ok()?;
    let on_lock = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        if lock.is_null() {
            // Whoever asked may have stopped waiting.
            let _gone = sender.send(None);
            return JsValue::UNDEFINED;
        }
        let mut release = None;
        // The browser holds the lock until this promise is resolved, or the page is gone.
        let held = Promise::new(&mut |resolve, _| release = Some(resolve));
        match sender.send(release) {
            Ok(()) => held.into(),
            Err(_) => JsValue::UNDEFINED,
        }
    });
    request.call3(&locks, &name.into(), &options, &on_lock).ok()?.dyn_into().ok()
}

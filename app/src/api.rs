//! The server's HTTP interface; the only file that does HTTP. Small JSON only: weights are the
//! worker's, and only after a click.

use std::cell::Cell;
use std::rc::Rc;

use gloo::events::EventListener;
use gloo::timers::callback::Interval;
use gloo::utils::{document, window};
use potluck_protocol::api::{ModelView, SwarmView, TallyRow};
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Response, VisibilityState};
use yew::Callback;

use crate::state::Action;

/// Time between two polls of the swarm, milliseconds: a new node is seen soon, and a page costs the
/// server less than one request a second.
const POLL_MS: u32 = 2_500;
/// The models are fetched every so many polls: they change when the host changes them.
const POLLS_PER_MODELS: u32 = 12;

/// Polls the swarm as long as it lives and the page is visible. A page in the background costs
/// nobody anything.
pub struct Polling {
    _interval: Interval,
    _on_visibility: EventListener,
}

impl core::fmt::Debug for Polling {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Polling")
    }
}

impl Polling {
    /// Starts polling: at once, and then again and again.
    #[must_use]
    pub fn start(dispatch: Callback<Action>) -> Self {
        let poll = Rc::new(Poll { dispatch, busy: Cell::new(false), count: Cell::new(0) });
        poll.clone().start();
        let on_interval = poll.clone();
        Self {
            _interval: Interval::new(POLL_MS, move || on_interval.clone().start()),
            _on_visibility: EventListener::new(&document(), "visibilitychange", move |_| {
                poll.clone().start()
            }),
        }
    }
}

/// One poll after another: never two at once, so that a slow server is not asked more.
struct Poll {
    dispatch: Callback<Action>,
    busy: Cell<bool>,
    count: Cell<u32>,
}

impl Poll {
    fn start(self: Rc<Self>) {
        if self.busy.get() || document().visibility_state() != VisibilityState::Visible {
            return;
        }
        self.busy.set(true);
        spawn_local(async move {
            let count = self.count.replace(self.count.get().wrapping_add(1));
            if count.is_multiple_of(POLLS_PER_MODELS) {
                match fetch::<Vec<ModelView>>("/api/v1/models").await {
                    Ok(models) => self.dispatch.emit(Action::Models(models)),
                    // The next poll asks again; the swarm's own failure is shown below.
                    Err(_) => self.count.set(0),
                }
            }
            self.dispatch.emit(Action::Swarm(fetch::<SwarmView>("/api/v1/swarm").await));
            self.dispatch.emit(Action::Tally(fetch::<Vec<TallyRow>>("/api/v1/tally").await));
            self.busy.set(false);
        });
    }
}

/// Gets a path of our own server and reads its JSON.
async fn fetch<T: DeserializeOwned>(path: &str) -> Result<T, String> {
    let response: Response = JsFuture::from(window().fetch_with_str(path))
        .await
        .map_err(|_| "the server does not answer".to_owned())?
        .unchecked_into();
    if !response.ok() {
        return Err(format!("the server answered {}", response.status()));
    }
    let json = async { JsFuture::from(response.json()?).await };
    let value: JsValue = json.await.map_err(|_| "the server's answer broke off".to_owned())?;
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| format!("the server's answer could not be read: {error}"))
}

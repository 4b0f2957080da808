//! Joins the state with the world: handles actions, does what [`State::reduce`] asks for, and has
//! the page drawn again.
//!
//! It decides nothing. The worker and the lock between tabs are behind [`Platform`], because only
//! the browser half of `net` has them.

pub(crate) mod mine;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use potluck_protocol::page::Command;
use wasm_bindgen_futures::spawn_local;
use yew::{Callback, hook, use_force_update, use_memo};

use crate::sensors::{Sensors, WakeLock};
use crate::state::mine::MineAction;
use crate::state::{Action, Effect, State};
use crate::words::{self, Language};
use crate::{api, browser, later, say};

/// Has the page speak a language from now on, and its document say so.
///
/// # Errors
/// The reason, if its words cannot be had; then nothing changes.
pub async fn speak(language: Language) -> Result<Language, String> {
    match language {
        Language::English => words::speak_english(),
        Language::Chinese => {
            let file = api::words(&browser::words_file(language)).await?;
            words::speak(language, &file).map_err(|error| error.line.to_string())?;
        }
    }
    browser::show_language(language, &say!("page-title"));
    Ok(language)
}

/// A running worker.
pub trait Worker {
    /// Sends it a command; kept until it is ready.
    fn command(&self, command: Command);

    /// Ends it at once, in the middle of whatever it computes, with all its connections.
    fn terminate(self: Box<Self>);
}

/// What only the browser half of `net` can do for the page.
pub trait Platform {
    /// Starts a worker; what it reports comes to `dispatch` as actions.
    ///
    /// # Errors
    /// The reason, if the browser starts none.
    fn start_worker(&self, dispatch: Callback<Action>) -> Result<Box<dyn Worker>, String>;

    /// Claims lending among the tabs of this browser; `answer` says whether this tab may. Where the
    /// browser offers no locks (a page without HTTPS), it may.
    fn claim_lending(&self, answer: Callback<bool>);

    /// Gives the claim back, if it is held.
    fn release_lending(&self);
}

/// A [`Platform`] as a property of a component.
#[derive(Clone)]
pub struct PlatformHandle(Rc<dyn Platform>);

impl PlatformHandle {
    /// A handle on `platform`; its clones are the same one.
    pub fn new(platform: impl Platform + 'static) -> Self {
        Self(Rc::new(platform))
    }
}

impl PartialEq for PlatformHandle {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl core::fmt::Debug for PlatformHandle {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PlatformHandle")
    }
}

/// The state and what it drives.
pub struct Store {
    state: RefCell<Rc<State>>,
    worker: RefCell<Option<Box<dyn Worker>>>,
    platform: PlatformHandle,
    changed: Callback<()>,
    /// On while this computer is lent.
    sensors: RefCell<Option<Sensors>>,
    is_sensing: Cell<bool>,
    wake_lock: RefCell<Option<WakeLock>>,
}

/// The state of a component that has a store of its own, and the way to its actions. The component is
/// drawn anew after each.
#[hook]
pub fn use_store(platform: &PlatformHandle) -> (Rc<State>, Callback<Action>) {
    let update = use_force_update();
    let store = use_memo((), |()| {
        let changed = Callback::from(move |()| update.force_update());
        let store = Store::new(platform.clone(), changed);
        let dispatch = store.dispatcher();
        (store, dispatch)
    });
    (store.0.state(), store.1.clone())
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Store").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Store {
    /// A page just opened; `changed` is called after every action.
    #[must_use]
    pub fn new(platform: PlatformHandle, changed: Callback<()>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(Rc::new(State::new(
                browser::opened(),
                &browser::options(),
                browser::kept(),
            ))),
            worker: RefCell::new(None),
            platform,
            changed,
            sensors: RefCell::new(None),
            is_sensing: Cell::new(false),
            wake_lock: RefCell::new(None),
        })
    }

    /// The state as it is now.
    #[must_use]
    pub fn state(&self) -> Rc<State> {
        self.state.borrow().clone()
    }

    /// Handles an action and does what follows from it.
    pub fn dispatch(self: &Rc<Self>, action: Action) {
        // The borrow ends before any effect: an effect may dispatch again.
        let effects = Rc::make_mut(&mut *self.state.borrow_mut()).reduce(action);
        self.changed.emit(());
        self.sense();
        for effect in effects {
            self.run(effect);
        }
    }

    /// Turns the senses on with the click that lends, and off with the end of it; keeps the screen on
    /// as the state says.
    fn sense(self: &Rc<Self>) {
        let volunteer = &self.state().volunteer;
        let is_lending = volunteer.is_lending();
        // Noted first: what is sensed at once is dispatched before they are all on.
        if is_lending && !self.is_sensing.replace(is_lending) {
            let this = Rc::clone(self);
            spawn_local(async move {
                // Without it nothing is started either, and the page says so.
                let Some(later) = later::fetched().await else { return };
                if this.is_sensing.get() {
                    let sensors = (later.sense)(&this.dispatcher());
                    *this.sensors.borrow_mut() = Some(sensors);
                }
            });
        } else if !is_lending && self.is_sensing.replace(is_lending) {
            let sensors = self.sensors.borrow_mut().take();
            // In a microtask, because this may be one's own callback.
            spawn_local(async move { drop(sensors) });
        }
        let holds = self.wake_lock.borrow().is_some();
        if volunteer.holds_screen() && !holds {
            let this = Rc::clone(self);
            spawn_local(async move {
                let Some(later) = later::fetched().await else { return };
                if this.state().volunteer.holds_screen() && this.wake_lock.borrow().is_none() {
                    *this.wake_lock.borrow_mut() = Some((later.hold_screen)());
                }
            });
        } else if holds && !volunteer.holds_screen() {
            drop(self.wake_lock.take());
        }
    }

    /// [`Store::dispatch`] as a callback.
    #[must_use]
    pub fn dispatcher(self: &Rc<Self>) -> Callback<Action> {
        let this = self.clone();
        Callback::from(move |action| this.dispatch(action))
    }

    fn run(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::TakeLock => {
                let answer = self.dispatcher().reform(|granted| Action::LockAnswered { granted });
                self.platform.0.claim_lending(answer);
            }
            Effect::ReleaseLock => self.platform.0.release_lending(),
            Effect::StartWorker => match self.platform.0.start_worker(self.dispatcher()) {
                Ok(worker) => {
                    *self.worker.borrow_mut() = Some(worker);
                    // The page alone is opened again where there is no connection, not a widget.
                    if self.state().opened.site.is_none() {
                        browser::keep_offline_page();
                    }
                }
                Err(reason) => self.dispatch(Action::WorkerFailed { reason }),
            },
            Effect::EndWorker => {
                let worker = self.worker.borrow_mut().take();
                if let Some(worker) = worker {
                    // In a microtask, because this may be the worker's own callback, which must not
                    // be dropped while it runs.
                    spawn_local(async move { worker.terminate() });
                }
            }
            Effect::Keep(kept) => browser::keep(kept.as_ref()),
            Effect::KeepLimits(limits) => browser::keep_limits(&limits),
            Effect::FetchNames { after } => {
                let dispatch = self.dispatcher();
                spawn_local(async move { dispatch.emit(Action::Names(api::nodes(after).await)) });
            }
            Effect::FetchContribution(node) => {
                let dispatch = self.dispatcher();
                spawn_local(async move {
                    // One that fails is made up for by the next.
                    if let Ok(view) = api::contribution(node).await {
                        dispatch.emit(Action::Contribution(view));
                    }
                });
            }
            Effect::Mine(effect) => {
                let dispatch = self.dispatcher();
                spawn_local(async move {
                    match later::fetched().await {
                        Some(later) => (later.run_mine)(effect, dispatch),
                        None => {
                            dispatch.emit(Action::Mine(MineAction::Failed(say!("part-missing"))))
                        }
                    }
                });
            }
            Effect::Reload => browser::reload(),
            Effect::MakeRoom(model) => browser::make_room(model),
            Effect::EnterRoom(room) => browser::enter_room(&room),
            Effect::LeaveRoom => browser::leave_room(),
            Effect::Speak(language) => {
                let dispatch = self.dispatcher();
                spawn_local(async move {
                    let spoken = speak(language).await;
                    if spoken.is_ok() {
                        browser::keep_language(language);
                    }
                    dispatch.emit(Action::Spoken(spoken));
                });
            }
            Effect::Send(command) => {
                if let Some(worker) = &*self.worker.borrow() {
                    worker.command(command);
                }
            }
        }
    }
}

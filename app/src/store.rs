//! Joins the state with the world: handles actions, does what [`State::reduce`] asks for, and has
//! the page drawn again.
//!
//! It decides nothing. The worker is behind [`Worker`], because only the browser half of `net` can
//! start one.

use std::cell::RefCell;
use std::rc::Rc;

use potluck_protocol::page::Command;
use wasm_bindgen_futures::spawn_local;
use yew::Callback;

use crate::browser::{self, LendingLock};
use crate::state::{Action, Effect, State};

/// A running worker.
pub trait Worker {
    /// Sends it a command; kept until it is ready.
    fn command(&self, command: Command);

    /// Ends it at once, in the middle of whatever it computes, with all its connections.
    fn terminate(self: Box<Self>);
}

type Start = dyn Fn(Callback<Action>) -> Result<Box<dyn Worker>, String>;

/// Starts workers; what they report comes to the callback as actions.
#[derive(Clone)]
pub struct WorkerStarter(Rc<Start>);

impl WorkerStarter {
    /// Starts them with `start`, which returns the reason if it cannot.
    pub fn new(
        start: impl Fn(Callback<Action>) -> Result<Box<dyn Worker>, String> + 'static,
    ) -> Self {
        Self(Rc::new(start))
    }
}

impl PartialEq for WorkerStarter {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl core::fmt::Debug for WorkerStarter {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("WorkerStarter")
    }
}

/// The state and what it drives.
pub struct Store {
    state: RefCell<Rc<State>>,
    worker: RefCell<Option<Box<dyn Worker>>>,
    starter: WorkerStarter,
    lock: LendingLock,
    changed: Callback<()>,
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Store").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Store {
    /// A page just opened; `changed` is called after every action.
    #[must_use]
    pub fn new(starter: WorkerStarter, changed: Callback<()>) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(Rc::new(State::new(
                browser::origin(),
                &browser::options(),
                browser::kept(),
            ))),
            worker: RefCell::new(None),
            starter,
            lock: LendingLock::default(),
            changed,
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
        for effect in effects {
            self.run(effect);
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
                self.lock
                    .take(self.dispatcher().reform(|granted| Action::LockAnswered { granted }));
            }
            Effect::ReleaseLock => self.lock.release(),
            Effect::StartWorker => match (self.starter.0)(self.dispatcher()) {
                Ok(worker) => *self.worker.borrow_mut() = Some(worker),
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
            Effect::Send(command) => {
                if let Some(worker) = &*self.worker.borrow() {
                    worker.command(command);
                }
            }
        }
    }
}

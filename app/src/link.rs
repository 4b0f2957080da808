//! Starts this tab's worker and claims lending for it; the only file that knows `net`.
//!
//! The worker computes, the page owns its connections: [`WorkerLink`] joins the two and ends them
//! together.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use gloo::timers::callback::Timeout;
use potluck_app::state::Action;
use potluck_app::state::swarm::Tie;
use potluck_app::store::{Platform, Worker};
use potluck_app::{api, browser, later};
use potluck_net::platform::port::WorkerLink;
use potluck_net::platform::{Claim, Lock, claim};
use potluck_protocol::page::{Command, Notice};
use wasm_bindgen_futures::spawn_local;
use yew::Callback;

/// The loader that `trunk serve` writes for the worker's program. Our own builder names one in the
/// document, with a hash. Relative either way, so that the page may be served under any path.
const LOADER: &str = "./potluck-node_loader.js";
/// Under this name it does.
const LOADER_NAME: &str = "worker";

/// Milliseconds from the start until a worker must have said that it is ready: what its program
/// takes over a slow telephone network, several times. One whose program panicked says nothing.
const START_MS: u32 = 180_000;

/// A worker behind a message port.
struct PortWorker {
    joined: Rc<RefCell<Joined>>,
    start: Rc<Start>,
}

/// A worker, once the part of the program is here that starts it and keeps its connections.
enum Joined {
    /// What it is told meanwhile.
    Awaited(Vec<Command>),
    Here(WorkerLink),
    Ended,
}

/// Starts a worker.
type Spawn = fn(&Rc<Start>) -> Result<WorkerLink, String>;

fn spawn(start: &Rc<Start>) -> Result<WorkerLink, String> {
    let (heard, failed) = (Rc::clone(start), Rc::clone(start));
    let link = WorkerLink::spawn(
        &start.loader,
        move |notice| heard.notice(notice),
        move |reason| failed.fail(reason),
    );
    let link = link.map_err(|error| error.to_string())?;
    later::arrived();
    let dispatch = start.dispatch.clone();
    link.watch_paths(move |paths| {
        let tie = |(node, is_relayed)| Tie { node, is_relayed };
        dispatch.emit(Action::Ties(paths.into_iter().map(tie).collect()));
    });
    Ok(link)
}

/// A worker's start, which can fail in silence.
struct Start {
    loader: String,
    dispatch: Callback<Action>,
    /// Until the worker has said that it is ready.
    limit: RefCell<Option<Timeout>>,
}

impl Worker for PortWorker {
    fn command(&self, command: Command) {
        match &mut *self.joined.borrow_mut() {
            Joined::Awaited(commands) => commands.push(command),
            Joined::Here(link) => link.command(command),
            Joined::Ended => {}
        }
    }

    fn terminate(self: Box<Self>) {
        drop(self.start.limit.take());
        if let Joined::Here(link) = self.joined.replace(Joined::Ended) {
            link.terminate();
        }
    }
}

impl Start {
    fn new(dispatch: Callback<Action>) -> Rc<Self> {
        let loader = browser::named(LOADER_NAME).unwrap_or_else(|| LOADER.to_owned());
        let late = dispatch.clone();
        let limit = Timeout::new(START_MS, move || {
            let reason = format!("it did not start within {} s", START_MS / 1000);
            late.emit(Action::WorkerFailed { reason });
        });
        Rc::new(Self { loader, dispatch, limit: RefCell::new(Some(limit)) })
    }

    fn notice(&self, notice: Notice) {
        if notice == Notice::Ready {
            drop(self.limit.take());
        }
        self.dispatch.emit(Action::Notice(notice));
    }

    /// Tells at once, and what to do about it as soon as that is known: a page that is open since
    /// yesterday asks for files that the server has replaced.
    fn fail(&self, reason: String) {
        let never_started = self.limit.take().is_some();
        self.dispatch.emit(Action::WorkerFailed { reason });
        if never_started {
            let (loader, dispatch) = (self.loader.clone(), self.dispatch.clone());
            spawn_local(async move {
                if api::is_missing(&loader).await {
                    dispatch.emit(Action::WorkerMissing);
                }
            });
        }
    }
}

/// Name of the lock that one tab of a browser holds while it lends.
const LENDING_LOCK: &str = "potluck-lending";

/// The page in a browser.
#[derive(Default)]
pub(crate) struct Browser {
    lending: Rc<Lending>,
}

/// The claim on lending.
#[derive(Default)]
struct Lending {
    lock: RefCell<Option<Lock>>,
    /// Ends when the browser has taken the last lock back: a claim before that would meet our own.
    released: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

impl Platform for Browser {
    fn start_worker(&self, dispatch: Callback<Action>) -> Result<Box<dyn Worker>, String> {
        let start = Start::new(dispatch);
        let joined = Rc::new(RefCell::new(Joined::Awaited(Vec::new())));
        let worker = PortWorker { joined: Rc::clone(&joined), start: Rc::clone(&start) };
        spawn_local(async move {
            let spawn = later().await;
            // Stopped meanwhile.
            let Joined::Awaited(commands) = joined.replace(Joined::Ended) else { return };
            match spawn.and_then(|spawn| spawn(&start)) {
                Ok(link) => {
                    commands.into_iter().for_each(|command| link.command(command));
                    *joined.borrow_mut() = Joined::Here(link);
                }
                Err(reason) => start.fail(reason),
            }
        });
        Ok(Box::new(worker))
    }

    fn claim_lending(&self, answer: Callback<bool>) {
        let lending = Rc::clone(&self.lending);
        spawn_local(async move {
            let released = lending.released.borrow_mut().take();
            if let Some(released) = released {
                released.await;
            }
            let claim = claim(LENDING_LOCK).await;
            let is_granted = claim.is_granted();
            if let Claim::Held(lock) = claim {
                *lending.lock.borrow_mut() = Some(lock);
            }
            answer.emit(is_granted);
        });
    }

    fn release_lending(&self) {
        let lock = self.lending.lock.borrow_mut().take();
        if let Some(lock) = lock {
            *self.lending.released.borrow_mut() = Some(Box::pin(lock.release()));
        }
    }
}

#[cfg(feature = "split")]
mod split {
    #![allow(unsafe_code, reason = "a split function comes from another wasm file")]

    use wasm_split_helpers::{SplitLoaderError, wasm_split};

    /// What is reached only by it is in the program's later part.
    #[wasm_split(later, fallible)]
    pub(super) fn later() -> Result<super::Spawn, SplitLoaderError> {
        Ok(super::spawn)
    }
}

/// What starts a worker: with the connections, a good part of the program, and not needed to look at
/// the page.
async fn later() -> Result<Spawn, String> {
    #[cfg(feature = "split")]
    return split::later().await.map_err(|_| potluck_app::say!("part-missing"));
    #[cfg(not(feature = "split"))]
    Ok(spawn)
}

//! Starts this tab's worker and claims lending for it; the only file that knows `net`.
//!
//! The worker computes, the page owns its connections: [`WorkerLink`] joins the two and ends them
//! together.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use potluck_app::state::Action;
use potluck_app::store::{Platform, Worker};
use potluck_net::platform::port::WorkerLink;
use potluck_net::platform::{Claim, Lock, claim};
use potluck_protocol::page::Command;
use wasm_bindgen_futures::spawn_local;
use yew::Callback;

/// The loader that the page's build writes for the worker's program. Relative, so that the page may be served
/// under any path.
const LOADER: &str = "./potluck-node_loader.js";

/// A worker behind a message port.
struct PortWorker(WorkerLink);

impl Worker for PortWorker {
    fn command(&self, command: Command) {
        self.0.command(command);
    }

    fn terminate(self: Box<Self>) {
        self.0.terminate();
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
        let failed = dispatch.clone();
        let link = WorkerLink::spawn(
            LOADER,
            move |notice| dispatch.emit(Action::Notice(notice)),
            move |reason| failed.emit(Action::WorkerFailed { reason }),
        )
        .map_err(|error| error.to_string())?;
        Ok(Box::new(PortWorker(link)))
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

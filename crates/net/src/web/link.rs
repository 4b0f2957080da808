//! The page's end: starts the worker, owns its connections, and passes everything on.

use core::time::Duration;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures::StreamExt as _;
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{self, Notice};
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::spawn_local;
use web_sys::{ErrorEvent, MessageEvent, Worker};

use super::connection::{Listener, listen};
use super::envelope::{FromWorker, ToWorker, open, seal};
use super::page::PageNet;
use super::{describe, sleep};
use crate::events::EventReceiver;
use crate::session::Limits;

/// The worker could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not start the worker {url}: {reason}")]
pub struct LinkError {
    /// Its loader.
    pub url: String,
    /// What the browser says.
    pub reason: String,
}

/// A running worker and its connections. Dropping it ends both at once.
pub struct WorkerLink {
    shared: Rc<Shared>,
    _listeners: Vec<Listener>,
}

struct Shared {
    worker: Worker,
    net: Rc<PageNet>,
    /// Commands for when the worker listens; `None` from then on.
    waiting: RefCell<Option<VecDeque<page::Command>>>,
}

/// Commands kept until the worker is ready. A person gives a few; more means that it never will be.
const MAX_WAITING: usize = 64;

/// How often the browser is asked which way the connections go. They open within about a second and
/// seldom change afterwards; asking costs it a millisecond or so.
const PATHS_EVERY: Duration = Duration::from_secs(2);

impl core::fmt::Debug for WorkerLink {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("WorkerLink").finish_non_exhaustive()
    }
}

impl WorkerLink {
    /// Starts the worker whose loader is at `loader_url` (`./NAME_loader.js`, as trunk writes it).
    ///
    /// `on_notice` gets everything the node says, `on_error` what the browser says when the worker
    /// cannot be loaded or breaks down; after that it is of no use and should be dropped, which
    /// either callback may also do itself.
    ///
    /// # Errors
    /// If the browser refuses to start workers from there.
    pub fn spawn(
        loader_url: &str,
        on_notice: impl Fn(Notice) + 'static,
        on_error: impl Fn(String) + 'static,
    ) -> Result<Self, LinkError> {
        let worker = Worker::new(loader_url).map_err(|thrown| LinkError {
            url: loader_url.to_owned(),
            reason: describe(&thrown),
        })?;
        let (net, events) = PageNet::new(Limits::default());
        let shared = Rc::new(Shared { worker, net, waiting: RefCell::new(Some(VecDeque::new())) });
        spawn_local(pump(Rc::clone(&shared), events));
        let on_error = Rc::new(on_error);
        let listeners = vec![
            watch_messages(&shared, on_notice, Rc::clone(&on_error)),
            listen(
                |f| shared.worker.set_onerror(f),
                move |event| {
                    // A loader that is not there is a plain event without a message.
                    let message =
                        event.dyn_ref::<ErrorEvent>().map(ErrorEvent::message).unwrap_or_default();
                    on_error(if message.is_empty() {
                        "the worker could not be loaded".to_owned()
                    } else {
                        message
                    });
                },
            ),
        ];
        Ok(Self { shared, _listeners: listeners })
    }

    /// Passes on what the person wants, as soon as the worker listens.
    pub fn command(&self, command: page::Command) {
        if let Some(waiting) = &mut *self.shared.waiting.borrow_mut() {
            if waiting.len() < MAX_WAITING {
                waiting.push_back(command);
            }
            return;
        }
        self.shared.post(ToWorker::Page(command));
    }

    /// Has `on_change` told whom this page's connections lead to, and whether through a relay: once
    /// soon after either changes, until the link is gone.
    pub fn watch_paths(&self, on_change: impl Fn(Vec<(NodeId, bool)>) + 'static) {
        let shared = Rc::downgrade(&self.shared);
        spawn_local(async move {
            let mut told = Vec::new();
            loop {
                sleep(PATHS_EVERY).await;
                let Some(net) = shared.upgrade().map(|shared| Rc::clone(&shared.net)) else {
                    return;
                };
                let paths = net.paths().await;
                if paths != told && shared.strong_count() > 0 {
                    told.clone_from(&paths);
                    on_change(paths);
                }
            }
        });
    }

    /// Ends the worker, whatever it is computing, and closes its connections.
    pub fn terminate(self) {
        drop(self);
    }
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.shared.worker.set_onmessage(None);
        self.shared.worker.set_onerror(None);
        self.shared.worker.terminate();
        self.shared.net.close();
    }
}

impl Shared {
    fn post(&self, message: ToWorker) {
        let posted = seal(message).and_then(|(envelope, handed_over)| {
            let result = self.worker.post_message_with_transfer(&envelope, &handed_over);
            result.map_err(|thrown| describe(&thrown))
        });
        if let Err(error) = posted {
            tracing::warn!(error, "could not post to the worker");
        }
    }

    fn ready(&self) {
        let waiting = self.waiting.take();
        for command in waiting.into_iter().flatten() {
            self.post(ToWorker::Page(command));
        }
    }
}

fn watch_messages(
    shared: &Rc<Shared>,
    on_notice: impl Fn(Notice) + 'static,
    on_error: Rc<impl Fn(String) + 'static>,
) -> Listener {
    // Weak, because the worker holds the listener.
    let of = Rc::downgrade(shared);
    listen(
        |f| shared.worker.set_onmessage(f),
        move |event| {
            let Some(shared) = of.upgrade() else { return };
            match open::<FromWorker>(&event.unchecked_into::<MessageEvent>().data()) {
                Ok(FromWorker::Net(command)) => shared.net.send(command),
                Ok(FromWorker::Read { peer, bytes }) => shared.net.read(peer, bytes as usize),
                Ok(FromWorker::Page(notice)) => {
                    if notice == Notice::Ready {
                        shared.ready();
                    }
                    on_notice(notice);
                }
                Err(error) => on_error(format!("the worker posted something else: {error}")),
            }
        },
    )
}

/// Passes the connections' events on to the worker, until the connections are gone.
async fn pump(shared: Rc<Shared>, mut events: EventReceiver) {
    while let Some(reported) = events.next().await {
        if let Some(event) = shared.net.accept(reported) {
            shared.post(ToWorker::Net(event));
        }
    }
}

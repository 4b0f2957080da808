//! The worker's end of the port to the page, and (as [`WorkerLink`]) the page's.
//!
//! A worker has one page. Messages that the page posts before the worker listens are lost, so a
//! worker makes its [`PortTransport`] first, says [`Notice::Ready`] next, and the page waits for
//! that.

use core::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_protocol::page::{self, Notice};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use super::envelope::{FromWorker, ToWorker, open, seal};
pub use super::link::{LinkError, WorkerLink};
use crate::{Command, Event, Transport};

/// [`Transport`] for a node in a dedicated worker: the page does what it is told.
pub struct PortTransport {
    events: mpsc::UnboundedReceiver<Event>,
    commands: Option<mpsc::UnboundedReceiver<page::Command>>,
    _listener: Closure<dyn Fn(MessageEvent)>,
}

impl core::fmt::Debug for PortTransport {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PortTransport").finish_non_exhaustive()
    }
}

impl PortTransport {
    /// Listens to the page. Outside a dedicated worker there is none, and nothing ever happens.
    ///
    /// The queues are bounded by what fills them: the page keeps count of frames that were not
    /// read, and a person gives few commands.
    #[must_use]
    pub fn new() -> Self {
        let (event_sender, events) = mpsc::unbounded();
        let (command_sender, commands) = mpsc::unbounded();
        let senders = Rc::new(RefCell::new((event_sender, command_sender)));
        let listener = Closure::<dyn Fn(MessageEvent)>::new(move |posted: MessageEvent| {
            let (events, commands) = &*senders.borrow();
            // A receiver may be gone, and then nobody wants to know.
            match open::<ToWorker>(&posted.data()) {
                Ok(ToWorker::Net(event)) => drop(events.unbounded_send(event)),
                Ok(ToWorker::Page(command)) => drop(commands.unbounded_send(command)),
                Err(error) => tracing::warn!(error, "the page posted something else"),
            }
        });
        if let Some(scope) = scope() {
            scope.set_onmessage(Some(listener.as_ref().unchecked_ref()));
        }
        Self { events, commands: Some(commands), _listener: listener }
    }

    /// What the person wants. The first call gets all of it; a further one gets a stream that has
    /// ended.
    pub fn commands(&mut self) -> mpsc::UnboundedReceiver<page::Command> {
        self.commands.take().unwrap_or_else(|| mpsc::unbounded().1)
    }
}

impl Default for PortTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for PortTransport {
    fn send(&mut self, command: Command) {
        post(FromWorker::Net(command));
    }

    async fn next_event(&mut self) -> Event {
        let Some(event) = self.events.next().await else {
            // Not reached: the listener holds a sender.
            std::future::pending().await
        };
        if let Event::PeerFrame { peer, frame, .. } = &event {
            let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            post(FromWorker::Read { peer: *peer, bytes });
        }
        event
    }
}

impl Drop for PortTransport {
    fn drop(&mut self) {
        if let Some(scope) = scope() {
            scope.set_onmessage(None);
        }
    }
}

/// Tells the person something, from within the worker.
pub fn post_notice(notice: &Notice) {
    post(FromWorker::Page(notice.clone()));
}

fn scope() -> Option<DedicatedWorkerGlobalScope> {
    js_sys::global().dyn_into().ok()
}

fn post(message: FromWorker) {
    let Some(scope) = scope() else { return };
    let posted = seal(message).and_then(|(envelope, handed_over)| {
        let result = scope.post_message_with_transfer(&envelope, &handed_over);
        result.map_err(|thrown| super::describe(&thrown))
    });
    if let Err(error) = posted {
        tracing::warn!(error, "could not post to the page");
    }
}

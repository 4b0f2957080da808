//! Starts this tab's worker; the only file that knows `net`.
//!
//! The worker computes, the page owns its connections: [`WorkerLink`] joins the two and ends them
//! together.

use potluck_app::state::Action;
use potluck_app::store::{Worker, WorkerStarter};
use potluck_net::platform::port::WorkerLink;
use potluck_protocol::page::Command;

/// The loader that trunk writes for the worker's program. Relative, so that the page may be served
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

/// Starts workers whose notices and failures become actions.
pub(crate) fn starter() -> WorkerStarter {
    WorkerStarter::new(|dispatch| {
        let failed = dispatch.clone();
        let link = WorkerLink::spawn(
            LOADER,
            move |notice| dispatch.emit(Action::Notice(notice)),
            move |reason| failed.emit(Action::WorkerFailed { reason }),
        )
        .map_err(|error| error.to_string())?;
        Ok(Box::new(PortWorker(link)))
    })
}

//! Jobs on their way to the bench, and what came of them.
//!
//! ```text
//!  loop ── Machine::perform ──▶ jobs ──▶ bench: engine, one job after the other
//!   ▲                                      │        (beside the loop)
//!   └───── Machine::next_event ◀── events ─┘
//! ```
//! Dropping this ends the bench with all that it holds, whatever it is doing.

use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt as _, StreamExt as _, select_biased};
use potluck_net::weights::WeightStore;
use potluck_protocol::page::BackendPreference;

use super::bench::{Bench, Job};
use super::beside::{Beside, Turn};
use crate::node::{MachineEvent, StepRequest};

/// The way to a bench.
pub(super) struct Jobs {
    /// What fills it is bounded by whoever fills it: sessions, parts of a model.
    jobs: mpsc::UnboundedSender<Job>,
    done: mpsc::UnboundedReceiver<Done>,
    /// Jobs that are not done yet.
    unfinished: usize,
    beside: Beside,
}

/// What comes back of a job: its events, of which it may have none.
pub(super) struct Done {
    pub(super) events: Vec<MachineEvent>,
}

impl Jobs {
    /// A bench that starts with its engine.
    pub(super) fn start(
        backend: BackendPreference,
        store: &Arc<WeightStore>,
        server: &str,
        turn: &Turn,
    ) -> Self {
        let (jobs, received) = mpsc::unbounded();
        let (finished, done) = mpsc::unbounded();
        let (store, server) = (Arc::clone(store), server.to_owned());
        let beside =
            Beside::start(turn, move || Bench::new(store, server).work(received, finished));
        let mut this = Self { jobs, done, unfinished: 0, beside };
        this.send(Job::Start(backend));
        this
    }

    pub(super) fn send(&mut self, job: Job) {
        if self.jobs.unbounded_send(job).is_ok() {
            self.unfinished += 1;
        }
        // A bench that broke down says so in `next`.
    }

    /// Gives the bench a batch. Only when it has nothing else to do: whatever comes in meanwhile
    /// can go into the next one.
    pub(super) fn compute(&mut self, batch: Vec<StepRequest>) {
        self.send(Job::Compute(batch));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.unfinished == 0
    }

    /// What came of the next job; `None` if the bench is gone and should not be. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Done> {
        let done = select_biased! {
            done = self.done.next() => done,
            () = self.beside.advance().fuse() => None,
        };
        self.unfinished = self.unfinished.saturating_sub(1);
        done
    }

    pub(super) fn take_busy(&mut self) -> Duration {
        self.beside.take_busy()
    }
}

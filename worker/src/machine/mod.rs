//! What the node's actions move besides the network: the engine, the weight store, and how fast
//! this machine is.
//!
//! | file | what |
//! |---|---|
//! | `jobs` | jobs on their way to the bench, and what came of them |
//! | `beside` | where the bench works, so that the loop never waits for it |
//! | `bench` | the engine, where it does one job after the other |
//! | `engine` | starting it, and putting parts into it |
//! | `speed` | how fast it is, before it has computed for anybody |
//! | `recovery` | a GPU that is gone, and the engine that takes over |
//! | `batches` | steps, computed together |
//! | `steps` | steps that wait, and which of them go together |
//! | `downloads` | what is fetched beside the loop |
//!
//! Nothing here makes the loop wait: [`Machine::perform`] begins something, and everything that
//! comes of it is an event of [`Machine::next_event`].

mod batches;
mod bench;
mod beside;
mod downloads;
mod engine;
mod jobs;
mod recovery;
mod speed;
mod steps;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, select_biased};
use potluck_net::weights::WeightStore;

use self::bench::Job;
use self::beside::Turn;
use self::downloads::{Downloads, Finished, Wanted};
use self::jobs::{Done, Jobs};
use self::steps::Steps;
use crate::failure::{EngineFailure, StepFailure};
use crate::node::{Action, MachineEvent, StepRequest, StepResult};

/// Engine and weights of one node.
pub(crate) struct Machine {
    downloads: Downloads,
    /// `None` while nothing computes here.
    jobs: Option<Jobs>,
    steps: Steps,
    events: VecDeque<MachineEvent>,
    turn: Turn,
}

impl Machine {
    #[allow(
        clippy::arc_with_non_send_sync,
        reason = "natively it goes to the engine's thread; in a page there is only one"
    )]
    pub(crate) fn new(store: WeightStore) -> Self {
        Self {
            downloads: Downloads::new(Arc::new(store)),
            jobs: None,
            steps: Steps::default(),
            events: VecDeque::new(),
            turn: Turn::default(),
        }
    }

    /// Where weights come from: the server's address, without a path.
    pub(crate) fn set_server(&mut self, server: &str) {
        self.downloads.set_server(server);
        let server = self.downloads.server().to_owned();
        self.send(Job::Server(server));
    }

    /// What came of something that was begun. Cancel-safe.
    pub(crate) async fn next_event(&mut self) -> MachineEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let Self { downloads, jobs, events, .. } = self;
            select_biased! {
                done = next_done(jobs).fuse() => match done {
                    Some(Done { events: came }) => events.extend(came),
                    None => {
                        *jobs = None;
                        let reason = "the engine broke down; lend again to start another".to_owned();
                        events.push_back(MachineEvent::EngineFailed { reason });
                    }
                },
                finished = downloads.next().fuse() => match finished {
                    Finished::Event(event) => return event,
                    Finished::Part(part) => self.send(Job::Load(part)),
                },
            }
        }
    }

    /// Begins one thing. A step waits for [`Self::compute`].
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::StartEngine { backend } => {
                self.stop_engine();
                let (store, server) = (self.downloads.store(), self.downloads.server());
                self.jobs = Some(Jobs::start(backend, store, server, &self.turn));
            }
            Action::StopEngine => self.stop_engine(),
            Action::FetchManifest { model } => self.downloads.fetch_manifest(model),
            Action::FetchTokenizer { model, blob } => self.downloads.fetch_tokenizer(model, blob),
            Action::FetchBlob { model, manifest, role, blob } => {
                self.send(Job::Expect(model));
                self.downloads.fetch_part(model, manifest, role, blob);
            }
            Action::CancelManifest { model } => self.downloads.cancel(Wanted::Manifest(model)),
            Action::CancelBlob { model, role } => {
                self.downloads.cancel(Wanted::Part(model, role));
            }
            Action::Unload { role } => self.send(Job::Unload(role)),
            Action::OpenSession { session, layers } => {
                self.send(Job::OpenSession(session, layers));
            }
            Action::CloseSession { session } => {
                self.steps.forget(session);
                self.send(Job::CloseSession(session));
            }
            Action::Compute(step) if self.jobs.is_some() => self.steps.push(step),
            Action::Compute(step) => self.events.push_back(stopped(step)),
            Action::Transport(_) | Action::Notice(_) => {} // the loop's own
        }
    }

    /// Whether steps wait for an engine that has nothing else to do.
    pub(crate) fn can_compute(&self) -> bool {
        !self.steps.is_empty() && self.jobs.as_ref().is_some_and(Jobs::is_idle)
    }

    /// Begins the next batch of the steps that wait, if the engine has nothing else to do.
    pub(crate) fn compute(&mut self) {
        if self.can_compute()
            && let Some(jobs) = &mut self.jobs
        {
            jobs.compute(self.steps.next());
        }
    }

    /// How long computing has kept the loop from everything else since this was last asked.
    pub(crate) fn take_busy(&mut self) -> Duration {
        self.jobs.as_mut().map_or(Duration::ZERO, Jobs::take_busy)
    }

    /// Nothing computes here any more, and nothing is fetched for it.
    fn stop_engine(&mut self) {
        self.jobs = None;
        self.steps.clear();
        self.downloads.cancel_parts();
        self.events.retain(|event| {
            matches!(event, MachineEvent::Manifest { .. } | MachineEvent::Tokenizer { .. })
        });
    }

    fn send(&mut self, job: Job) {
        if let Some(jobs) = &mut self.jobs {
            jobs.send(job);
        }
    }
}

/// As of [`Jobs::next`]; never, where there is no bench.
async fn next_done(jobs: &mut Option<Jobs>) -> Option<Done> {
    match jobs {
        Some(jobs) => jobs.next().await,
        None => pending().await,
    }
}

/// What comes of a step where there is no engine.
fn stopped(step: StepRequest) -> MachineEvent {
    let StepRequest { session, position, rows, sampling, input: _ } = step;
    let output = Err(StepFailure::Engine(Arc::new(EngineFailure::Stopped)));
    let elapsed = Duration::ZERO;
    MachineEvent::Computed(StepResult { session, position, rows, sampling, output, elapsed })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

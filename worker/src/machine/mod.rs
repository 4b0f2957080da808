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
//! | `processor` | its threads, and how many of them compute |
//! | `recovery` | a GPU that is gone, and the engine that takes over |
//! | `batches` | steps, computed together |
//! | `steps` | steps that wait, and which of them go together |
//! | `duty` | the share of the time that they are computed in |
//! | `downloads` | what is fetched beside the loop |
//!
//! Nothing here makes the loop wait: [`Machine::perform`] begins something, and everything that
//! comes of it is an event of [`Machine::next_event`].

mod batches;
mod bench;
mod beside;
mod downloads;
mod duty;
mod engine;
mod jobs;
mod processor;
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
use self::duty::Duty;
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
    duty: Duty,
    events: VecDeque<MachineEvent>,
    turn: Turn,
}

impl Machine {
    pub(crate) fn new(store: impl Into<Arc<WeightStore>>) -> Self {
        Self {
            downloads: Downloads::new(store.into()),
            jobs: None,
            steps: Steps::default(),
            duty: Duty::default(),
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
            let Self { downloads, jobs, events, duty, .. } = self;
            select_biased! {
                done = next_done(jobs).fuse() => match done {
                    Some(Done { events: came }) => {
                        duty.note(came.iter().map(computed_for).sum());
                        events.extend(came);
                    }
                    None => {
                        *jobs = None;
                        let reason = "the engine broke down; lend again to start another".to_owned();
                        events.push_back(MachineEvent::EngineFailed { reason });
                    }
                },
                finished = downloads.next().fuse() => {
                    self.tell_fetched();
                    match finished {
                        Finished::Event(event) => self.events.push_back(event),
                        Finished::Part(part) => self.send(Job::Load(part)),
                    }
                }
            }
        }
    }

    /// Begins one thing. A step waits for [`Self::compute`].
    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::StartEngine { backend } => {
                self.stop_engine();
                self.duty = Duty::default();
                self.downloads.read_budget();
                let (store, server) = (self.downloads.store(), self.downloads.server());
                self.jobs = Some(Jobs::start(backend, store, server, &self.turn));
            }
            Action::StopEngine => self.stop_engine(),
            Action::FetchManifest { model } => self.downloads.fetch_manifest(model),
            Action::FetchTokenizer { model, blob } => self.downloads.fetch_tokenizer(model, blob),
            Action::FetchBlob { model, manifest, role, blob, may_download } => {
                self.send(Job::Expect(model));
                self.downloads.fetch_part(model, manifest, role, blob, may_download);
            }
            Action::KeepBudget { line } => self.downloads.keep_budget(line),
            Action::SetShare { percent } => self.duty.set_percent(percent.into()),
            Action::CancelManifest { model } => self.downloads.cancel(Wanted::Manifest(model)),
            Action::CancelBlob { model, role } => {
                self.downloads.cancel(Wanted::Part(model, role));
                self.tell_fetched();
            }
            Action::Unload { role } => self.send(Job::Unload(role)),
            Action::OpenSession { session, layers, continues } => {
                self.send(Job::OpenSession(session, layers, continues));
            }
            Action::KeepSession { session } => self.send(Job::KeepSession(session)),
            Action::CloseSession { session } => {
                self.steps.forget(session);
                self.send(Job::CloseSession(session));
            }
            Action::Compute(step) if self.jobs.is_some() => self.steps.push(step),
            Action::Compute(step) => self.events.push_back(stopped(step)),
            Action::Transport(_) | Action::Notice(_) | Action::Own(_) => {} // the loop's own
        }
    }

    /// When the steps that wait may be computed, by the loop's clock, which says `now`: the engine
    /// has nothing else to do, and has rested by then. `None` where none wait, or it has.
    pub(crate) fn computes_at(&mut self, now: Duration) -> Option<Duration> {
        let rested = self.duty.next(now);
        let is_idle = self.jobs.as_ref().is_some_and(Jobs::is_idle);
        (!self.steps.is_empty() && is_idle).then_some(rested)
    }

    /// Begins the next batch of the steps that wait, if the engine may.
    pub(crate) fn compute(&mut self, now: Duration) {
        if self.computes_at(now).is_some_and(|at| at <= now)
            && let Some(jobs) = &mut self.jobs
        {
            jobs.compute(self.steps.next());
        }
    }

    /// How long computing has kept the loop from everything else since this was last asked.
    pub(crate) fn take_busy(&mut self) -> Duration {
        self.jobs.as_mut().map_or(Duration::ZERO, Jobs::take_busy)
    }

    fn tell_fetched(&mut self) {
        let bytes = self.downloads.take_fetched();
        if bytes > 0 {
            self.events.push_back(MachineEvent::Fetched { bytes });
        }
    }

    /// Nothing computes here any more, and nothing is fetched for it.
    fn stop_engine(&mut self) {
        self.jobs = None;
        self.steps.clear();
        self.downloads.cancel_parts();
        self.events.retain(|event| {
            matches!(
                event,
                MachineEvent::Manifest { .. }
                    | MachineEvent::Tokenizer { .. }
                    | MachineEvent::KeptBudget { .. }
                    | MachineEvent::Fetched { .. }
            )
        });
        self.tell_fetched();
    }

    fn send(&mut self, job: Job) {
        if let Some(jobs) = &mut self.jobs {
            jobs.send(job);
        }
    }
}

/// How long the engine computed for what is reported.
fn computed_for(event: &MachineEvent) -> Duration {
    match event {
        MachineEvent::Computed(result) => result.elapsed,
        _ => Duration::ZERO,
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
    let StepRequest { session, position, rows, sampling, input: _, seen: _ } = step;
    let output = Err(StepFailure::Engine(Arc::new(EngineFailure::Stopped)));
    let elapsed = Duration::ZERO;
    MachineEvent::Computed(StepResult { session, position, rows, sampling, output, elapsed })
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

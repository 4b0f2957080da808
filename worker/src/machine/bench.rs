//! The engine, where it does one job after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_model::package::BlobRole;
use potluck_net::weights::WeightStore;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::BackendPreference;

use super::downloads::Part;
use super::engine::Loaded;
use super::jobs::Done;
use crate::node::{MachineEvent, StepRequest};

/// An engine, what it was given, and where it finds that again.
pub(super) struct Bench {
    pub(super) engine: Option<Loaded>,
    pub(super) store: Arc<WeightStore>,
    /// The server's address, without a path.
    pub(super) server: String,
    pub(super) events: VecDeque<MachineEvent>,
    /// Set when no engine can go on here, with the reason.
    pub(super) end: Option<String>,
}

/// One thing for the engine to do.
pub(super) enum Job {
    /// Find out what computes here, and measure it.
    Start(BackendPreference),
    /// Weights come from this server from now on.
    Server(String),
    /// Parts of this model are on their way, and what came of another one is not wanted any more.
    Expect(ModelId),
    Load(Part),
    Unload(BlobRole),
    /// A session's name and layers, and what it goes on with.
    OpenSession(SessionId, LayerRange, Option<SessionId>),
    KeepSession(SessionId),
    CloseSession(SessionId),
    /// Compute these steps together, at most one of a session.
    Compute(Vec<StepRequest>),
}

impl Bench {
    pub(super) fn new(store: Arc<WeightStore>, server: String) -> Self {
        Self { engine: None, store, server, events: VecDeque::new(), end: None }
    }

    /// Does what comes until nothing can come any more.
    pub(super) async fn work(
        mut self,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        done: mpsc::UnboundedSender<Done>,
    ) {
        while let Some(job) = jobs.next().await {
            self.perform(job).await;
            if done.unbounded_send(Done { events: self.events.drain(..).collect() }).is_err() {
                return;
            }
        }
    }

    pub(super) async fn perform(&mut self, job: Job) {
        match job {
            Job::Start(backend) => self.start_engine(backend).await,
            Job::Server(server) => self.server = server,
            Job::Expect(model) => {
                if let Some(loaded) = &mut self.engine {
                    loaded.expect(model);
                }
            }
            Job::Load(part) => self.load(part).await,
            Job::Unload(role) => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.unload(role);
                    loaded.missing.retain(|missing| *missing != role);
                }
            }
            Job::OpenSession(session, layers, continues) => {
                self.open_session(session, layers, continues).await;
            }
            Job::KeepSession(session) => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.keep_session(session.as_u128());
                }
            }
            Job::CloseSession(session) => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.close_session(session.as_u128());
                }
            }
            Job::Compute(batch) => self.compute(batch).await,
        }
        if let Some(reason) = self.end.take() {
            self.engine = None;
            self.events.push_back(MachineEvent::EngineFailed { reason });
        }
    }
}

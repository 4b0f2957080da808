//! What the node's actions move besides the network: the engine, the weight store, and how fast
//! this machine is.
//!
//! | file | what |
//! |---|---|
//! | `engine` | the engine with what is in it, and parts on their way there |
//! | `speed` | how fast it is, before it has computed for anybody |
//! | `downloads` | what is fetched beside the loop |
//! | `recovery` | a GPU that is gone, and the engine that takes over |
//! | `steps` | steps that wait, and which of them go together |
//! | `batches` | computing them |
//!
//! Everything that comes of an action is an event, and [`Machine::take_events`] is the one way out.

mod batches;
mod downloads;
mod engine;
mod recovery;
mod speed;
mod steps;

use std::collections::VecDeque;

use potluck_net::weights::WeightStore;

use self::downloads::{Downloads, Finished};
use self::engine::Loaded;
use self::steps::Steps;
use crate::node::{Action, MachineEvent};

/// Engine and weights of one node.
pub(crate) struct Machine {
    engine: Option<Loaded>,
    downloads: Downloads,
    steps: Steps,
    events: VecDeque<MachineEvent>,
}

impl Machine {
    pub(crate) fn new(store: WeightStore) -> Self {
        Self {
            engine: None,
            downloads: Downloads::new(store),
            steps: Steps::default(),
            events: VecDeque::new(),
        }
    }

    /// Where weights come from: the server's address, without a path.
    pub(crate) fn set_server(&mut self, server: &str) {
        self.downloads.set_server(server);
    }

    /// What came of everything that was done since the last call, in order.
    pub(crate) fn take_events(&mut self) -> VecDeque<MachineEvent> {
        std::mem::take(&mut self.events)
    }

    /// Waits for something that runs beside the loop, for [`Self::finish`]. Cancel-safe.
    pub(crate) async fn next_finished(&mut self) -> Finished {
        self.downloads.next().await
    }

    /// Does what is left to be done about a download: a part goes into the engine.
    pub(crate) async fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Event(event) => self.events.push_back(event),
            Finished::Part(part) => self.load(part).await,
        }
    }

    /// Does one thing. A download runs beside the loop from then on, and a step waits for
    /// [`Self::compute_next`].
    pub(crate) async fn perform(&mut self, action: Action) {
        match action {
            Action::StartEngine { backend } => self.start_engine(backend).await,
            Action::StopEngine => {
                self.steps.clear();
                self.engine = None;
            }
            Action::FetchManifest { model } => self.downloads.fetch_manifest(model),
            Action::FetchTokenizer { model, blob } => self.downloads.fetch_tokenizer(model, blob),
            Action::FetchBlob { model, manifest, role, blob } => {
                if let Some(loaded) = &mut self.engine {
                    loaded.fetch(model);
                }
                self.downloads.fetch_part(model, manifest, role, blob);
            }
            Action::Unload { role } => {
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.unload(role);
                    loaded.missing.retain(|missing| *missing != role);
                }
            }
            Action::OpenSession { session, layers } => self.open_session(session, layers).await,
            Action::CloseSession { session } => {
                self.steps.forget(session);
                if let Some(loaded) = &mut self.engine {
                    loaded.engine.close_session(session.as_u128());
                }
            }
            Action::Compute(step) => self.steps.push(step),
            Action::Transport(_) | Action::Notice(_) => {} // the loop's own
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
pub(crate) use self::steps::MAX_WAITING_ROWS;

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;

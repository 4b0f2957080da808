//! What does a node's work beside the network: a real engine, and weights straight from the
//! package.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input as EngineInput, OutputRequest, Step};
use potluck_model::package::BlobRole;
use potluck_model::tokenizer::Tokenizer;
use potluck_worker::node::{
    Action, Device, EngineDescription, MachineEvent, StepInput, StepRequest, StepResult,
};

use super::package;

/// One node's.
#[derive(Default)]
pub struct Machine {
    engine: Option<Engine>,
    /// When the engine is done with what it was given so far.
    busy_until: Duration,
}

/// What a step takes in virtual time.
const STEP_TIME: Duration = Duration::from_micros(500);

impl Machine {
    /// Does what the node wants; what comes of it, and when.
    pub fn perform(&mut self, action: Action, now: Duration) -> Option<(Duration, MachineEvent)> {
        let package = package();
        let event = match action {
            Action::StartEngine { .. } => {
                let engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
                let info = engine.backend();
                let event = MachineEvent::EngineReady(EngineDescription {
                    backend: info.kind.to_owned(),
                    adapter: info.adapter.clone(),
                    note: None,
                    macs_per_ms: 1_000,
                    device: Device::Graphics,
                });
                self.engine = Some(engine);
                event
            }
            Action::StopEngine => {
                self.engine = None;
                return None;
            }
            Action::FetchManifest { model } => {
                MachineEvent::Manifest { model, result: Ok(Arc::clone(&package.manifest)) }
            }
            Action::FetchTokenizer { model, blob } => {
                let tokenizer =
                    Tokenizer::from_bytes(&package.blob(&blob.hash.to_string())).unwrap();
                MachineEvent::Tokenizer { model, result: Ok(Arc::new(tokenizer)) }
            }
            Action::FetchBlob { model, manifest, role, blob, may_download: _ } => {
                let bytes = package.blob(&blob.hash.to_string());
                let engine = self.engine.as_mut()?;
                if role == BlobRole::Tables {
                    engine.set_model(manifest, &bytes).unwrap();
                } else {
                    engine.load(role, &bytes).unwrap();
                }
                MachineEvent::Loaded { model, role, result: Ok(()) }
            }
            Action::Unload { role } => {
                self.engine.as_mut()?.unload(role);
                return None;
            }
            Action::OpenSession { session, layers, continues } => {
                let (engine, layers) = (self.engine.as_mut()?, layers.indices());
                let goes_on = continues.is_some_and(|kept| {
                    engine.continue_session(kept.as_u128(), session.as_u128(), &layers)
                });
                if !goes_on {
                    engine.open_session(session.as_u128(), layers).unwrap();
                }
                return None;
            }
            Action::KeepSession { session } => {
                self.engine.as_mut()?.keep_session(session.as_u128());
                return None;
            }
            Action::CloseSession { session } => {
                self.engine.as_mut()?.close_session(session.as_u128());
                return None;
            }
            Action::Compute(step) => {
                let StepRequest { session, position, rows, input, sampling, seen } = step;
                let engine = self.engine.as_mut()?;
                let input = match &input {
                    StepInput::Tokens(tokens) => EngineInput::Tokens(tokens),
                    StepInput::Hidden(values) => EngineInput::Hidden(values),
                };
                let want = sampling.map_or(OutputRequest::Nothing, OutputRequest::Token);
                let (id, seen) = (session.as_u128(), seen.as_deref());
                let step = Step { session: id, position, input, want, seen };
                engine.truncate(id, position);
                let output = block_on(engine.forward_all(&[step])).remove(0).map_err(Into::into);
                self.busy_until = self.busy_until.max(now) + STEP_TIME;
                let elapsed = STEP_TIME;
                let step = StepResult { session, position, rows, output, sampling, elapsed };
                return Some((self.busy_until, MachineEvent::Computed(step)));
            }
            // Nothing is ever on its way here.
            Action::CancelManifest { .. } | Action::CancelBlob { .. } => return None,
            // Time here is virtual, and so are rests.
            Action::SetShare { .. } | Action::KeepBudget { .. } => return None,
            Action::Transport(_) | Action::Notice(_) | Action::Own(_) => return None,
        };
        Some((now, event))
    }
}

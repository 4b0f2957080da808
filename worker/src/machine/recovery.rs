//! A GPU that is gone, and the engine that takes over.
//!
//! A driver is reset, the browser takes the GPU back, its memory is full: it is replaced where it
//! shows, in the middle of a step or of a load. The new engine reads the weights from the store
//! again and resumes the sessions. Nobody who waits for a step sees more than a pause.

use potluck_engine::engine::{BackendChoice, ForwardError, GpuLoss};

use super::bench::Bench;
use crate::failure::EngineFailure;
use crate::node::MachineEvent;

/// Losses after which a GPU is not asked again: a driver that fails so often fails everyone who
/// waits.
pub(super) const MAX_LOSSES: u32 = 3;

impl Bench {
    /// Puts another engine in the place of one whose GPU is gone, with the same weights and
    /// sessions: on a GPU again unless that makes no sense, else on the processor, if it was left
    /// open what computes.
    pub(super) async fn replace_engine(
        &mut self,
        mut loss: GpuLoss,
        mut reason: String,
    ) -> Result<(), EngineFailure> {
        let failure = loop {
            let choice = match self.choose_successor(loss, &reason) {
                Ok(choice) => choice,
                Err(failure) => break failure,
            };
            tracing::warn!(reason, ?choice, "the GPU is gone; another engine takes over");
            let Err(failure) = self.take_over(choice, &reason).await else { return Ok(()) };
            let Some(next_loss) = failure.gpu_loss() else { break failure };
            (loss, reason) = (next_loss, failure.to_string());
        };
        if failure.is_final() {
            self.end = Some(failure.to_string());
        }
        Err(failure)
    }

    /// Where to go on after a loss, which is counted.
    fn choose_successor(
        &mut self,
        loss: GpuLoss,
        reason: &str,
    ) -> Result<BackendChoice, EngineFailure> {
        let lost = self.engine.as_mut().ok_or(EngineFailure::Stopped)?;
        lost.losses += 1;
        let gpu_again = loss == GpuLoss::Device && lost.losses <= MAX_LOSSES;
        match lost.choice {
            choice if gpu_again => Ok(choice),
            BackendChoice::Auto => Ok(BackendChoice::Cpu),
            _ => Err(EngineFailure::Lost { reason: reason.to_owned() }),
        }
    }

    async fn take_over(
        &mut self,
        choice: BackendChoice,
        reason: &str,
    ) -> Result<(), EngineFailure> {
        let (mut engine, mut description) = self.open_engine(choice).await?;
        let model = self.engine.as_ref().and_then(|lost| lost.model.clone());
        if let Some((_, manifest)) = model {
            engine.prove(&manifest.config).await?;
        }
        if choice == BackendChoice::Cpu {
            description.note = Some(format!("computing on the CPU: {reason}"));
        }
        let loaded = self.engine.as_mut().ok_or(EngineFailure::Stopped)?;
        let mut lost = std::mem::replace(&mut loaded.engine, engine);
        let missing = match loaded.engine.take_over(&mut lost) {
            Ok(missing) => missing,
            Err(error) => {
                loaded.engine = lost;
                return Err(error.into());
            }
        };
        // What it held on the GPU makes room for what comes.
        drop(lost);
        loaded.choice = choice;
        loaded.missing.extend(missing);
        // Reported even if something cannot be fetched now: this is what computes from here on.
        if loaded.engine.backend().kind == description.backend {
            self.events.push_back(MachineEvent::EngineReplaced(description));
        } else {
            self.announce_fallback().await?;
        }
        self.refill().await
    }

    pub(super) async fn refill_or_replace(&mut self) -> Result<(), EngineFailure> {
        let Err(failure) = self.refill().await else { return Ok(()) };
        match failure.gpu_loss() {
            Some(loss) => self.replace_engine(loss, failure.to_string()).await,
            None => Err(failure),
        }
    }

    /// Loads what the engine before had and this one has not yet, and resumes the sessions then.
    /// What cannot be had is tried again at the next step.
    async fn refill(&mut self) -> Result<(), EngineFailure> {
        let Some(loaded) = &mut self.engine else { return Ok(()) };
        let Some((_, manifest)) = &loaded.model else { return Ok(()) };
        for (role, blob) in manifest.blobs_for(0..manifest.config.layers) {
            if !loaded.missing.contains(&role) {
                continue;
            }
            let size = blob.size_bytes;
            let bytes = self.store.fetch(&self.server, &blob.hash.0, size, |_| {}).await?;
            loaded.engine.load(role, &bytes)?;
            loaded.missing.retain(|missing| *missing != role);
        }
        match loaded.engine.resume().await {
            // Of a session whose part was unloaded: it would have failed by itself.
            Err(ForwardError::Missing(_)) => Ok(()),
            resumed => Ok(resumed?),
        }
    }
}

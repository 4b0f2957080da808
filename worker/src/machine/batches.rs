//! Steps that wait, computed together.

use std::sync::Arc;
use std::time::Duration;

use potluck_engine::engine::{self, Input, Output, OutputRequest};
use web_time::Instant;

use super::bench::Bench;
use crate::failure::{EngineFailure, StepFailure};
use crate::node::{MachineEvent, StepInput, StepRequest, StepResult};

impl Bench {
    /// Computes steps together.
    pub(super) async fn compute(&mut self, batch: Vec<StepRequest>) {
        let (outputs, elapsed) = self.forward_all(&batch).await;
        let all_rows = batch.iter().map(|step| step.rows).sum::<u32>().max(1);
        let results = batch.into_iter().zip(outputs).map(|(request, output)| {
            let StepRequest { session, position, rows, sampling, input: _, seen: _ } = request;
            // Each has its share of the time: weights are read once for all.
            let elapsed = elapsed * rows / all_rows;
            StepResult { session, position, rows, sampling, output, elapsed }
        });
        self.events.extend(results.map(MachineEvent::Computed));
    }

    /// Steps on the engine, and on another should its GPU be gone; with the time that the engine
    /// which did it took.
    async fn forward_all(
        &mut self,
        batch: &[StepRequest],
    ) -> (Vec<Result<Output, StepFailure>>, Duration) {
        let mut outputs: Vec<Option<Result<Output, StepFailure>>> = Vec::new();
        outputs.resize_with(batch.len(), || None);
        let mut elapsed = Duration::ZERO;
        loop {
            let open: Vec<usize> = (0..batch.len()).filter(|at| outputs[*at].is_none()).collect();
            if open.is_empty() {
                return (outputs.into_iter().flatten().collect(), elapsed);
            }
            let begin = Instant::now();
            let attempt = self.forward_open(batch, &open, &mut outputs).await;
            elapsed = begin.elapsed();
            // Ends: losses are counted, and a processor has none.
            let recovered = match attempt {
                Ok(()) => Ok(()),
                Err(failure) => match failure.gpu_loss() {
                    Some(loss) => self.replace_engine(loss, failure.to_string()).await,
                    None => Err(failure),
                },
            };
            if let Err(failure) = recovered {
                let failure = Arc::new(failure);
                for output in outputs.iter_mut().filter(|output| output.is_none()) {
                    *output = Some(Err(StepFailure::Engine(Arc::clone(&failure))));
                }
            }
        }
    }

    /// Computes those steps of a batch that are open. Steps whose GPU was lost stay open, and the
    /// loss is the error.
    async fn forward_open(
        &mut self,
        batch: &[StepRequest],
        open: &[usize],
        outputs: &mut [Option<Result<Output, StepFailure>>],
    ) -> Result<(), EngineFailure> {
        if self.engine.as_ref().is_some_and(|loaded| !loaded.missing.is_empty()) {
            self.refill_or_replace().await?;
        }
        let loaded = self.engine.as_mut().ok_or(EngineFailure::Stopped)?;
        // A session that goes on with another begins at any position of that one.
        for StepRequest { session, position, .. } in open.iter().map(|at| &batch[*at]) {
            loaded.engine.truncate(session.as_u128(), *position);
        }
        let steps: Vec<engine::Step<'_>> = open.iter().map(|at| engine_step(&batch[*at])).collect();
        let mut loss = Ok(());
        for (at, output) in open.iter().zip(loaded.engine.forward_all(&steps).await) {
            match output {
                Err(error) if error.gpu_loss().is_some() => loss = Err(error.into()),
                output => outputs[*at] = Some(output.map_err(StepFailure::from)),
            }
        }
        loss
    }
}

/// The same step as the engine takes it.
fn engine_step(request: &StepRequest) -> engine::Step<'_> {
    let input = match &request.input {
        StepInput::Tokens(tokens) => Input::Tokens(tokens),
        StepInput::Hidden(values) => Input::Hidden(values),
    };
    let want = request.sampling.map_or(OutputRequest::Nothing, OutputRequest::Token);
    let (session, seen) = (request.session.as_u128(), request.seen.as_deref());
    engine::Step { session, position: request.position, input, want, seen }
}

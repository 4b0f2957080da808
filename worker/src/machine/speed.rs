//! How fast this machine is, before it has computed anything for anybody.
//!
//! The figure is a beginning only: the node mixes in what its real steps take.

use std::time::Duration;

use potluck_engine::engine::Engine;
use potluck_engine::known_answer::{self, SPEED_STEP_MACS};

use crate::failure::EngineFailure;

/// Steps that are timed, a few milliseconds each. The fastest counts: the first ones pay for caches
/// and a processor that was asleep, and whatever else the machine does can only make a step slower.
const TIMED_STEPS: u32 = 12;
/// No further step is timed after so much of them: a program that stands in for a GPU takes tenths
/// of a second each, and the person waits for it.
const ENOUGH: Duration = Duration::from_millis(150);

/// Multiply-accumulates a millisecond in forward steps, once the engine has passed the known-answer
/// test; its model is replaced. `now` is the clock.
pub(super) async fn measure(
    engine: &mut Engine,
    mut now: impl FnMut() -> Duration,
) -> Result<u64, EngineFailure> {
    if known_answer::run(engine).await? != known_answer::EXPECTED {
        return Err(EngineFailure::Wrong { adapter: engine.backend().adapter.clone() });
    }
    let (mut fastest, mut timed) = (Duration::MAX, Duration::ZERO);
    for _ in 0..TIMED_STEPS {
        let begin = now();
        known_answer::speed_step(engine).await?;
        let took = now().saturating_sub(begin);
        fastest = fastest.min(took);
        timed += took;
        if timed >= ENOUGH {
            break;
        }
    }
    let fastest_us = u64::try_from(fastest.as_micros()).unwrap_or(u64::MAX).max(1);
    Ok((SPEED_STEP_MACS.saturating_mul(1000) / fastest_us).max(1))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use futures::executor::block_on;
    use potluck_engine::engine::BackendChoice;

    use super::*;

    #[test]
    fn nothing_but_forward_steps_is_timed() {
        let mut engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
        // A clock on which every reading is 2 ms after the one before.
        let mut readings = 0;
        let clock = || {
            readings += 1;
            Duration::from_millis(2 * readings)
        };
        assert_eq!(block_on(measure(&mut engine, clock)).unwrap(), SPEED_STEP_MACS / 2);
        assert_eq!(
            readings,
            u64::from(2 * TIMED_STEPS),
            "making weights is between no two of them"
        );
    }

    #[test]
    fn a_slow_machine_is_not_measured_for_long() {
        let mut engine = block_on(Engine::new(BackendChoice::Cpu)).unwrap();
        let mut readings = 0;
        let clock = || {
            readings += 1;
            Duration::from_secs(readings)
        };
        assert_eq!(block_on(measure(&mut engine, clock)).unwrap(), SPEED_STEP_MACS / 1000);
        assert_eq!(readings, 2, "one step tells enough");
    }
}

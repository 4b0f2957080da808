//! Waiting for something to become true, with a limit and a sentence about what was awaited.
//!
//! The limit guards against hanging; it is never a measurement. Tests fail by it only if something
//! is really stuck.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

/// How long anything may take before it counts as stuck: several times what the slowest step takes
/// on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Time between two checks. Short, because the demo and the benchmarks wait with it too.
const INTERVAL: Duration = Duration::from_millis(50);

/// Calls `check` again and again until it returns `Ok(Ok(value))`; `Ok(Err(seen))` is "not yet",
/// and the error holds the last `seen` if time runs out.
///
/// # Errors
/// If `check` fails, or [`PATIENCE`] runs out.
pub async fn until<T, S: Debug>(
    what: &str,
    mut check: impl AsyncFnMut() -> anyhow::Result<Result<T, S>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check().await? {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                bail!("waited {} s for {what}; last seen: {seen:?}", PATIENCE.as_secs());
            }
            Err(_) => sleep(INTERVAL).await,
        }
    }
}

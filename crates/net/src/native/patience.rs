//! Time-outs that do not count while this process stands still.
//!
//! After a pause (a laptop's lid, a virtual machine that moves) a deadline may have passed although
//! the other side answered in time. So a time-out is waited for in short steps, of which a pause
//! costs one.

use core::pin::pin;
use core::time::Duration;

use tokio::time::timeout;

/// The most that a pause costs.
const STEP: Duration = Duration::from_secs(1);

/// What `work` comes to, or `None` if it takes longer than `limit` while this process runs.
pub(super) async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    in_steps(limit, STEP, work).await
}

async fn in_steps<T>(limit: Duration, step: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = limit;
    while !left.is_zero() {
        let step = left.min(step);
        if let Ok(done) = timeout(step, &mut work).await {
            return Some(done);
        }
        left -= step;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn what_never_ends_is_given_up_and_what_does_is_not() {
        assert_eq!(in_time(Duration::from_millis(20), core::future::pending::<()>()).await, None);
        assert_eq!(in_time(LIMIT, async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_pause_of_this_process_costs_one_step() {
        let paused_halfway = || async {
            std::thread::sleep(2 * LIMIT);
            // Not at once, as after a pause an answer still has to be read.
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(in_steps(LIMIT, LIMIT / 10, paused_halfway()).await, Some(()));
        assert!(timeout(LIMIT, paused_halfway()).await.is_err(), "what this is for");
    }
}

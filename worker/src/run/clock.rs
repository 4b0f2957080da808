//! The node's time, which stands still while this machine sleeps.
//!
//! A lid that is closed for an hour is not an hour in which peers and server were silent. Some
//! platforms' steady clocks know that by themselves, and others, as those of a process that was
//! stopped, do not; the calendar's clock always goes on.

use std::time::Duration;

/// The time by both clocks, since the loop started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    /// By the steady clock.
    pub(super) steady: Duration,
    /// By the calendar's.
    pub(super) calendar: Duration,
}

/// The clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Reading,
    asleep: Duration,
    woke: bool,
}

/// The loop looks at the clock at least every tick. So long after the last look, it did not run:
/// many ticks, so that a busy machine is not taken for a sleeping one, and less than any wait for a
/// peer or the server.
const ASLEEP: Duration = Duration::from_secs(3);

impl Clock {
    /// The node's time at a reading. `busy`: how long the loop was kept from looking at the clock by
    /// its own work.
    pub(super) fn now(&mut self, reading: Reading, busy: Duration) -> Duration {
        let since = |now: Duration, last: Duration| now.saturating_sub(last).saturating_sub(busy);
        let steady = since(reading.steady, self.last.steady);
        // Somebody may set it, in either direction; a node that believes it slept asks the server
        // whether it is there, and that is all.
        let calendar = since(reading.calendar, self.last.calendar);
        if steady >= ASLEEP {
            self.asleep += steady;
        }
        self.woke |= steady.max(calendar) >= ASLEEP;
        self.last = Reading { steady: reading.steady.max(self.last.steady), ..reading };
        self.last.steady.saturating_sub(self.asleep)
    }

    /// Whether this machine was asleep since this was last asked.
    pub(super) fn take_woke(&mut self) -> bool {
        std::mem::take(&mut self.woke)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_ms: u64, calendar_ms: u64) -> Reading {
        let [steady, calendar] = [steady_ms, calendar_ms].map(Duration::from_millis);
        Reading { steady, calendar }
    }

    #[test]
    fn time_that_a_stopped_process_misses_does_not_pass() {
        let mut clock = Clock::default();
        assert_eq!(clock.now(at(250, 250), Duration::ZERO), Duration::from_millis(250));
        assert!(!clock.take_woke());
        assert_eq!(clock.now(at(7_250, 7_250), Duration::ZERO), Duration::from_millis(250));
        assert!(clock.take_woke());
        assert!(!clock.take_woke(), "once");
        assert_eq!(clock.now(at(7_500, 7_500), Duration::ZERO), Duration::from_millis(500));
    }

    #[test]
    fn a_closed_lid_shows_by_the_calendar_where_the_steady_clock_stood_still() {
        let mut clock = Clock::default();
        assert_eq!(clock.now(at(250, 3_600_000), Duration::ZERO), Duration::from_millis(250));
        assert!(clock.take_woke());
        // Set back: nothing.
        assert_eq!(clock.now(at(500, 100), Duration::ZERO), Duration::from_millis(500));
        assert!(!clock.take_woke());
    }

    #[test]
    fn work_is_no_sleep() {
        let mut clock = Clock::default();
        let busy = Duration::from_secs(9);
        assert_eq!(clock.now(at(9_250, 9_250), busy), Duration::from_millis(9_250));
        assert!(!clock.take_woke());
        assert_eq!(clock.now(at(9_200, 9_200), Duration::ZERO), Duration::from_millis(9_250));
    }
}

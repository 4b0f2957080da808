//! Time as this process lived it.
//!
//! A laptop's lid closes, a virtual machine moves, a browser freezes a tab: afterwards everything
//! seems to have been silent for long, though it was this process that did not listen. Such a pause
//! counts as [`LONGEST_STEP`], so that nobody is given up for it.

use core::time::Duration;

/// The most that counts between two moments at which this process did something. Ticks come every
/// tenth of a second, in a background tab every second.
pub(super) const LONGEST_STEP: Duration = Duration::from_secs(2);

/// A clock that stands still while the process does.
#[derive(Debug, Default)]
pub(super) struct AwakeClock {
    last: Option<Duration>,
    paused: Duration,
}

impl AwakeClock {
    /// The time lived at `now`, since the same moment.
    pub(super) fn at(&mut self, now: Duration) -> Duration {
        let step = now.saturating_sub(self.last.unwrap_or(now));
        self.paused += step.saturating_sub(LONGEST_STEP);
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        now.saturating_sub(self.paused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_as_one_step_and_steps_add_up() {
        let at = Duration::from_millis;
        let mut clock = AwakeClock::default();
        assert_eq!(clock.at(at(5_000)), at(5_000));
        assert_eq!(clock.at(at(7_000)), at(7_000));
        assert_eq!(clock.at(at(67_000)), at(9_000), "a minute asleep");
        assert_eq!(clock.at(at(67_100)), at(9_100));
        assert_eq!(clock.at(at(67_100)), at(9_100));
    }
}

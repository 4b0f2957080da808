//! How fast a node is. What it says is a first guess, within bounds; what others signed for it shows
//! how much it has done in how much time.
//!
//! A stage spends most of a session waiting for the others, so what it has shown is less than what
//! it can do. It is believed to be as fast as it says, but not slower than it has shown, nor more
//! than [`HEADROOM`] times as fast.
//!
//! A node may say that it is throttled, by a share of the speed that it registered with. It is taken
//! to be that much slower at once; that it is faster again it has to show, within the same bounds.

use std::time::Duration;

use potluck_protocol::server::Capabilities;

/// The slowest that anybody is taken to be, multiply-accumulates a millisecond: an old telephone.
pub(super) const SLOWEST: u64 = 2_000_000;
/// The fastest that a node is taken to be on its word alone, multiply-accumulates a millisecond: a
/// good tab. Whoever has more shows it by work.
pub(super) const FASTEST_GUESS: u64 = 64_000_000;
/// The fastest that anybody is taken to have shown: a rack of GPUs.
const FASTEST: u64 = 10_000_000_000;
/// The most memory that is believed, bytes: a large server's. What is promised and not there ends in
/// layers that never become ready.
const MOST_MEMORY: u64 = 1 << 40;
/// How many times as fast as it has shown a node may be: it waits while the other stages of a
/// pipeline compute.
const HEADROOM: u64 = 16;
/// Work is summed up at least so long before it counts as a sample: receipts come in bursts.
const SAMPLE: Duration = Duration::from_secs(1);
/// Samples that count before anything is concluded from them.
const SAMPLES: u32 = 4;
/// How many times the estimate a single sample may be: one wrong receipt moves little.
const MOST_OF_A_SAMPLE: u64 = 2;

/// What a node has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// When the work that is being summed up began.
    since: Duration,
    /// The work since then.
    macs: u64,
    /// The moving estimate, multiply-accumulates a millisecond.
    estimate: u64,
    samples: u32,
}

impl Shown {
    /// The node has a session after a time without any: what it waited does not count.
    pub(super) fn begin(&mut self, now: Duration) {
        self.since = now;
        self.macs = 0;
    }

    /// So much work of it was credited.
    pub(super) fn record(&mut self, macs: u64, now: Duration) {
        self.macs = self.macs.saturating_add(macs);
        let elapsed = now.saturating_sub(self.since);
        if elapsed < SAMPLE {
            return;
        }
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let sample = (self.macs / ms).min(FASTEST);
        self.estimate = if self.samples == 0 {
            sample.min(FASTEST_GUESS)
        } else {
            let sample = sample.min(self.estimate.max(SLOWEST) * MOST_OF_A_SAMPLE);
            (3 * self.estimate + sample) / 4
        };
        self.samples = self.samples.saturating_add(1);
        self.begin(now);
    }

    /// Whether there is enough to go by.
    pub(super) fn is_enough(&self) -> bool {
        self.samples >= SAMPLES
    }

    /// The node works at another share of its speed from now on: what it has shown before says less
    /// about a slower one, and nothing about a faster one.
    pub(super) fn change_pace(&mut self, before: Pace, after: Pace, now: Duration) {
        if after < before {
            self.estimate = self.estimate * u64::from(after.0) / u64::from(before.0);
        }
        // What was summed up so far was done at the other pace.
        self.begin(now);
    }

    /// Multiply-accumulates a millisecond of a node that says it has `said`, of which it gives so
    /// much.
    pub(super) fn macs_per_ms(&self, said: u64, pace: Pace) -> u64 {
        let guess = said.min(FASTEST_GUESS) * u64::from(pace.0) / u64::from(Pace::FULL.0);
        let guess = guess.max(SLOWEST);
        if !self.is_enough() {
            return guess;
        }
        guess.min((self.estimate * HEADROOM).max(SLOWEST)).max(self.estimate)
    }
}

/// The share of the speed that it registered with at which a node works, percent: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pace(u8);

impl Pace {
    pub(super) const FULL: Self = Self(100);

    /// `None` for a node that works not at all. More than all of its speed is all of it.
    pub(super) fn new(percent: u8) -> Option<Self> {
        (percent > 0).then(|| Self(percent.min(Self::FULL.0)))
    }
}

/// The memory that counts.
pub(super) fn memory_bytes(capabilities: &Capabilities) -> u64 {
    capabilities.memory_bytes.min(MOST_MEMORY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(macs_per_s: u64, seconds: u64) -> Shown {
        let mut shown = Shown::default();
        for second in 1..=seconds {
            shown.record(macs_per_s, Duration::from_secs(second));
        }
        shown
    }

    #[test]
    fn what_a_node_says_is_believed_within_bounds() {
        let new = Shown::default();
        assert_eq!(new.macs_per_ms(0, Pace::FULL), SLOWEST);
        assert_eq!(new.macs_per_ms(5_000_000, Pace::FULL), 5_000_000);
        assert_eq!(new.macs_per_ms(u64::MAX, Pace::FULL), FASTEST_GUESS);
    }

    #[test]
    fn what_it_has_shown_bounds_what_it_says() {
        let shown = shown(1_000_000_000, 8);
        // A million a millisecond: not more than sixteen times that.
        assert_eq!(shown.macs_per_ms(u64::MAX, Pace::FULL), 16_000_000);
        assert_eq!(shown.macs_per_ms(3_000_000, Pace::FULL), 3_000_000);
        assert_eq!(shown.macs_per_ms(0, Pace::FULL), SLOWEST);
    }

    #[test]
    fn a_node_is_no_slower_than_it_has_shown() {
        assert_eq!(shown(30_000_000_000, 8).macs_per_ms(0, Pace::FULL), 30_000_000);
    }

    #[test]
    fn one_sample_moves_little() {
        let mut shown = shown(10_000_000_000, 8);
        shown.record(u64::MAX, Duration::from_secs(9));
        assert_eq!(shown.macs_per_ms(0, Pace::FULL), 12_500_000);
    }

    #[test]
    fn a_throttled_node_is_the_slower_node_that_it_is() {
        let pace = |percent| Pace::new(percent).unwrap();
        let new = Shown::default();
        assert_eq!(new.macs_per_ms(50_000_000, pace(30)), 15_000_000);
        assert_eq!(new.macs_per_ms(u64::MAX, pace(50)), FASTEST_GUESS / 2);
        assert_eq!(new.macs_per_ms(u64::MAX, pace(1)), SLOWEST);
        let mut shown = shown(30_000_000_000, 8);
        assert_eq!(shown.macs_per_ms(0, Pace::FULL), 30_000_000);
        let now = Duration::from_secs(8);
        shown.change_pace(Pace::FULL, pace(50), now);
        assert_eq!(shown.macs_per_ms(0, pace(50)), 15_000_000, "what it has shown is less now");
        assert_eq!(shown.macs_per_ms(60_000_000, pace(50)), 30_000_000, "and it may have more");
    }

    #[test]
    fn slowing_down_and_speeding_up_makes_nobody_faster() {
        let pace = |percent| Pace::new(percent).unwrap();
        let mut shown = shown(1_000_000_000, 8);
        let before = shown.macs_per_ms(u64::MAX, Pace::FULL);
        for second in 9..40 {
            let now = Duration::from_secs(second);
            shown.change_pace(Pace::FULL, pace(1), now);
            shown.change_pace(pace(1), Pace::FULL, now);
            assert!(shown.macs_per_ms(u64::MAX, Pace::FULL) <= before);
        }
        // And nothing is as slow as to have to show more than anybody can.
        assert_eq!(shown.macs_per_ms(u64::MAX, Pace::FULL), SLOWEST);
    }

    #[test]
    fn what_is_no_share_is_none_or_all() {
        assert_eq!(Pace::new(0), None);
        assert_eq!(Pace::new(255), Some(Pace::FULL));
    }

    #[test]
    fn waiting_for_a_session_is_not_slowness() {
        let mut shown = shown(10_000_000_000, 8);
        shown.begin(Duration::from_secs(1_000));
        shown.record(10_000_000_000, Duration::from_secs(1_001));
        assert_eq!(shown.macs_per_ms(0, Pace::FULL), 10_000_000);
    }
}

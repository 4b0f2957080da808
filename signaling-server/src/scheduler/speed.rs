//! How fast a node is. What it says is a first guess, within bounds; what others signed for it shows
//! how much it has done in how much time.
//!
//! A stage spends most of a session waiting for the others, so what it has shown is less than what
//! it can do. It is believed to be as fast as it says, but not slower than it has shown, nor more
//! than [`HEADROOM`] times as fast.

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

    /// Multiply-accumulates a millisecond of a node that says it has `said`.
    pub(super) fn macs_per_ms(&self, said: u64) -> u64 {
        let guess = said.clamp(SLOWEST, FASTEST_GUESS);
        if !self.is_enough() {
            return guess;
        }
        guess.min((self.estimate * HEADROOM).max(SLOWEST)).max(self.estimate)
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
        assert_eq!(new.macs_per_ms(0), SLOWEST);
        assert_eq!(new.macs_per_ms(5_000_000), 5_000_000);
        assert_eq!(new.macs_per_ms(u64::MAX), FASTEST_GUESS);
    }

    #[test]
    fn what_it_has_shown_bounds_what_it_says() {
        let shown = shown(1_000_000_000, 8);
        // A million a millisecond: not more than sixteen times that.
        assert_eq!(shown.macs_per_ms(u64::MAX), 16_000_000);
        assert_eq!(shown.macs_per_ms(3_000_000), 3_000_000);
        assert_eq!(shown.macs_per_ms(0), SLOWEST);
    }

    #[test]
    fn a_node_is_no_slower_than_it_has_shown() {
        assert_eq!(shown(30_000_000_000, 8).macs_per_ms(0), 30_000_000);
    }

    #[test]
    fn one_sample_moves_little() {
        let mut shown = shown(10_000_000_000, 8);
        shown.record(u64::MAX, Duration::from_secs(9));
        assert_eq!(shown.macs_per_ms(0), 12_500_000);
    }

    #[test]
    fn waiting_for_a_session_is_not_slowness() {
        let mut shown = shown(10_000_000_000, 8);
        shown.begin(Duration::from_secs(1_000));
        shown.record(10_000_000_000, Duration::from_secs(1_001));
        assert_eq!(shown.macs_per_ms(0), 10_000_000);
    }
}

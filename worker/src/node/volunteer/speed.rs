//! A machine's speed: measured before it computes for anybody, then mixed with what its steps take.

use std::time::Duration;

/// Multiply-accumulates done, and the time they took.
#[derive(Debug)]
pub(super) struct Speed {
    macs: u64,
    us: u64,
}

/// The measurement at the start counts like so much time of real steps: enough to outweigh the
/// first few, which pay for cold caches, and little beside a single long answer.
const MEASUREMENT_WEIGHT: Duration = Duration::from_secs(1);
/// Beyond so much time both sums are halved, so that what a machine does now (on its battery,
/// beside a game) outweighs what it did once.
const MEMORY: Duration = Duration::from_secs(60);

impl Speed {
    pub(super) fn new(measured_macs_per_ms: u64) -> Self {
        let us = micros(MEASUREMENT_WEIGHT);
        Self { macs: measured_macs_per_ms.saturating_mul(us / 1000), us }
    }

    /// A step took so long. What it did beside its matrices counts as time alone.
    pub(super) fn record(&mut self, macs: u64, elapsed: Duration) {
        if macs == 0 {
            return; // of a session that is over
        }
        self.macs = self.macs.saturating_add(macs);
        self.us = self.us.saturating_add(micros(elapsed));
        if self.us > micros(MEMORY) {
            (self.macs, self.us) = (self.macs / 2, self.us / 2);
        }
    }

    /// At least 1: a speed of 0 would stand for a machine that computes nothing.
    pub(super) fn macs_per_ms(&self) -> u64 {
        let macs_per_ms = u128::from(self.macs) * 1000 / u128::from(self.us.max(1));
        u64::try_from(macs_per_ms).unwrap_or(u64::MAX).max(1)
    }

    /// True if it is a quarter away from `other` or more: less is noise, and nothing to plan anew
    /// for.
    pub(super) fn differs_from(&self, other: u64) -> bool {
        self.macs_per_ms().abs_diff(other) >= (other / 4).max(1)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_steps_outweigh_the_measurement_after_a_while() {
        let mut speed = Speed::new(8_000);
        assert_eq!(speed.macs_per_ms(), 8_000);
        // Steps at a quarter of the speed that was measured.
        speed.record(2_000_000, Duration::from_secs(1));
        assert_eq!(speed.macs_per_ms(), 5_000);
        assert!(speed.differs_from(8_000));
        for _ in 0..1_000 {
            speed.record(2_000_000, Duration::from_secs(1));
        }
        assert!((2_000..2_050).contains(&speed.macs_per_ms()), "{}", speed.macs_per_ms());
        assert!(!speed.differs_from(2_100));
    }

    #[test]
    fn the_past_is_forgotten() {
        let mut speed = Speed::new(1_000);
        for _ in 0..10_000 {
            speed.record(1_000_000, Duration::from_secs(1));
        }
        for _ in 0..120 {
            speed.record(3_000_000, Duration::from_secs(1));
        }
        assert!(speed.macs_per_ms() > 2_800, "{}", speed.macs_per_ms());
    }
}

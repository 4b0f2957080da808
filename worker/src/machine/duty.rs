//! The share of its time that the engine works: after a batch that took `t`, it rests
//! `t × (100 − share) / share` before the next one.
//!
//! Only the time is shared out here, not who computes: steps that wait do so in `steps`, and the
//! loop goes on meanwhile, so that a pause or a Stop in the middle of a rest works at once. A rest
//! runs while the engine would have nothing to do anyway: who waits for others has rested.

use std::time::Duration;

/// When the engine may begin its next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duty {
    /// Of the time, 1 to 100.
    percent: u32,
    /// What the last batch took, until somebody with a clock has looked.
    worked: Duration,
    rests_until: Duration,
}

/// The longest rest. A requester gives a stage up that brings nothing for 30 s; a batch so long that
/// it ought to rest for longer is one prompt, and does not come again with the next token.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// The whole of the time.
const WHOLE: u32 = 100;

impl Default for Duty {
    fn default() -> Self {
        Self { percent: WHOLE, worked: Duration::ZERO, rests_until: Duration::ZERO }
    }
}

impl Duty {
    /// From now on the engine works so much of the time; less than one percent counts as one, as
    /// what is to compute nothing at all is not given anything. A rest that has begun is not cut
    /// short.
    pub(super) fn set_percent(&mut self, percent: u32) {
        self.percent = percent.clamp(1, WHOLE);
    }

    /// A batch took so long.
    pub(super) fn note(&mut self, took: Duration) {
        self.worked += took;
    }

    /// When the next batch may begin; `now` is the loop's time, and the end of what was noted since
    /// the last look.
    pub(super) fn next(&mut self, now: Duration) -> Duration {
        let worked = std::mem::take(&mut self.worked);
        if !worked.is_zero() {
            self.rests_until = now + self.rest(worked);
        }
        self.rests_until
    }

    fn rest(&self, worked: Duration) -> Duration {
        (worked * (WHOLE - self.percent) / self.percent).min(LONGEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The rest after a batch of 30 ms.
    fn rest(percent: u32) -> Duration {
        let mut duty = Duty::default();
        duty.set_percent(percent);
        duty.note(30 * MS);
        duty.next(1_000 * MS) - 1_000 * MS
    }

    #[test]
    fn a_rest_makes_the_batch_before_it_the_share_that_was_given() {
        assert_eq!(rest(100), Duration::ZERO);
        assert_eq!(rest(75), 10 * MS);
        assert_eq!(rest(50), 30 * MS);
        assert_eq!(rest(30), 70 * MS);
        assert_eq!(rest(10), 270 * MS);
        assert_eq!(rest(1), 2_970 * MS);
    }

    #[test]
    fn over_many_batches_the_engine_works_its_share() {
        for percent in [1, 10, 30, 50, 99, 100] {
            let mut duty = Duty::default();
            duty.set_percent(percent);
            let (mut now, mut worked) = (Duration::ZERO, Duration::ZERO);
            for batch in 1..=100 {
                now = now.max(duty.next(now)) + batch * MS;
                worked += batch * MS;
                duty.note(batch * MS);
            }
            let whole = duty.next(now).as_millis();
            assert_eq!(worked.as_millis() * 100 / whole, u128::from(percent));
        }
    }

    #[test]
    fn shares_out_of_bounds_and_batches_without_end_rest_for_a_bounded_time() {
        assert_eq!(rest(0), rest(1));
        assert_eq!(rest(u32::MAX), Duration::ZERO);
        let mut duty = Duty::default();
        duty.set_percent(1);
        duty.note(Duration::from_secs(3_600));
        assert_eq!(duty.next(Duration::ZERO), LONGEST_REST);
    }

    #[test]
    fn waiting_for_others_is_a_rest_and_a_look_begins_none() {
        let mut duty = Duty::default();
        duty.set_percent(50);
        duty.note(40 * MS);
        assert_eq!(duty.next(100 * MS), 140 * MS);
        assert_eq!(duty.next(130 * MS), 140 * MS, "looking again does not begin it anew");
        assert_eq!(duty.next(900 * MS), 140 * MS, "and by now it is over");
    }

    #[test]
    fn a_larger_share_counts_from_the_next_batch_on() {
        let mut duty = Duty::default();
        duty.set_percent(10);
        duty.note(10 * MS);
        assert_eq!(duty.next(Duration::ZERO), 90 * MS);
        duty.set_percent(100);
        assert_eq!(duty.next(Duration::ZERO), 90 * MS);
        duty.note(10 * MS);
        assert_eq!(duty.next(100 * MS), 100 * MS);
    }
}

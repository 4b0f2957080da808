//! How much the swarm computes, from counters that were looked at now and then.

use std::collections::VecDeque;
use std::time::Duration;

/// Rows of so long ago say nothing about now.
const WINDOW: Duration = Duration::from_secs(10);

/// The last seconds' counts.
#[derive(Debug, Default)]
pub(super) struct RowRate {
    /// When, and how many rows had been counted by then.
    counted: VecDeque<(Duration, u64)>,
    last_rows: u64,
    total: u64,
}

impl RowRate {
    /// Rows a second by all nodes together, rounded to a tenth, when at `now` they have computed
    /// `rows` since each of them joined. When one leaves, its rows go with it: that is no negative
    /// work.
    pub(super) fn at(&mut self, now: Duration, rows: u64) -> f64 {
        if !self.counted.is_empty() {
            self.total += rows.saturating_sub(self.last_rows);
        }
        self.last_rows = rows;
        // One from before the window's beginning is kept, if there is a newer one within it.
        let begin = now.saturating_sub(WINDOW);
        while self.counted.get(1).is_some_and(|(at, _)| *at <= begin) {
            self.counted.pop_front();
        }
        self.counted.push_back((now, self.total));
        let (since, before) = self.counted[0];
        let seconds = now.saturating_sub(since).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        let rate = (self.total - before) as f64 / seconds;
        (rate * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(counts: &[(u64, u64)]) -> Vec<f64> {
        let mut rate = RowRate::default();
        counts.iter().map(|(s, rows)| rate.at(Duration::from_secs(*s), *rows)).collect()
    }

    #[test]
    fn the_last_seconds_count() {
        assert_eq!(rates(&[(0, 500), (1, 505), (2, 511)]), [0.0, 5.0, 5.5]);
        // What was computed before anybody looked is not lately.
        assert_eq!(rates(&[(100, 500)]), [0.0]);
        let idle: Vec<_> =
            (0..30).map(|second| (second, if second < 2 { 0 } else { 70 })).collect();
        let idle = rates(&idle);
        assert_eq!(idle[2], 35.0);
        assert_eq!(idle[10], 7.0);
        assert_eq!(idle[13..], [0.0; 17], "work of 11 s ago is forgotten");
    }

    #[test]
    fn whoever_leaves_takes_no_work_back() {
        assert_eq!(rates(&[(0, 500), (1, 520), (2, 30), (3, 50)]), [0.0, 20.0, 10.0, 13.3]);
    }
}

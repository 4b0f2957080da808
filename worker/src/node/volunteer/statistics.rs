//! What a stage measures about its own work: a median and a recent rate.

use std::collections::VecDeque;
use std::time::Duration;

/// Steps remembered for the median: a minute or so of one answer, small enough to sort on demand.
const REMEMBERED_STEPS: usize = 256;
/// The rate is over this much of the recent past.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Counters since lending began.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// Rows computed.
    pub(super) rows: u64,
    /// Microseconds of recent single-row steps; prompts, many rows at once, would blur what a token
    /// costs.
    decode_us: VecDeque<u32>,
    recent: VecDeque<(Duration, u32)>,
}

impl Statistics {
    pub(super) fn record(&mut self, rows: u32, elapsed: Duration, now: Duration) {
        self.rows += u64::from(rows);
        self.recent.push_back((now, rows));
        self.forget(now);
        if rows == 1 {
            if self.decode_us.len() == REMEMBERED_STEPS {
                self.decode_us.pop_front();
            }
            self.decode_us.push_back(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Median time of a single row, microseconds; 0 before the first.
    pub(super) fn us_per_token_p50(&self) -> u32 {
        let mut sorted: Vec<u32> = self.decode_us.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }

    /// Rows a second over the recent past, in thousandths.
    pub(super) fn milli_rows_per_second(&mut self, now: Duration) -> u64 {
        self.forget(now);
        let rows: u64 = self.recent.iter().map(|(_, rows)| u64::from(*rows)).sum();
        let Some((first, _)) = self.recent.front() else { return 0 };
        let span_ms =
            u64::try_from(now.saturating_sub(*first).as_millis()).unwrap_or(u64::MAX).max(1_000);
        rows * 1_000_000 / span_ms
    }

    fn forget(&mut self, now: Duration) {
        while self.recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) > RATE_WINDOW) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_single_rows() {
        let mut statistics = Statistics::default();
        for us in [5_000, 1_000, 3_000] {
            statistics.record(1, Duration::from_micros(us), Duration::ZERO);
        }
        statistics.record(64, Duration::from_secs(1), Duration::ZERO);
        assert_eq!(statistics.us_per_token_p50(), 3_000);
        assert_eq!(statistics.rows, 67);
    }

    #[test]
    fn the_rate_forgets() {
        let mut statistics = Statistics::default();
        for second in 0..4 {
            statistics.record(10, Duration::ZERO, Duration::from_secs(second));
        }
        assert_eq!(statistics.milli_rows_per_second(Duration::from_secs(4)), 10_000);
        assert_eq!(statistics.milli_rows_per_second(Duration::from_secs(60)), 0);
    }
}

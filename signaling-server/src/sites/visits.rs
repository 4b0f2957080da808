//! Who lends at which site just now, and how much of that time was counted already.
//!
//! Each second is counted once: while a visit goes on, or at its end. What was counted is no visit's any
//! more, so nothing is counted again after a restart.

use std::collections::HashMap;
use std::time::Duration;

use potluck_protocol::id::SiteKey;
use tokio::time::Instant;

/// Which visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Number(u64);

/// Visits that go on: at most one of every connection.
#[derive(Debug, Default)]
pub(super) struct Visits {
    last: u64,
    /// Where it is, and until when it was counted.
    running: HashMap<Number, (SiteKey, Instant)>,
}

impl Visits {
    pub(super) fn begin(&mut self, site: SiteKey, now: Instant) -> Number {
        self.last += 1;
        let number = Number(self.last);
        self.running.insert(number, (site, now));
        number
    }

    /// Whole seconds of every visit that were not counted yet; they are now.
    pub(super) fn count(&mut self, now: Instant) -> Vec<(SiteKey, u64)> {
        let visit = |(site, counted): &mut (SiteKey, Instant)| {
            let seconds = now.saturating_duration_since(*counted).as_secs();
            *counted += Duration::from_secs(seconds);
            (*site, seconds)
        };
        self.running.values_mut().map(visit).filter(|(_, seconds)| *seconds > 0).collect()
    }

    /// A visit is over; its seconds that were not counted yet.
    pub(super) fn end(&mut self, number: Number, now: Instant) -> Option<u64> {
        let (_, counted) = self.running.remove(&number)?;
        Some(now.saturating_duration_since(counted).as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_counted_once() {
        let (one, other) = (SiteKey([1; 16]), SiteKey([2; 16]));
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let mut visits = Visits::default();
        let (first, second) = (visits.begin(one, at(0)), visits.begin(other, at(500)));
        assert_eq!(visits.count(at(400)), []);
        let mut counted = visits.count(at(60_400));
        counted.sort_unstable();
        assert_eq!(counted, [(one, 60), (other, 59)]);
        assert_eq!(visits.count(at(60_450)), []);
        assert_eq!(visits.end(first, at(61_100)), Some(1));
        assert_eq!(visits.end(first, at(90_000)), None);
        assert_eq!(visits.count(at(61_700)), [(other, 2)]);
        assert_eq!(visits.end(second, at(61_700)), Some(0));
        assert_eq!(visits.count(at(99_000)), []);
    }
}

//! What happened at sites since it was last written down.

use std::collections::HashMap;

use potluck_protocol::id::SiteKey;
use potluck_protocol::site::DayCounts;

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The widget's document was served.
    Shown,
    /// Somebody said yes.
    Accepted,
    /// Somebody said no.
    Refused,
    /// A visitor lent for so long.
    Seconds(u64),
    /// A visitor was credited with so many multiply-accumulates.
    Macs(u64),
}

/// Counts by site and day. Only of registered sites, which are bounded in number.
#[derive(Debug, Default)]
pub(super) struct Counts(HashMap<(SiteKey, u32), DayCounts>);

/// Seconds of a day.
const DAY_S: u64 = 24 * 60 * 60;

impl Counts {
    pub(super) fn count(&mut self, site: SiteKey, now_s: u64, what: Counted) {
        let day = u32::try_from(now_s / DAY_S).unwrap_or(u32::MAX);
        let empty = DayCounts { day, ..DayCounts::default() };
        let of_day = self.0.entry((site, day)).or_insert(empty);
        let (count, by) = match what {
            Counted::Shown => (&mut of_day.shown, 1),
            Counted::Accepted => (&mut of_day.accepted, 1),
            Counted::Refused => (&mut of_day.refused, 1),
            Counted::Seconds(seconds) => (&mut of_day.seconds, seconds),
            Counted::Macs(macs) => (&mut of_day.macs, macs),
        };
        *count = count.saturating_add(by);
    }

    /// A visitor lent for so long until now: each day has its part.
    pub(super) fn count_seconds(&mut self, site: SiteKey, now_s: u64, mut seconds: u64) {
        let mut until_s = now_s;
        while seconds > 0 {
            // Of the day that the second before `until_s` is in.
            let of_day = seconds.min((until_s.max(1) - 1) % DAY_S + 1);
            self.count(site, until_s.saturating_sub(of_day), Counted::Seconds(of_day));
            until_s = until_s.saturating_sub(of_day);
            seconds -= of_day;
        }
    }

    pub(super) fn take(&mut self) -> Vec<(SiteKey, DayCounts)> {
        std::mem::take(&mut self.0).into_iter().map(|((site, _), counts)| (site, counts)).collect()
    }

    /// What could not be written down, beside what came meanwhile.
    pub(super) fn put_back(&mut self, counted: Vec<(SiteKey, DayCounts)>) {
        for (site, counts) in counted {
            let empty = DayCounts { day: counts.day, ..DayCounts::default() };
            let of_day = self.0.entry((site, counts.day)).or_insert(empty);
            of_day.shown += counts.shown;
            of_day.accepted += counts.accepted;
            of_day.refused += counts.refused;
            of_day.seconds += counts.seconds;
            of_day.macs = of_day.macs.saturating_add(counts.macs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_of_two_days() {
        let site = SiteKey([1; 16]);
        let of = |now_s: u64, seconds: u64| {
            let mut counts = Counts::default();
            counts.count_seconds(site, now_s, seconds);
            let mut days: Vec<_> =
                counts.take().into_iter().map(|(_, day)| (day.day, day.seconds)).collect();
            days.sort_unstable();
            days
        };
        assert_eq!(of(5 * DAY_S + 20, 60), [(4, 40), (5, 20)]);
        assert_eq!(of(5 * DAY_S, 60), [(4, 60)]);
        assert_eq!(of(5 * DAY_S + 60, 60), [(5, 60)]);
        assert_eq!(of(5 * DAY_S + 1, 2 * DAY_S), [(3, DAY_S - 1), (4, DAY_S), (5, 1)]);
        assert_eq!(of(7, 0), []);
    }

    #[test]
    fn counts_are_by_site_and_day_and_none_is_lost() {
        let (one, other) = (SiteKey([1; 16]), SiteKey([2; 16]));
        let mut counts = Counts::default();
        for (site, now_s, what) in [
            (one, 0, Counted::Shown),
            (one, DAY_S - 1, Counted::Shown),
            (one, DAY_S, Counted::Refused),
            (other, 5, Counted::Seconds(90)),
            (other, 6, Counted::Macs(7)),
        ] {
            counts.count(site, now_s, what);
        }
        let taken = counts.take();
        assert!(counts.take().is_empty());
        counts.count(one, 1, Counted::Accepted);
        counts.put_back(taken);
        let mut all = counts.take();
        all.sort_by_key(|(site, counts)| (*site, counts.day));
        let empty = DayCounts::default();
        assert_eq!(
            all,
            [
                (one, DayCounts { shown: 2, accepted: 1, ..empty }),
                (one, DayCounts { day: 1, refused: 1, ..empty }),
                (other, DayCounts { seconds: 90, macs: 7, ..empty }),
            ]
        );
    }
}

//! Bytes fetched and sent in a day, against what the volunteer allows.
//!
//! Copies that are here already cost nothing. A day is one of the calendar in universal time. What
//! was spent is written down as a line, which the machine keeps where it keeps its copies of
//! weights; where nothing is kept, every reload begins with nothing spent, as it begins without
//! copies.

use std::collections::BTreeMap;

use potluck_model::package::BlobRole;

/// What was spent of a day's bytes, and what is about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Budget {
    /// Days since 1970 of what was spent.
    day: u64,
    spent_bytes: u64,
    /// What was kept is in it.
    is_restored: bool,
    /// Sizes of the parts that are being fetched: so much may still come.
    promised: BTreeMap<BlobRole, u64>,
}

/// Seconds of a day; leap seconds have no place in Unix time.
const DAY_S: u64 = 24 * 3_600;

impl Budget {
    /// What was kept by the node before this one; a line that makes no sense counts as none. Only once:
    /// each engine's start brings it.
    pub(super) fn restore(&mut self, kept: &str, unix_s: u64) {
        if std::mem::replace(&mut self.is_restored, true) {
            return;
        }
        let Some((day, bytes)) = kept.trim().split_once(' ') else { return };
        let (Ok(day), Ok(bytes)) = (day.parse::<u64>(), bytes.parse::<u64>()) else { return };
        self.turn_page(unix_s);
        if day == self.day {
            self.spent_bytes = self.spent_bytes.saturating_add(bytes);
        }
    }

    /// The line to keep.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.day, self.spent_bytes)
    }

    /// Whether a part of this size may be fetched, of `daily_bytes` a day; if so it counts until it
    /// is here.
    pub(super) fn allow(
        &mut self,
        role: BlobRole,
        size_bytes: u64,
        daily_bytes: u64,
        unix_s: u64,
    ) -> bool {
        self.turn_page(unix_s);
        let promised: u64 = self.promised.values().sum();
        let after = self.spent_bytes.saturating_add(promised).saturating_add(size_bytes);
        let is_allowed = after <= daily_bytes;
        if is_allowed {
            self.promised.insert(role, size_bytes);
        }
        is_allowed
    }

    /// A part is here, or is not fetched any more.
    pub(super) fn settle(&mut self, role: BlobRole) {
        self.promised.remove(&role);
    }

    /// So many bytes came or went over the network.
    pub(super) fn spend(&mut self, bytes: u64, unix_s: u64) {
        self.turn_page(unix_s);
        self.spent_bytes = self.spent_bytes.saturating_add(bytes);
    }

    /// Whether so many bytes more are within `daily_bytes`, whatever is promised.
    pub(super) fn has_room(&mut self, bytes: u64, daily_bytes: u64, unix_s: u64) -> bool {
        self.turn_page(unix_s);
        self.spent_bytes.saturating_add(bytes) <= daily_bytes
    }

    fn turn_page(&mut self, unix_s: u64) {
        let day = unix_s / DAY_S;
        // A clock that is set back gives no bytes back.
        if day > self.day {
            (self.day, self.spent_bytes) = (day, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const NOON: u64 = 20_000 * DAY_S + DAY_S / 2;

    fn layer(index: u32) -> BlobRole {
        BlobRole::Layer(index)
    }

    #[test]
    fn what_is_under_way_counts_before_it_is_here() {
        let mut budget = Budget::default();
        assert!(budget.allow(layer(0), 60 * MIB, 100 * MIB, NOON));
        assert!(!budget.allow(layer(1), 41 * MIB, 100 * MIB, NOON), "together too many");
        assert!(budget.allow(layer(1), 40 * MIB, 100 * MIB, NOON));
        assert!(budget.has_room(100 * MIB, 100 * MIB, NOON), "but nothing is spent yet");
        // The one is given up, the other comes.
        budget.settle(layer(0));
        budget.settle(layer(1));
        budget.spend(40 * MIB, NOON);
        assert!(budget.allow(layer(2), 60 * MIB, 100 * MIB, NOON));
        assert!(!budget.has_room(60 * MIB + 1, 100 * MIB, NOON));
    }

    #[test]
    fn a_new_day_begins_with_nothing_spent_and_a_clock_set_back_does_not() {
        let mut budget = Budget::default();
        budget.spend(100 * MIB, NOON);
        assert!(!budget.allow(layer(1), 1, 100 * MIB, NOON));
        assert!(!budget.allow(layer(1), 1, 100 * MIB, NOON - DAY_S));
        assert!(!budget.allow(layer(1), 1, 100 * MIB, NOON + DAY_S / 2 - 1));
        assert!(budget.allow(layer(1), 100 * MIB, 100 * MIB, NOON + DAY_S / 2));
    }

    #[test]
    fn a_reload_on_the_same_day_goes_on_with_what_was_spent() {
        let mut before = Budget::default();
        before.spend(70 * MIB, NOON);
        let line = before.line();
        let mut after = Budget::default();
        after.restore(&line, NOON + 60);
        assert!(!after.allow(layer(1), 31 * MIB, 100 * MIB, NOON + 60));
        assert!(after.allow(layer(1), 30 * MIB, 100 * MIB, NOON + 60));
        let mut tomorrow = Budget::default();
        tomorrow.restore(&line, NOON + DAY_S);
        assert!(tomorrow.allow(layer(1), 100 * MIB, 100 * MIB, NOON + DAY_S));
    }

    #[test]
    fn lines_that_make_no_sense_count_as_none() {
        for line in ["", "20000", "x y", "20000 -1", "20000 99999999999999999999999"] {
            let mut budget = Budget::default();
            budget.restore(line, NOON);
            assert!(budget.allow(layer(0), MIB, MIB, NOON), "{line:?}");
        }
        let mut budget = Budget::default();
        budget.restore(&format!("20000 {}", u64::MAX), NOON);
        budget.spend(u64::MAX, NOON);
        assert!(!budget.allow(layer(0), 1, u64::MAX - 1, NOON), "sums do not wrap round");
    }
}

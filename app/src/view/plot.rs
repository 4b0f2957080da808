//! What was done day by day as numbers: a bar a day, laid out by calculation. Pure; `contribution.rs`
//! turns it into SVG.

use potluck_protocol::api::{CONTRIBUTION_DAYS, ContributionView};

/// Width of the drawing.
pub const WIDTH: f64 = 400.0;
/// Height of the highest bar.
pub const HEIGHT: f64 = 72.0;
/// Least height of a day with any credit: it is not nothing.
const LEAST: f64 = 2.0;

/// A day with credit.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Its left end.
    pub x: f64,
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
}

/// A bar for each day with credit, today's rightmost; days out of the plot's range have none.
#[must_use]
pub fn bars(view: &ContributionView) -> Vec<Bar> {
    let each = WIDTH / f64::from(CONTRIBUTION_DAYS);
    let most = view.days.iter().map(|day| day.credit_macs).max().unwrap_or(0).max(1);
    let bar = |day: &potluck_protocol::api::DayView| {
        let back = view.today.checked_sub(day.day).filter(|back| *back < CONTRIBUTION_DAYS)?;
        let share = ratio(day.credit_macs, most);
        let x = WIDTH - f64::from(back + 1) * each;
        let height = if day.credit_macs == 0 { 0.0 } else { (HEIGHT * share).max(LEAST) };
        Some(Bar { x: x + 0.5, width: each - 1.0, height })
    };
    view.days.iter().filter_map(bar).collect()
}

/// Of two counts, at most 1. Thousandths are enough for a drawing.
fn ratio(part: u64, whole: u64) -> f64 {
    let thousandths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    f64::from(u32::try_from(thousandths.min(1_000)).unwrap_or(1_000)) / 1_000.0
}

/// A day since 1970 as `2026-11-27`.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
#[must_use]
pub fn date(day: u32) -> String {
    let days = u64::from(day) + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use potluck_protocol::api::DayView;
    use potluck_protocol::id::NodeId;

    use super::*;

    fn view(days: &[(u32, u64)]) -> ContributionView {
        let day = |(day, credit_macs): &(u32, u64)| DayView {
            day: *day,
            credit_macs: *credit_macs,
            receipts: 1,
        };
        ContributionView {
            node: NodeId([1; 32]),
            today: 20_000,
            days: days.iter().map(day).collect(),
        }
    }

    #[test]
    fn the_best_day_is_the_highest_and_today_is_at_the_right() {
        let bars = bars(&view(&[(19_911, 10), (19_999, 5), (20_000, 20)]));
        let seen: Vec<(f64, f64)> = bars.iter().map(|bar| (bar.x.round(), bar.height)).collect();
        assert_eq!(seen, [(1.0, 36.0), (392.0, 18.0), (396.0, 72.0)]);
        assert!(bars.iter().all(|bar| bar.x >= 0.0 && bar.x + bar.width <= WIDTH));
    }

    #[test]
    fn little_is_seen_and_what_is_out_of_range_is_not_drawn() {
        let bars = bars(&view(&[(19_000, 1), (19_999, 1), (20_000, u64::MAX), (20_001, 1)]));
        assert_eq!(bars.iter().map(|bar| bar.height).collect::<Vec<_>>(), [2.0, 72.0]);
        assert_eq!(super::bars(&view(&[])), []);
    }

    #[test]
    fn days_have_their_dates() {
        let dates = [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_784, "2026-11-27"),
        ];
        for (day, wanted) in dates {
            assert_eq!(date(day), wanted);
        }
    }
}

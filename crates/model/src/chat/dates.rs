//! Dates in a template: what the asker's clock shows, in the letters of C's `strftime`.

use chrono::DateTime;
use chrono::format::{Item, StrftimeItems};

use super::LocalTime;

/// `now` by `pattern`; the reason if it cannot be.
pub(super) fn format(now: LocalTime, pattern: &str) -> Result<String, String> {
    let Some(shown) = DateTime::from_timestamp(now.0, 0) else {
        return Err("the asker's clock shows no year that there is".to_owned());
    };
    let items: Vec<Item<'_>> = StrftimeItems::new(pattern).collect();
    if items.contains(&Item::Error) {
        return Err(format!("strftime_now({pattern:?}) asks for what no date has"));
    }
    Ok(shown.naive_utc().format_with_items(items.into_iter()).to_string())
}

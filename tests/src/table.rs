//! A plain table for a terminal: columns as wide as their widest entry, numbers to the right.

use std::fmt::Write as _;

/// Lays out rows under headings, two spaces between columns. An entry that reads as a number is set
/// to the right.
#[must_use]
pub fn layout(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let entries =
                rows.iter().filter_map(|row| row.get(column)).map(|entry| entry.chars().count());
            entries.chain([heading.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let numeric: Vec<bool> = (0..headings.len())
        .map(|column| rows.iter().all(|row| row.get(column).is_none_or(|entry| is_number(entry))))
        .collect();
    let mut text = String::new();
    let headings = headings.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for (column, (entry, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing into a String cannot fail.
            let _ = if numeric[column] {
                write!(line, "{gap}{entry:>width$}")
            } else {
                write!(line, "{gap}{entry:<width$}")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn is_number(entry: &str) -> bool {
    entry.is_empty() || entry == "-" || entry.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::layout;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let rows = [
            vec!["amber fox".to_owned(), "7".to_owned()],
            vec!["oak".to_owned(), "12.5".to_owned()],
        ];
        assert_eq!(
            layout(&["node", "ms"], &rows),
            "node         ms\namber fox     7\noak        12.5\n"
        );
    }
}

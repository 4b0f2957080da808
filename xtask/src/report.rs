//! What a step of `cargo xtask test` reports, and the two ways to get one: of a command that succeeds
//! or fails, and of a test runner whose tests are counted.

use std::process::Command;

use crate::command::{Failure, Outcome, run, watch};
use crate::count::{Count, closing_lines, count};

/// What a step did.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Tests that its runners reported.
    pub(crate) count: Count,
    /// The runners' closing lines.
    pub(crate) closing: Vec<String>,
    /// Why it did nothing, if so.
    pub(crate) skipped: Option<String>,
    /// What it could not look at.
    pub(crate) note: Option<String>,
}

/// The report of a step that did nothing.
pub(crate) fn skipped(why: &str) -> Report {
    Report { skipped: Some(why.to_owned()), ..Report::default() }
}

/// Runs a command that counts no tests.
pub(crate) fn simple(command: &mut Command, what: &str, remedy: &str) -> Outcome<Report> {
    run(command, what, remedy).map(|()| Report::default())
}

/// Runs a test runner; a failed one still says what it counted, and fails the step by
/// [`Count::failed`] or by the error.
pub(crate) fn counted(command: &mut Command) -> Outcome<Report> {
    let (status, lines) = watch(command)?;
    let closing = closing_lines(&lines).into_iter().map(|(line, _)| line.to_owned()).collect();
    let report = Report { count: count(&lines), closing, ..Report::default() };
    if !status.success() && report.count.failed == 0 {
        return Err(Failure::new(
            format!("the test runner failed ({status})"),
            "read the first error above",
        ));
    }
    if status.success() && report.closing.is_empty() {
        return Err(Failure::new(
            "the test runner reported no tests",
            "has the form of its closing line changed?",
        ));
    }
    Ok(report)
}

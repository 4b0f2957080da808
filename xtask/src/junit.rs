//! Counts the tests in nextest's `JUnit` output.
//!
//! Read by hand, as xtask has no dependencies: nextest escapes every `<` in what tests printed, so
//! an element's start cannot be mistaken. A test that printed `SKIPPED: reason` and passed has not
//! tested anything and counts as skipped.

use crate::count::{Count, says_skipped};

/// The tests of a report.
pub(crate) fn count(report: &str) -> Count {
    let mut count = Count::default();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split_once("</testcase>").map_or(case, |(inside, _)| inside);
        if case.contains("<failure") || case.contains("<error") {
            count.failed += 1;
        } else if case.split(['\n', '>']).any(says_skipped) {
            count.skipped += 1;
        } else {
            count.passed += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nextest 0.9 writes it.
    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="4" failures="1" errors="0" time="0.010">
    <testsuite name="net" tests="4" disabled="0" errors="0" failures="1">
        <testcase name="first" classname="net" time="0.005">
            <system-out>running 1 test
test first ... ok
</system-out>
            <system-err></system-err>
        </testcase>
        <testcase name="second" classname="net" time="0.005">
            <system-err>SKIPPED: no adapter (none found)
</system-err>
        </testcase>
        <testcase name="third" classname="net" time="0.005">
            <failure type="test failure">thread 'third' panicked: &lt;testcase </failure>
            <system-err>one line
SKIPPED: the rest, and then it failed
</system-err>
        </testcase>
        <testcase name="fourth" classname="net" time="0.005" />
    </testsuite>
</testsuites>
"#;

    #[test]
    fn a_test_that_skips_has_not_passed_and_one_that_failed_has_not_skipped() {
        assert_eq!(count(REPORT), Count { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn no_tests_count_nothing() {
        assert_eq!(count("<testsuites></testsuites>"), Count::default());
    }
}

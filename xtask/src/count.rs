//! Adds up what test runners report in their closing lines: `cargo test`, `cargo nextest` and
//! `wasm-bindgen-test-runner`.
//!
//! Closing lines are read, and lines with which a test says that it skips; a runner that dies
//! before it prints one fails its step by its exit status instead. Nextest repeats what a failed test
//! printed, the closing line of that test's own process included, so where it has a summary nothing
//! else counts. Its tests are counted from its `JUnit` output.

use std::ops::AddAssign;

/// Tests that passed, failed, and skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Passed.
    pub(crate) passed: u64,
    /// Failed, timed out ones included.
    pub(crate) failed: u64,
    /// Passed only because what they test is not on this machine.
    pub(crate) skipped: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What all the lines of a run report together.
pub(crate) fn count<S: AsRef<str>>(lines: &[S]) -> Count {
    let mut total = Count::default();
    for (_, count) in closing_lines(lines) {
        total += count;
    }
    let skipped = lines.iter().filter(|line| says_skipped(line.as_ref())).count() as u64;
    total.skipped = skipped.min(total.passed);
    total.passed -= total.skipped;
    total
}

/// True of the line with which a test says that what it needs is not on this machine.
pub(crate) fn says_skipped(line: &str) -> bool {
    line.trim_start().starts_with("SKIPPED: ")
}

/// The closing lines of a run, each with what it reports.
pub(crate) fn closing_lines<S: AsRef<str>>(lines: &[S]) -> Vec<(&str, Count)> {
    let closing = |line| closing_line(line).map(|count| (line, count));
    let mut all: Vec<_> = lines.iter().filter_map(|line| closing(line.as_ref().trim())).collect();
    if all.iter().any(|(line, _)| line.starts_with(NEXTEST)) {
        all.retain(|(line, _)| line.starts_with(NEXTEST));
    }
    all
}

/// How nextest's closing line begins.
const NEXTEST: &str = "Summary [";

/// What a line of output reports, if it is a runner's closing line.
fn closing_line(line: &str) -> Option<Count> {
    let numbers = if let Some(rest) = line.strip_prefix("test result: ") {
        // test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in
        // 0.00s
        rest.split_once(". ")?.1
    } else if let Some(rest) = line.strip_prefix(NEXTEST) {
        // Summary [   1.234s] 12 tests run: 10 passed (1 slow), 1 failed, 1 timed out, 2 skipped
        rest.split_once(" run: ")?.1
    } else {
        return None;
    };
    let mut count = Count::default();
    for part in numbers.split([';', ',']) {
        let mut words = part.split_whitespace();
        let Some(Ok(number)) = words.next().map(str::parse::<u64>) else { continue };
        match words.next() {
            Some("passed") => count.passed += number,
            Some("failed") => count.failed += number,
            Some("timed") if words.next() == Some("out") => count.failed += number,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_test_and_wasm_bindgen() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(closing_line(line), Some(Count { passed: 3, failed: 2, skipped: 0 }));
        let line = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 filtered out";
        assert_eq!(closing_line(line), Some(Count { passed: 5, failed: 0, skipped: 0 }));
    }

    #[test]
    fn nextest() {
        let line = "Summary [   2.120s] 12 tests run: 9 passed (2 slow, 1 leaky), 1 failed, 2 timed out, 4 skipped";
        assert_eq!(closing_line(line), Some(Count { passed: 9, failed: 3, skipped: 0 }));
        assert_eq!(
            closing_line("Summary [   0.006s] 1 test run: 1 passed, 0 skipped"),
            Some(Count { passed: 1, failed: 0, skipped: 0 })
        );
        assert_eq!(
            closing_line("Summary [   0.1s] 3/9 tests run: 2 passed, 1 failed"),
            Some(Count { passed: 2, failed: 1, skipped: 0 })
        );
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        let lines = [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored",
            "     Summary [   1.0s] 2 tests run: 1 passed, 1 failed",
        ];
        let closing = closing_lines(&lines);
        assert_eq!(
            closing,
            [(
                "Summary [   1.0s] 2 tests run: 1 passed, 1 failed",
                Count { passed: 1, failed: 1, skipped: 0 }
            )]
        );
    }

    #[test]
    fn a_test_that_skips_has_not_passed() {
        let lines = [
            "---- on_a_gpu stderr ----",
            "SKIPPED: no adapter",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
        ];
        assert_eq!(count(&lines), Count { passed: 2, failed: 0, skipped: 1 });
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "running 3 tests",
            "test passes ... ok",
            "Summary of changes",
            "",
            "7 passed; 1 failed",
        ] {
            assert_eq!(closing_line(line), None, "{line}");
        }
    }
}

//! Skipping a test where there is no GPU. A test that was skipped has proved nothing, and `ok` is
//! all that the harness says of it: hence a line on stderr that it does not capture and that
//! whoever runs the tests can count. With `POTLUCK_REQUIRE_GPU=1` skipping is a failure.

use std::fmt::Display;
use std::io::Write as _;

/// Says `SKIPPED: <test>: <reason>`; to be called once by a test, which then returns.
///
/// # Panics
/// If a GPU is required, or stderr is closed.
pub(crate) fn skip(reason: &impl Display) {
    let required = std::env::var("POTLUCK_REQUIRE_GPU").is_ok_and(|value| value == "1");
    assert!(!required, "POTLUCK_REQUIRE_GPU=1, but: {reason}");
    let thread = std::thread::current();
    let line = format!("SKIPPED: {}: {reason}\n", thread.name().unwrap_or("a test"));
    // Not `eprintln`, which the harness captures.
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
}

//! The clock of whoever sits at this terminal.

/// What it shows: seconds from 1970-01-01 00:00 as it reads here.
pub(super) fn local_time_s() -> i64 {
    chrono::Local::now().naive_local().and_utc().timestamp()
}

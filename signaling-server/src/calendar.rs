//! The clock on the wall, which others go by as well: relays, grants, owners of sites. What happens
//! within the server goes by the hub's own time instead, which nobody can set.

use std::time::{SystemTime, UNIX_EPOCH};

/// What it shows now, seconds since 1970.
pub(crate) fn unix_now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

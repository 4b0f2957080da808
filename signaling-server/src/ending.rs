//! How the server ends a connection: with a sentence, and with whether and when to come back.

use std::time::Duration;

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The other side went, or nothing can be sent to it any more.
    Gone,
    /// The server ends it.
    Refused {
        /// What was wrong and what to do.
        reason: String,
        /// When it is worth to try again; `None`: never.
        retry_after: Option<Duration>,
    },
}

/// After what may have been over in a moment: a network that broke off, a server that was busy.
const SOON: Duration = Duration::from_secs(1);
/// Where room must become free first.
const BUSY: Duration = Duration::from_secs(10);
/// After what will not go right by itself, such as a message that no version sends: often enough for
/// people who mend it, and nothing to a server that is asked by thousands.
const LATER: Duration = Duration::from_secs(60);
/// A server that stops is back after so long, if somebody starts it again.
const RESTART: Duration = Duration::from_secs(2);
/// Over so long those are spread who come back after a restart: ten thousand handshakes are a few
/// seconds' work.
const RESTART_SPREAD: Duration = Duration::from_secs(8);

impl Ending {
    /// For good: another version, or the same identity elsewhere.
    pub(crate) fn for_good(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), retry_after: None }
    }

    /// Come back at once, more or less.
    pub(crate) fn soon(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), retry_after: Some(SOON) }
    }

    /// Come back when there is room.
    pub(crate) fn busy(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), retry_after: Some(BUSY) }
    }

    /// Something is wrong that must be mended; trying again does no harm.
    pub(crate) fn later(reason: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), retry_after: Some(LATER) }
    }

    /// The server stops. `number` tells connections apart, so that they do not all come back at once.
    pub(crate) fn stopping(number: u64) -> Self {
        let spread_ms = u64::try_from(RESTART_SPREAD.as_millis()).unwrap_or(1);
        // A multiplier that leaves neighbours far apart.
        let later = Duration::from_millis(number.wrapping_mul(2_654_435_761) % spread_ms);
        Self::Refused {
            reason: "the server is stopping or restarting".to_owned(),
            retry_after: Some(RESTART + later),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_come_back_after_a_restart_are_spread() {
        let mut by_second = [0; 10];
        for number in 0..10_000 {
            let Ending::Refused { retry_after: Some(after), .. } = Ending::stopping(number) else {
                panic!("it is not for good")
            };
            by_second[usize::try_from(after.as_secs()).unwrap()] += 1;
        }
        assert_eq!(by_second[..2], [0, 0]);
        assert!(by_second[2..].iter().all(|count| (1_000..1_500).contains(count)), "{by_second:?}");
    }
}

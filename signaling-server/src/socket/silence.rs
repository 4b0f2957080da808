//! When a node that says nothing counts as gone.
//!
//! Silence is counted in ticks of our own that really came while we listened, not in time: while the
//! process stands still (a virtual machine moves, a laptop sleeps), or the connection's task waits
//! for the hub, no tick comes, and nothing is held against the peer. Ticks that were missed are not
//! made up for, so a pause of any length counts as one.

/// Ticks since the peer was heard last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Silence {
    ticks: u8,
}

impl Silence {
    /// The peer said something.
    pub(super) fn heard(&mut self) {
        self.ticks = 0;
    }

    /// A tick came; true if it is the one too many, `limit`.
    pub(super) fn tick(&mut self, limit: u8) -> bool {
        self.ticks = self.ticks.saturating_add(1);
        self.ticks >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ticks_in_a_row_without_a_word_are_too_many() {
        let mut silence = Silence::default();
        for _ in 0..10 {
            assert!(!silence.tick(3));
            assert!(!silence.tick(3));
            silence.heard();
        }
        assert_eq!([silence.tick(3), silence.tick(3), silence.tick(3)], [false, false, true]);
        assert!(silence.tick(3), "and it stays so");
    }
}

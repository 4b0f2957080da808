//! How many rows may be under way: flow control by credit, as in HTTP/2 (RFC 9113, section 5.2).
//!
//! A stage lets its sender have [`INITIAL_WINDOW_ROWS`] rows of a session there, and gives room
//! back once rows have left it. So a long prompt waits at its requester, and everywhere on the way
//! there is a bound to what one session has of it: no reader ever has to stop for one of them, and
//! pings, control frames and other sessions get through.
//!
//! Rows of a session stand at successive positions, so both ends count in positions: how far was
//! sent, and how far may be.

use potluck_protocol::codec::INITIAL_WINDOW_ROWS;

/// A sender's side: what the receiver has room for.
#[derive(Debug)]
pub(super) struct SendWindow {
    /// Where the next row stands.
    sent: u32,
    /// Rows that may be sent in all.
    limit: u32,
}

/// A receiver's side: what its sender may send.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// Rows that came.
    accepted: u32,
    /// Of these, the rows that are gone from here.
    left: u32,
    /// Rows that may come in all.
    limit: u32,
}

/// Room was given that the sender had already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it gave room for {given} rows where {taken} were taken")]
pub(super) struct TooMuchRoom {
    given: u32,
    taken: u32,
}

/// Room is given back when it is so much: a step of the longest kind always fits then, as fewer
/// rows than that are kept back, and a token costs no frame.
const GIVE_BACK_ROWS: u32 = INITIAL_WINDOW_ROWS / 2;

impl SendWindow {
    pub(super) fn new() -> Self {
        Self::at(0)
    }

    /// Of a session that begins at this position.
    pub(super) fn at(position: u32) -> Self {
        Self { sent: position, limit: position + INITIAL_WINDOW_ROWS }
    }

    /// Rows sent so far.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    /// Takes the room for so many rows, if there is as much.
    pub(super) fn take(&mut self, rows: u32) -> bool {
        let fits = rows <= self.limit - self.sent;
        if fits {
            self.sent += rows;
        }
        fits
    }

    /// The receiver has room for more.
    pub(super) fn give(&mut self, rows: u32) -> Result<(), TooMuchRoom> {
        let taken = INITIAL_WINDOW_ROWS - (self.limit - self.sent);
        if rows > taken {
            return Err(TooMuchRoom { given: rows, taken });
        }
        self.limit += rows;
        Ok(())
    }
}

impl ReceiveWindow {
    pub(super) fn new() -> Self {
        Self::at(0)
    }

    /// As [`SendWindow::at`].
    pub(super) fn at(position: u32) -> Self {
        Self { accepted: position, left: position, limit: position + INITIAL_WINDOW_ROWS }
    }

    /// Rows that came.
    pub(super) fn accepted(&self) -> u32 {
        self.accepted
    }

    /// True if the sender may send so many more.
    pub(super) fn has_room(&self, rows: u32) -> bool {
        rows <= self.limit - self.accepted
    }

    /// Rows came that there is room for.
    pub(super) fn accept(&mut self, rows: u32) {
        self.accepted += rows;
    }

    /// Rows are gone from here; the room to be given back for now, if it is worth a frame.
    pub(super) fn leave(&mut self, rows: u32) -> Option<u32> {
        self.left += rows;
        let room = self.left + INITIAL_WINDOW_ROWS - self.limit;
        if room < GIVE_BACK_ROWS {
            return None;
        }
        self.limit += room;
        Some(room)
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::codec::MAX_ROWS;

    use super::*;

    #[test]
    fn a_sender_never_has_more_under_way_than_fits_and_never_gets_stuck() {
        for rows in 1..=u32::try_from(MAX_ROWS).unwrap() {
            let (mut sender, mut receiver) = (SendWindow::new(), ReceiveWindow::new());
            let mut inside = std::collections::VecDeque::new();
            for _ in 0..1000 {
                while sender.take(rows) {
                    assert!(receiver.has_room(rows));
                    receiver.accept(rows);
                    inside.push_back(rows);
                }
                assert!(inside.len() * rows as usize <= INITIAL_WINDOW_ROWS as usize);
                let left = inside.pop_front().expect("a window has room for a step at all times");
                if let Some(room) = receiver.leave(left) {
                    assert_eq!(sender.give(room), Ok(()));
                }
            }
        }
    }

    #[test]
    fn more_than_the_window_holds_is_noticed_at_both_ends() {
        let mut receiver = ReceiveWindow::new();
        receiver.accept(INITIAL_WINDOW_ROWS);
        assert!(!receiver.has_room(1));
        let mut sender = SendWindow::new();
        assert!(sender.take(100));
        assert_eq!(sender.give(101), Err(TooMuchRoom { given: 101, taken: 100 }));
        assert_eq!(sender.give(u32::MAX), Err(TooMuchRoom { given: u32::MAX, taken: 100 }));
        assert_eq!(sender.give(100), Ok(()));
        assert_eq!(sender.give(1), Err(TooMuchRoom { given: 1, taken: 0 }));
    }
}

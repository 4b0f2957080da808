//! Greetings: they show that a channel carries in both directions before a frame is sent on it.
//!
//! A channel that is open here may not be open yet at the other end, and what arrives there too
//! early is thrown away by some stacks although it was acknowledged: with webrtc-rs at both ends
//! about one connection in forty lost its first frame. So each side sends `Hello` on every channel
//! until the other has received it, and sends frames only on channels where it has received
//! something from the other.
//!
//! ```text
//!   open → Hello ─────────→ (lost: not open yet)
//!          received ←────── Hello ← open
//!          Received ──────→ received, and confirmed by the peer
//!          confirmed ←───── Received   (or a frame, which confirms as well)
//! ```

/// The channel is open here, and nothing came from the peer on it so far.
const HELLO: u8 = 2;
/// The channel is open here, and something came from the peer on it.
const RECEIVED: u8 = 3;

/// Greetings taken on one channel. Each side repeats its own every tenth of a second until it is
/// confirmed or the time to open is over, which is 150 times, and answers the other's.
pub(super) const MAX_GREETINGS: u32 = 1024;

/// One channel's state.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// The channel is open at this end.
    open: bool,
    /// Something came from the peer.
    received: bool,
    /// The peer has confirmed that something came from us.
    confirmed: bool,
    /// We have confirmed that something came from the peer.
    answered: bool,
    /// Greetings that came.
    heard: u32,
}

impl Greeting {
    /// The channel opened here; the greeting to send on it.
    pub(super) fn open(&mut self) -> [u8; 1] {
        self.open = true;
        self.greeting()
    }

    /// True once frames may be sent.
    pub(super) fn is_done(&self) -> bool {
        self.open && self.received
    }

    /// Greetings that came. More than [`MAX_GREETINGS`] are a flood: each may be answered, whether
    /// or not the peer takes the answers.
    pub(super) fn heard(&self) -> u32 {
        self.heard
    }

    /// Handles a chunk. `None` if it is no greeting; otherwise the greeting to answer with, if any.
    pub(super) fn handle(&mut self, chunk: &[u8]) -> Option<Option<[u8; 1]>> {
        self.received = true;
        if let [HELLO | RECEIVED] = chunk {
            self.heard = self.heard.saturating_add(1);
        }
        match chunk {
            [HELLO] => Some(self.open.then(|| self.greeting())),
            [RECEIVED] => {
                self.confirmed = true;
                Some((self.open && !self.answered).then(|| self.greeting()))
            }
            _ => {
                // The peer sends frames only after something came from us.
                self.confirmed = true;
                None
            }
        }
    }

    /// The greeting to send again, as the last one may have arrived before the channel was open.
    pub(super) fn repeat(&mut self) -> Option<[u8; 1]> {
        (self.open && !self.confirmed).then(|| self.greeting())
    }

    fn greeting(&mut self) -> [u8; 1] {
        self.answered |= self.received;
        [if self.received { RECEIVED } else { HELLO }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes greetings both ways until there are none, losing those that come before the receiver
    /// is open.
    fn exchange(sides: &mut [Greeting; 2], mut greetings: Vec<(usize, [u8; 1])>) {
        while let Some((from, greeting)) = greetings.pop() {
            let to = &mut sides[1 - from];
            if to.open
                && let Some(answer) = to.handle(&greeting).expect("it is a greeting")
            {
                greetings.push((1 - from, answer));
            }
        }
    }

    #[test]
    fn a_greeting_that_came_too_early_is_made_up_for() {
        for first in 0..2 {
            let mut sides = [Greeting::default(), Greeting::default()];
            let greeting = sides[first].open();
            exchange(&mut sides, vec![(first, greeting)]);
            assert!(!sides[first].is_done(), "nobody is there yet");
            let greeting = sides[1 - first].open();
            exchange(&mut sides, vec![(1 - first, greeting)]);
            assert!(
                sides.iter().all(Greeting::is_done),
                "the first to open receives the second's greeting and answers it"
            );
            assert!(sides.iter_mut().all(|side| side.repeat().is_none()), "{sides:?}");
        }
    }

    #[test]
    fn an_unconfirmed_greeting_is_repeated() {
        let mut sides = [Greeting::default(), Greeting::default()];
        // Both greetings are lost, as each side opened after the other's came.
        for side in &mut sides {
            side.open();
        }
        let greetings = (0..2).filter_map(|from| Some((from, sides[from].repeat()?))).collect();
        exchange(&mut sides, greetings);
        assert!(sides.iter_mut().all(|side| side.is_done() && side.repeat().is_none()));
    }

    #[test]
    fn a_frame_confirms_as_well() {
        let mut side = Greeting::default();
        side.open();
        assert_eq!(side.handle(&[1, 0, 0, 0, 0]), None);
        assert!(side.is_done() && side.repeat().is_none());
    }
}

//! Knowing that a channel carries in both directions before anything is said on it that must not be
//! lost.
//!
//! A channel that is open here may not be open yet at the other end, and what arrives there too
//! early is thrown away by some stacks although it was acknowledged: with webrtc-rs at both ends
//! about one connection in forty lost its first frame. So each side says `Hello` on every channel
//! until the other has heard it, and sends frames only on channels where it has heard the other.
//!
//! ```text
//!   open → Hello ─────────→ (lost: not open yet)
//!          heard ←───────── Hello ← open
//!          HeardYou ──────→ heard, and heard by the peer
//!          heard by the peer ←── HeardYou   (or a frame, which says the same)
//! ```

/// Says that the channel is open here; the peer was not heard on it so far.
const HELLO: u8 = 2;
/// The same, and that the peer was heard.
const HEARD_YOU: u8 = 3;

/// One channel's state.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    /// Open at this end.
    open: bool,
    /// The peer said something on it.
    heard: bool,
    /// The peer said that it heard us.
    confirmed: bool,
    /// We said that we heard the peer.
    answered: bool,
}

impl Greeting {
    /// The channel opened here: what to say on it.
    pub(super) fn open(&mut self) -> [u8; 1] {
        self.open = true;
        self.word()
    }

    /// True once frames may be sent.
    pub(super) fn is_done(&self) -> bool {
        self.open && self.heard
    }

    /// Takes a chunk if it is a greeting; then, `Some` with what to answer, if anything.
    pub(super) fn hear(&mut self, chunk: &[u8]) -> Option<Option<[u8; 1]>> {
        self.heard = true;
        match chunk {
            [HELLO] => Some(self.open.then(|| self.word())),
            [HEARD_YOU] => {
                self.confirmed = true;
                Some((self.open && !self.answered).then(|| self.word()))
            }
            _ => {
                // Frames are sent only after we were heard.
                self.confirmed = true;
                None
            }
        }
    }

    /// What to say again, as it may have come too early.
    pub(super) fn again(&mut self) -> Option<[u8; 1]> {
        (self.open && !self.confirmed).then(|| self.word())
    }

    fn word(&mut self) -> [u8; 1] {
        self.answered |= self.heard;
        [if self.heard { HEARD_YOU } else { HELLO }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes words both ways until silence, losing those that come before the receiver is open.
    fn exchange(sides: &mut [Greeting; 2], mut words: Vec<(usize, [u8; 1])>) {
        while let Some((from, word)) = words.pop() {
            let to = &mut sides[1 - from];
            if to.open
                && let Some(answer) = to.hear(&word).expect("it is a greeting")
            {
                words.push((1 - from, answer));
            }
        }
    }

    #[test]
    fn whatever_came_too_early_is_made_up_for() {
        for first in 0..2 {
            let mut sides = [Greeting::default(), Greeting::default()];
            let word = sides[first].open();
            exchange(&mut sides, vec![(first, word)]);
            assert!(!sides[first].is_done(), "nobody is there yet");
            let word = sides[1 - first].open();
            exchange(&mut sides, vec![(1 - first, word)]);
            assert!(
                sides.iter().all(Greeting::is_done),
                "the second to open is heard by the first, which answers"
            );
            assert!(sides.iter_mut().all(|side| side.again().is_none()), "{sides:?}");
        }
    }

    #[test]
    fn an_unheard_side_says_it_again() {
        let mut sides = [Greeting::default(), Greeting::default()];
        // Both words are lost: each side opened after the other's came.
        for side in &mut sides {
            side.open();
        }
        let words = (0..2).filter_map(|from| Some((from, sides[from].again()?))).collect();
        exchange(&mut sides, words);
        assert!(sides.iter_mut().all(|side| side.is_done() && side.again().is_none()));
    }

    #[test]
    fn a_frame_says_that_we_were_heard() {
        let mut side = Greeting::default();
        side.open();
        assert_eq!(side.hear(&[1, 0, 0, 0, 0]), None);
        assert!(side.is_done() && side.again().is_none());
    }
}

//! How often something may happen: a burst at once, and then so many a second.
//!
//! The generic cell rate algorithm, which keeps one moment a bucket: 16 bytes, and no timer.

use std::collections::HashMap;
use std::time::Duration;

use potluck_protocol::id::NodeId;
use tokio::time::Instant;

/// A rate, shared by everything that is held to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Time in which one is earned.
    interval: Duration,
    /// Time in which a whole burst is earned.
    window: Duration,
}

/// What is left of a rate for one that is held to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// When everything that was used is earned again.
    full_at: Instant,
}

impl Rate {
    /// One each `interval`, and `burst` at once.
    pub(super) const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, window: interval.saturating_mul(burst) }
    }

    /// `count` a second, at least one, and `burst` at once.
    pub(super) fn per_second(count: u32, burst: u32) -> Self {
        Self::new(Duration::from_secs(1) / count.max(1), burst)
    }
}

impl Bucket {
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one at `now`; false if there is none.
    pub(super) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + rate.interval;
        let there_is_one = full_at <= now + rate.window;
        if there_is_one {
            self.full_at = full_at;
        }
        there_is_one
    }

    pub(super) fn is_full(self, now: Instant) -> bool {
        self.full_at <= now
    }
}

/// Offers of one sender: so many in all, and so many to one peer.
///
/// An offer makes its receiver begin a connection anew, with sockets and a key exchange: the dearest
/// thing that a member can ask of another. Beyond the rates offers are dropped, as a lost one is: the
/// sender tries again, and nobody's connection ends.
#[derive(Debug)]
pub(super) struct Offers {
    all: Bucket,
    by_receiver: HashMap<NodeId, Bucket>,
}

/// A node offers to its neighbours in every session that opens, and once more where a connection does
/// not come about: a busy stage of eight requesters' eight sessions at once stays below.
const OFFERS: Rate = Rate::new(Duration::from_millis(125), 128);
/// An attempt to connect takes up to 15 s, and then one may follow; several in a row where a peer
/// begins anew.
const OFFERS_TO_ONE: Rate = Rate::new(Duration::from_secs(3), 6);
/// Receivers that are remembered for it: more than [`OFFERS`] lets one reach before the first are
/// forgotten.
const MAX_RECEIVERS: usize = 256;

impl Offers {
    pub(super) fn new(now: Instant) -> Self {
        Self { all: Bucket::full(now), by_receiver: HashMap::new() }
    }

    /// Counts an offer to `receiver` at `now`; false if it is to be dropped.
    pub(super) fn take(&mut self, receiver: NodeId, now: Instant) -> bool {
        if self.by_receiver.len() >= MAX_RECEIVERS && !self.by_receiver.contains_key(&receiver) {
            self.by_receiver.retain(|_, bucket| !bucket.is_full(now));
            if self.by_receiver.len() >= MAX_RECEIVERS {
                return false;
            }
        }
        let to_one = self.by_receiver.entry(receiver).or_insert_with(|| Bucket::full(now));
        to_one.take(OFFERS_TO_ONE, now) && self.all.take(OFFERS, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `tries` are let through at `now`.
    fn taken(tries: u32, mut take: impl FnMut() -> bool) -> u32 {
        (0..tries).map(|_| u32::from(take())).sum()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (rate, now) = (Rate::per_second(10, 4), Instant::now());
        let mut bucket = Bucket::full(now);
        assert_eq!(taken(9, || bucket.take(rate, now)), 4);
        assert_eq!(taken(9, || bucket.take(rate, now + Duration::from_millis(100))), 1);
        assert_eq!(taken(9, || bucket.take(rate, now + Duration::from_millis(350))), 2);
        // However long nothing came: no more than a burst.
        assert_eq!(taken(9, || bucket.take(rate, now + Duration::from_secs(3600))), 4);
    }

    #[test]
    fn no_rate_is_one_a_second() {
        let (rate, now) = (Rate::per_second(0, 1), Instant::now());
        let mut bucket = Bucket::full(now);
        assert_eq!(taken(3, || bucket.take(rate, now)), 1);
        assert_eq!(taken(3, || bucket.take(rate, now + Duration::from_secs(1))), 1);
    }

    #[test]
    fn offers_to_one_peer_end_sooner_than_those_to_many() {
        let now = Instant::now();
        let mut offers = Offers::new(now);
        let node = |n: u16| NodeId([n.to_le_bytes(); 16].concat().try_into().unwrap());
        assert_eq!(taken(100, || offers.take(node(1), now)), 6, "a flood to one peer");
        assert!(offers.take(node(2), now), "another peer is none the worse");
        assert!(offers.take(node(1), now + Duration::from_secs(3)), "one more after a while");
        let mut peers = 2..;
        let many = taken(1_000, || offers.take(node(peers.next().unwrap()), now));
        assert!((100..=128).contains(&many), "{many}");
        assert!(offers.by_receiver.len() <= MAX_RECEIVERS);
        // Those who were offered nothing for a minute make room.
        assert!(offers.take(node(5_000), now + Duration::from_secs(60)));
        assert_eq!(offers.by_receiver.len(), 1);
    }
}

//! Random numbers that are the same everywhere: `SplitMix64`, for delays and nothing that must be
//! hard to foresee.

use core::time::Duration;

use potluck_protocol::id::NodeId;

#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The numbers of one link, the same in both directions and in every run of `seed`. `None` is
    /// the server.
    pub(super) fn of_link(seed: u64, a: NodeId, b: Option<NodeId>) -> Self {
        let mut random = Self::new(seed);
        let (first, second) = if b.is_some_and(|b| b < a) { (b, Some(a)) } else { (Some(a), b) };
        for id in [first, second].into_iter().flatten() {
            for part in id.0.as_chunks::<8>().0 {
                random.state ^= u64::from_le_bytes(*part);
                random.state = random.next();
            }
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `least` to `most`, in whole microseconds.
    pub(super) fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX - 1);
        least + Duration::from_micros(self.next() % (span + 1))
    }
}

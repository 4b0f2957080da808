//! How many statements one address may send.

use std::collections::HashMap;
use std::net::IpAddr;

/// Statements from one address in an hour: a school behind one address, each of whom changes their
/// mind a few times.
pub(super) const STATEMENTS_AN_HOUR: u32 = 300;
/// Addresses that are remembered. Beyond it, new ones wait until old ones are forgotten.
const MAX_ADDRESSES: usize = 50_000;
const HOUR_S: u64 = 60 * 60;

/// Who sent how many in the hour that began then.
#[derive(Debug, Default)]
pub(super) struct Limits {
    addresses: HashMap<IpAddr, (u64, u32)>,
}

impl Limits {
    /// Counts one; false if it is one too many.
    pub(super) fn take(&mut self, from: IpAddr, now_s: u64) -> bool {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&from) {
            self.addresses.retain(|_, (since_s, _)| *since_s + HOUR_S > now_s);
            if self.addresses.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let (since_s, statements) = self.addresses.entry(from).or_insert((now_s, 0));
        if now_s >= since_s.saturating_add(HOUR_S) {
            (*since_s, *statements) = (now_s, 0);
        }
        *statements = statements.saturating_add(1);
        *statements <= STATEMENTS_AN_HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_an_hours_share_and_there_are_not_too_many() {
        let mut limits = Limits::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for _ in 0..STATEMENTS_AN_HOUR {
            assert!(limits.take(address(1), 10));
        }
        assert!(!limits.take(address(1), 10 + HOUR_S - 1));
        assert!(limits.take(address(2), 10), "another one");
        assert!(limits.take(address(1), 10 + HOUR_S), "another hour");
        let most = u32::try_from(MAX_ADDRESSES).unwrap();
        for n in 3..most {
            limits.take(address(n), 20 + HOUR_S);
        }
        assert!(limits.take(address(1), 20 + HOUR_S), "who is known goes on");
        limits.take(address(most), 20 + HOUR_S);
        assert!(limits.addresses.len() <= MAX_ADDRESSES);
        assert!(limits.take(address(most + 1), 30 + 2 * HOUR_S), "old ones make room");
    }
}

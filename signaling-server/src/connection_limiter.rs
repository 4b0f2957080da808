//! Counts open connections, in all and by address, and lets no more in than the configuration
//! allows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_address::ClientAddress;

/// The connections that are open now.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    max_connections: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// Of IPv6 by network: whoever has one address there has 2^64.
    by_address: HashMap<IpAddr, usize>,
}

/// The right to one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    address: IpAddr,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// As many connections are open as the server takes.
    Total,
    /// As many connections are open from this address as the server takes.
    Address,
}

impl LimitReached {
    /// A sentence for whoever is turned away.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Total => "this server has no more room for connections; try again later",
            Self::Address => "too many connections from this address",
        }
    }
}

impl ConnectionLimiter {
    pub(crate) fn new(max_connections: usize, max_per_address: usize) -> Self {
        Self { max_connections, max_per_address, open: Mutex::default() }
    }

    pub(crate) fn acquire(
        self: &Arc<Self>,
        address: ClientAddress,
    ) -> Result<ConnectionPermit, LimitReached> {
        let address = address.key();
        let mut open = self.lock();
        if open.total >= self.max_connections {
            return Err(LimitReached::Total);
        }
        if open.by_address.get(&address).is_some_and(|open| *open >= self.max_per_address) {
            return Err(LimitReached::Address);
        }
        *open.by_address.entry(address).or_default() += 1;
        open.total += 1;
        Ok(ConnectionPermit { limiter: Arc::clone(self), address })
    }

    /// The counts; they are right even where a thread that held them panicked.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.limiter.lock();
        open.total -= 1;
        if let Some(of_address) = open.by_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    #[test]
    fn permits_are_counted_by_address_and_in_all_and_come_back() {
        let limiter = Arc::new(ConnectionLimiter::new(3, 2));
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(address);
        let first = limiter.acquire(a).unwrap();
        let _second = limiter.acquire(a).unwrap();
        assert_eq!(limiter.acquire(a).unwrap_err(), LimitReached::Address);
        let third = limiter.acquire(b).unwrap();
        assert_eq!(limiter.acquire(c).unwrap_err(), LimitReached::Total);
        drop(first);
        let _fourth = limiter.acquire(a).unwrap();
        drop(third);
        let _fifth = limiter.acquire(c).unwrap();
        let open = limiter.lock();
        assert!(!open.by_address.contains_key(&b.key()), "an address without connections goes");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limiter = Arc::new(ConnectionLimiter::new(9, 2));
        let _first = limiter.acquire(address("2001:db8:0:1::1")).unwrap();
        let _second = limiter.acquire(address("2001:db8:0:1:ffff::2")).unwrap();
        let third = limiter.acquire(address("2001:db8:0:1::3")).unwrap_err();
        assert_eq!(third, LimitReached::Address);
        let _elsewhere = limiter.acquire(address("2001:db8:0:2::1")).unwrap();
    }
}

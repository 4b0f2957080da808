//! Counts open connections, in all and by address, and lets no more in than the configuration
//! allows.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections that are open now.
#[derive(Debug)]
pub(crate) struct ConnectionLimiter {
    max_connections: usize,
    max_connections_per_address: usize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
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
    pub(crate) fn new(max_connections: usize, max_connections_per_address: usize) -> Self {
        Self { max_connections, max_connections_per_address, by_address: Mutex::default() }
    }

    pub(crate) fn acquire(
        self: &Arc<Self>,
        address: IpAddr,
    ) -> Result<ConnectionPermit, LimitReached> {
        let mut by_address = self.lock();
        if by_address.values().sum::<usize>() >= self.max_connections {
            return Err(LimitReached::Total);
        }
        if by_address.get(&address).is_some_and(|open| *open >= self.max_connections_per_address) {
            return Err(LimitReached::Address);
        }
        *by_address.entry(address).or_default() += 1;
        Ok(ConnectionPermit { limiter: Arc::clone(self), address })
    }

    /// The counts; they are right even where a thread that held them panicked.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut by_address = self.limiter.lock();
        if let Some(open) = by_address.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_counted_by_address_and_in_all_and_come_back() {
        let limiter = Arc::new(ConnectionLimiter::new(3, 2));
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let first = limiter.acquire(a).unwrap();
        let _second = limiter.acquire(a).unwrap();
        assert_eq!(limiter.acquire(a).unwrap_err(), LimitReached::Address);
        let third = limiter.acquire(b).unwrap();
        assert_eq!(limiter.acquire(c).unwrap_err(), LimitReached::Total);
        drop(first);
        let _fourth = limiter.acquire(a).unwrap();
        drop(third);
        let _fifth = limiter.acquire(c).unwrap();
        assert!(!limiter.lock().contains_key(&b), "an address without connections takes no room");
    }
}

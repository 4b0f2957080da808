//! Who gives way when there are too many connections: one over which nothing is being answered,
//! the one that has waited longest first.
//!
//! A connection costs nothing to open, so refusing new ones while idle ones are kept would let
//! whoever holds a few thousand open, and says nothing, keep everybody else out. One place may
//! have so many, and all together so many; whoever opens one more loses an idle one of their own.
//! Sockets of nodes are not counted here: they have limits of their own, by proved key.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

/// The connections that are open, each with what ends it.
#[derive(Debug)]
pub(super) struct Connections<H> {
    max: usize,
    max_per_place: usize,
    /// Counts what happens, which orders it as a clock would.
    moment: u64,
    open: HashMap<ConnectionId, Connection<H>>,
    by_place: HashMap<IpAddr, Place>,
    /// All that wait for a request, by since when.
    idle: BTreeMap<u64, ConnectionId>,
}

#[derive(Debug)]
struct Connection<H> {
    /// `None` for a trusted proxy, who brings everybody's.
    place: Option<IpAddr>,
    idle_since: Option<u64>,
    end: H,
}

#[derive(Debug, Default)]
struct Place {
    open: usize,
    idle: BTreeSet<u64>,
}

/// There is no room, and nothing that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl<H> Connections<H> {
    pub(super) fn new(max: usize, max_per_place: usize) -> Self {
        Self {
            max,
            max_per_place,
            moment: 0,
            open: HashMap::new(),
            by_place: HashMap::new(),
            idle: BTreeMap::new(),
        }
    }

    /// A connection came, and waits for its first request; with its name what ends another one,
    /// which has to make room.
    pub(super) fn open(
        &mut self,
        place: Option<IpAddr>,
        end: H,
    ) -> Result<(ConnectionId, Option<H>), Full> {
        let own = place.and_then(|place| self.by_place.get(&place));
        let evicted = match own {
            Some(own) if own.open >= self.max_per_place => {
                let oldest = own.idle.first().and_then(|since| self.idle.get(since));
                Some(*oldest.ok_or(Full)?)
            }
            _ if self.open.len() >= self.max => Some(*self.idle.values().next().ok_or(Full)?),
            _ => None,
        };
        let evicted = evicted.and_then(|id| self.close(id));
        self.moment += 1;
        let id = ConnectionId(self.moment);
        if let Some(place) = place {
            self.by_place.entry(place).or_default().open += 1;
        }
        self.open.insert(id, Connection { place, idle_since: None, end });
        self.idle(id);
        Ok((id, evicted))
    }

    /// A request came over it.
    pub(super) fn busy(&mut self, id: ConnectionId) {
        let Some(connection) = self.open.get_mut(&id) else { return };
        if let Some(since) = connection.idle_since.take() {
            self.idle.remove(&since);
            let place = connection.place.and_then(|place| self.by_place.get_mut(&place));
            place.map(|place| place.idle.remove(&since));
        }
    }

    /// It waits for the next request.
    pub(super) fn idle(&mut self, id: ConnectionId) {
        self.busy(id);
        let Some(connection) = self.open.get_mut(&id) else { return };
        self.moment += 1;
        connection.idle_since = Some(self.moment);
        self.idle.insert(self.moment, id);
        let place = connection.place.and_then(|place| self.by_place.get_mut(&place));
        place.map(|place| place.idle.insert(self.moment));
    }

    /// It ended, or is not to be counted any more; what would have ended it.
    pub(super) fn close(&mut self, id: ConnectionId) -> Option<H> {
        self.busy(id);
        let connection = self.open.remove(&id)?;
        if let Some(address) = connection.place
            && let Some(place) = self.by_place.get_mut(&address)
        {
            place.open -= 1;
            if place.open == 0 {
                self.by_place.remove(&address);
            }
        }
        Some(connection.end)
    }

    /// Takes out the one that has waited longest; what ends it.
    pub(super) fn evict(&mut self) -> Option<H> {
        let oldest = self.idle.values().next().copied()?;
        self.close(oldest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_one_that_waited_longest_makes_room() {
        let mut connections = Connections::new(3, 3);
        let (first, _) = connections.open(place(1), "first").unwrap();
        let (second, _) = connections.open(place(1), "second").unwrap();
        connections.open(place(2), "third").unwrap();
        connections.busy(first);
        assert_eq!(connections.open(place(3), "fourth").unwrap().1, Some("second"));
        // Answered, it waits again, and behind the others.
        connections.idle(first);
        assert_eq!(connections.open(place(3), "fifth").unwrap().1, Some("third"));
        assert_eq!(connections.close(second), None, "it is gone already");
        assert_eq!(connections.close(first), Some("first"));
        assert_eq!(connections.open(place(3), "sixth").unwrap().1, None);
    }

    #[test]
    fn whoever_has_too_many_loses_their_own() {
        let mut connections = Connections::new(100, 2);
        connections.open(place(1), "other").unwrap();
        let (mine, _) = connections.open(place(2), "mine").unwrap();
        let (also_mine, _) = connections.open(place(2), "also mine").unwrap();
        assert_eq!(connections.open(place(2), "one more").unwrap().1, Some("mine"));
        connections.busy(also_mine);
        assert_eq!(connections.open(place(2), "again").unwrap().1, Some("one more"));
        assert_eq!(connections.close(mine), None);
        // A proxy's are everybody's.
        for _ in 0..10 {
            assert_eq!(connections.open(None, "through a proxy").unwrap().1, None);
        }
    }

    #[test]
    fn what_is_being_answered_stays() {
        let mut connections = Connections::new(2, 1);
        let (first, _) = connections.open(place(1), ()).unwrap();
        connections.busy(first);
        assert_eq!(connections.open(place(1), ()), Err(Full));
        let (second, _) = connections.open(place(2), ()).unwrap();
        connections.busy(second);
        assert_eq!(connections.open(place(3), ()), Err(Full));
        assert_eq!(connections.evict(), None);
        connections.idle(second);
        assert_eq!(connections.evict(), Some(()));
    }

    proptest! {
        #[test]
        fn counts_stay_within_their_limits(
            steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..200)
        ) {
            let mut connections = Connections::new(6, 3);
            let mut known = Vec::new();
            for (what, which) in steps {
                if what == 0 || known.is_empty() {
                    let address = place(u8::try_from(which.index(4)).unwrap());
                    known.extend(connections.open(address, ()).map(|(id, _)| id));
                } else {
                    let id = known[which.index(known.len())];
                    match what {
                        1 => connections.busy(id),
                        2 => connections.idle(id),
                        _ => drop(connections.close(id)),
                    }
                }
                let open = connections.open.len();
                prop_assert!(open <= 6);
                let places: usize = connections.by_place.values().map(|place| place.open).sum();
                prop_assert_eq!(places, open);
                prop_assert!(connections.by_place.values().all(|place| place.open <= 3));
                let idle = connections.open.values().filter(|it| it.idle_since.is_some()).count();
                prop_assert_eq!(connections.idle.len(), idle);
                let by_place: usize = connections.by_place.values().map(|it| it.idle.len()).sum();
                prop_assert_eq!(by_place, idle);
            }
        }
    }
}

//! The sites in memory, and how many there may be.

use std::collections::BTreeMap;
use std::sync::Arc;

use potluck_protocol::id::{NodeId, SiteKey};

use super::origin::SiteOrigin;

/// A registered site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) key: SiteKey,
    /// The key that signs its owner's tasks.
    pub(crate) owner: NodeId,
    pub(crate) name: String,
    pub(crate) origins: Vec<Bound>,
    /// False if its owner has switched it off.
    pub(crate) is_on: bool,
    /// Seconds since 1970.
    pub(crate) registered_s: u64,
}

/// An origin that a site's key is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) origin: SiteOrigin,
    /// When the key was found there, seconds since 1970.
    pub(crate) proved_s: Option<u64>,
}

impl Site {
    /// The origins that carry its key: where its widget may be shown.
    pub(crate) fn proved(&self) -> impl Iterator<Item = &SiteOrigin> {
        self.origins.iter().filter(|bound| bound.proved_s.is_some()).map(|bound| &bound.origin)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Registry {
    sites: BTreeMap<SiteKey, Arc<Site>>,
}

/// Sites of one owner at most.
pub(super) const MAX_SITES_OF_OWNER: usize = 32;
/// Sites at most: several megabytes, and an answer of two to everybody who asks for the list.
pub(super) const MAX_SITES: usize = 10_000;
/// A site that nobody has proved for so long makes room for another, seconds.
const UNPROVED_S: u64 = 7 * 24 * 60 * 60;

/// Why there is no room for a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    Owner,
    Server,
}

impl Registry {
    pub(super) fn new(sites: Vec<Site>) -> Self {
        Self { sites: sites.into_iter().map(|site| (site.key, Arc::new(site))).collect() }
    }

    pub(super) fn site(&self, key: SiteKey) -> Option<Arc<Site>> {
        self.sites.get(&key).cloned()
    }

    /// All, in the order of their registration.
    pub(super) fn all(&self) -> Vec<Arc<Site>> {
        let mut all: Vec<_> = self.sites.values().cloned().collect();
        all.sort_by_key(|site| (site.registered_s, site.key));
        all
    }

    /// Room for one more of `owner`; a site that has to go first, if one has to.
    pub(super) fn room(&self, owner: NodeId, now_s: u64) -> Result<Option<SiteKey>, NoRoom> {
        if self.sites.values().filter(|site| site.owner == owner).count() >= MAX_SITES_OF_OWNER {
            return Err(NoRoom::Owner);
        }
        if self.sites.len() < MAX_SITES {
            return Ok(None);
        }
        let is_stale = |site: &&Arc<Site>| {
            site.proved().next().is_none() && now_s > site.registered_s.saturating_add(UNPROVED_S)
        };
        let stale = self.sites.values().filter(is_stale).min_by_key(|site| site.registered_s);
        stale.map(|site| Some(site.key)).ok_or(NoRoom::Server)
    }

    pub(super) fn put(&mut self, site: Site) {
        self.sites.insert(site.key, Arc::new(site));
    }

    pub(super) fn remove(&mut self, key: SiteKey) {
        self.sites.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u128, owner: u8, registered_s: u64, is_proved: bool) -> Site {
        let origin = SiteOrigin::parse("https://a.example", false).unwrap();
        Site {
            key: SiteKey(number.to_be_bytes()),
            owner: NodeId([owner; 32]),
            name: "a".to_owned(),
            origins: vec![Bound { origin, proved_s: is_proved.then_some(1) }],
            is_on: true,
            registered_s,
        }
    }

    #[test]
    fn an_owner_has_so_many_and_a_server_too() {
        let me = NodeId([1; 32]);
        let mut registry = Registry::default();
        for number in 0..MAX_SITES_OF_OWNER as u128 {
            assert_eq!(registry.room(me, 0), Ok(None));
            registry.put(site(number, 1, 0, true));
        }
        assert_eq!(registry.room(me, 0), Err(NoRoom::Owner));
        assert_eq!(registry.room(NodeId([2; 32]), 0), Ok(None));
        registry.put(site(999_999, 3, 5, false));
        for number in registry.all().len()..MAX_SITES {
            registry.put(site(number as u128 + 1_000_000, 4, 0, true));
        }
        let other = NodeId([2; 32]);
        assert_eq!(registry.room(other, 5 + UNPROVED_S), Err(NoRoom::Server));
        let stale = SiteKey(999_999_u128.to_be_bytes());
        assert_eq!(registry.room(other, 6 + UNPROVED_S), Ok(Some(stale)), "nobody proved it");
    }
}

//! What the page's address, and what was lent before, may preselect. It never starts anything: consent
//! stays a click.
//!
//! `?backend=gpu|cpu|auto`, `?memory_mib=N`, `?seed=N`. What cannot be read is ignored, because an
//! address is often typed or cut off.

use potluck_protocol::grant::Limits;
use potluck_protocol::page::BackendPreference;

/// Choices made by the address, with defaults for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What may compute.
    pub backend: BackendPreference,
    /// Memory that may be used, MiB, within [`MIN_MEMORY_MIB`] and [`MAX_MEMORY_MIB`].
    pub memory_mib: u64,
    /// The seed for the next question; below 2^53.
    pub seed: Option<u64>,
}

/// Least memory worth offering, MiB: one layer of the smallest model with its caches.
pub const MIN_MEMORY_MIB: u64 = 1;
/// Most memory that can be offered, MiB: what a desktop GPU may hold. CPU nodes are limited further
/// by the 4 GiB of wasm.
pub const MAX_MEMORY_MIB: u64 = 64 * 1024;
/// What is offered unless chosen otherwise, MiB: small enough for a telephone.
pub const DEFAULT_MEMORY_MIB: u64 = 1024;
/// One past the highest seed: a JavaScript number holds every integer below it.
pub const SEED_LIMIT: u64 = 1 << 53;

impl Default for Options {
    fn default() -> Self {
        Self { backend: BackendPreference::Auto, memory_mib: DEFAULT_MEMORY_MIB, seed: None }
    }
}

impl Options {
    /// Begins with what was agreed to at an earlier visit.
    #[must_use]
    pub fn lent_before(limits: &Limits) -> Self {
        Self { memory_mib: clamp_memory(limits.memory_bytes >> 20), ..Self::default() }
    }

    /// Reads the query of an address, with or without its question mark.
    #[must_use]
    pub fn from_query(query: &str) -> Self {
        Self::default().with_query(query)
    }

    /// The same over what is preselected already: the address is newer.
    #[must_use]
    pub fn with_query(self, query: &str) -> Self {
        let mut options = self;
        for pair in query.trim_start_matches('?').split('&') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            match (key, value) {
                ("backend", "gpu") => options.backend = BackendPreference::Gpu,
                ("backend", "cpu") => options.backend = BackendPreference::Cpu,
                ("backend", "auto") => options.backend = BackendPreference::Auto,
                ("memory_mib", _) => {
                    options.memory_mib = value.parse().map_or(options.memory_mib, clamp_memory)
                }
                ("seed", _) => options.seed = value.parse().ok().filter(|seed| *seed < SEED_LIMIT),
                _ => {}
            }
        }
        options
    }
}

/// The nearest amount of memory that can be offered, MiB.
#[must_use]
pub fn clamp_memory(memory_mib: u64) -> u64 {
    memory_mib.clamp(MIN_MEMORY_MIB, MAX_MEMORY_MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_preselects() {
        let options = Options::from_query("?backend=gpu&memory_mib=256&seed=42");
        assert_eq!(
            options,
            Options { backend: BackendPreference::Gpu, memory_mib: 256, seed: Some(42) }
        );
    }

    #[test]
    fn what_was_lent_before_is_where_the_next_visit_begins_unless_the_address_says_more() {
        let lent = Options::lent_before(&Limits { memory_bytes: 256 << 20, ..Limits::default() });
        assert_eq!(lent, Options { memory_mib: 256, ..Options::default() });
        assert_eq!(lent.with_query("?seed=7").memory_mib, 256);
        assert_eq!(lent.with_query("?memory_mib=64").memory_mib, 64);
        let hostile = Limits { memory_bytes: u64::MAX, ..Limits::default() };
        assert_eq!(Options::lent_before(&hostile).memory_mib, MAX_MEMORY_MIB);
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for query in [
            "",
            "?",
            "?backend",
            "?backend=quantum&memory_mib=lots&seed=-1",
            "&&&=",
            "?seed=9007199254740992",
        ] {
            assert_eq!(Options::from_query(query), Options::default(), "{query}");
        }
    }

    #[test]
    fn memory_stays_within_its_limits() {
        assert_eq!(Options::from_query("memory_mib=0").memory_mib, MIN_MEMORY_MIB);
        assert_eq!(Options::from_query("memory_mib=99999999").memory_mib, MAX_MEMORY_MIB);
    }
}

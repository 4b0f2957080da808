//! What happens when, in virtual time. What is due at the same time happens in the order in which
//! it was put in, so that a run can be repeated.

use core::cmp::Ordering;
use core::time::Duration;
use std::collections::BinaryHeap;

/// Things to come, the earliest first.
#[derive(Debug)]
pub struct Agenda<T> {
    entries: BinaryHeap<Entry<T>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    number: u64,
    item: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), pushed: 0 }
    }
}

impl<T> Agenda<T> {
    /// Puts in what is due at `at`.
    pub fn push(&mut self, at: Duration, item: T) {
        self.pushed += 1;
        self.entries.push(Entry { at, number: self.pushed, item });
    }

    /// When the earliest is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.entries.peek().map(|entry| entry.at)
    }

    /// Takes out the earliest, with the time it is due.
    pub fn pop(&mut self) -> Option<(Duration, T)> {
        self.entries.pop().map(|entry| (entry.at, entry.item))
    }
}

impl<T> Entry<T> {
    /// The other way round: the heap gives out the greatest.
    fn key(&self) -> core::cmp::Reverse<(Duration, u64)> {
        core::cmp::Reverse((self.at, self.number))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

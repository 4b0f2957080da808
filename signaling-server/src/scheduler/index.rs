//! What is asked of all nodes at once, kept with every change instead of counted: who has a layer
//! ready, how many copies of each there are, how many nodes of which kind.
//!
//! Each node has one entry, which follows from what is known of it alone; whoever changes a node
//! takes its entry out and puts the new one in ([`Scheduler::change`](super::Scheduler)). So the
//! index is always what one would find by looking at all nodes.

use std::collections::BTreeSet;

use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::NodeKind;

use super::nodes::NodeState;
use super::routing::{Holder, Holders};
use super::view::Totals;

/// What the index knows of a registered node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    node: NodeId,
    kind: NodeKind,
    /// The layers that it was assigned.
    assigned: Option<LayerRange>,
    is_serving: bool,
    /// It is paused: nothing is routed through it, whatever it holds.
    is_paused: bool,
    memory_bytes: u64,
    rows: u64,
    holder: Option<Holder>,
}

/// Sums over all registered nodes, and the ways to them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    lenders: BTreeSet<NodeId>,
    holders: Holders,
    /// How many nodes serve a layer: have all of their assignment ready, and it is in it.
    copies: Vec<u32>,
    browsers: usize,
    serving: usize,
    fetching: usize,
    // What nodes say of themselves may sum up to more than 64 bits.
    memory_bytes: u128,
    rows: u128,
    missing: Missing,
}

/// The layers that nobody has ready.
#[derive(Debug)]
struct Missing {
    layers: Vec<LayerRange>,
    version: u64,
}

/// The version only says that something changed.
impl PartialEq for Missing {
    fn eq(&self, other: &Self) -> bool {
        self.layers == other.layers
    }
}

impl Eq for Missing {}

impl Entry {
    /// The entry of a node; `None` if it does not lend.
    pub(super) fn of(node: NodeId, state: &NodeState) -> Option<Self> {
        let registration = state.registration.as_ref()?;
        let ready = registration.ready.filter(|_| !registration.is_paused());
        let holder = ready.map(|layers| Holder {
            node,
            layers,
            is_suspect: state.is_suspect,
            load: (u64::from(state.sessions) + 1) * state.standing.weight(),
            macs_per_ms: state.macs_per_ms(),
        });
        Some(Self {
            node,
            kind: registration.capabilities.kind,
            assigned: registration.assigned,
            is_serving: registration.is_serving(),
            is_paused: registration.is_paused(),
            memory_bytes: registration.capabilities.memory_bytes,
            rows: registration.report.tokens,
            holder,
        })
    }

    fn is_fetching(&self) -> bool {
        !self.is_serving && !self.is_paused && self.assigned.is_some()
    }

    /// The layers that it serves.
    fn served(&self) -> Option<LayerRange> {
        self.assigned.filter(|_| self.is_serving)
    }

    fn ready(&self) -> Option<LayerRange> {
        self.holder.map(|holder| holder.layers)
    }
}

impl Index {
    /// Without nodes, of a model of so many layers.
    pub(super) fn new(layers: u32) -> Self {
        let holders = Holders::new(layers);
        let missing = Missing { layers: holders.missing(), version: 1 };
        Self {
            lenders: BTreeSet::new(),
            holders,
            copies: vec![0; layers as usize],
            browsers: 0,
            serving: 0,
            fetching: 0,
            memory_bytes: 0,
            rows: 0,
            missing,
        }
    }

    /// A node's entry is another one now.
    pub(super) fn replace(&mut self, before: Option<Entry>, after: Option<Entry>) {
        if before == after {
            return;
        }
        if let Some(before) = &before {
            self.remove(before);
        }
        if let Some(after) = &after {
            self.insert(after);
        }
        let ready = |entry: Option<Entry>| entry.and_then(|entry| entry.ready());
        if ready(before) != ready(after) {
            let missing = self.holders.missing();
            if missing != self.missing.layers {
                self.missing = Missing { layers: missing, version: self.missing.version + 1 };
            }
        }
    }

    fn insert(&mut self, entry: &Entry) {
        self.lenders.insert(entry.node);
        self.browsers += usize::from(entry.kind == NodeKind::Browser);
        self.serving += usize::from(entry.is_serving);
        self.fetching += usize::from(entry.is_fetching());
        self.memory_bytes += u128::from(entry.memory_bytes);
        self.rows += u128::from(entry.rows);
        for copies in self.copies_of(entry.served()) {
            *copies += 1;
        }
        if let Some(holder) = &entry.holder {
            self.holders.insert(holder);
        }
    }

    fn remove(&mut self, entry: &Entry) {
        self.lenders.remove(&entry.node);
        self.browsers -= usize::from(entry.kind == NodeKind::Browser);
        self.serving -= usize::from(entry.is_serving);
        self.fetching -= usize::from(entry.is_fetching());
        self.memory_bytes -= u128::from(entry.memory_bytes);
        self.rows -= u128::from(entry.rows);
        for copies in self.copies_of(entry.served()) {
            *copies -= 1;
        }
        if let Some(holder) = &entry.holder {
            self.holders.remove(holder);
        }
    }

    fn copies_of(&mut self, layers: Option<LayerRange>) -> &mut [u32] {
        let range = layers.map_or(0..0, |layers| layers.first as usize..layers.end as usize);
        self.copies.get_mut(range).unwrap_or_default()
    }

    /// The registered nodes, by key.
    pub(super) fn lenders(&self) -> &BTreeSet<NodeId> {
        &self.lenders
    }

    pub(super) fn holders(&self) -> &Holders {
        &self.holders
    }

    /// The layers that nobody has ready, as ranges in order.
    pub(super) fn missing(&self) -> &[LayerRange] {
        &self.missing.layers
    }

    /// Another number after every change of [`Self::missing`].
    pub(super) fn missing_version(&self) -> u64 {
        self.missing.version
    }

    /// By layer, how many nodes serve it.
    pub(super) fn copies(&self) -> &[u32] {
        &self.copies
    }

    pub(super) fn totals(&self) -> Totals {
        let nodes = self.lenders.len();
        Totals {
            nodes,
            browsers: self.browsers,
            natives: nodes - self.browsers,
            serving: self.serving,
            fetching: self.fetching,
            waiting: nodes - self.serving - self.fetching,
            memory_bytes: u64::try_from(self.memory_bytes).unwrap_or(u64::MAX),
            rows: u64::try_from(self.rows).unwrap_or(u64::MAX),
        }
    }
}

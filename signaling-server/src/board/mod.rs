//! What everybody is told of swarm and tally: made at most once a second, however many ask, and only
//! while somebody does.
//!
//! Whoever asks gets what was made last. If that is a little old, a newer one is begun, and nobody
//! waits for it; only after a silence somebody has to.

mod leaders;
mod rate;
mod swarm;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use potluck_ledger::work::format_gmac;
use potluck_protocol::api::{
    BUILD_EVENT, MAX_LISTED_NODES, NodesPage, SWARM_EVENT, TALLY_EVENT, TallyRow,
};
use potluck_protocol::id::NodeId;
use potluck_protocol::room::RoomId;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use crate::hub::Hub;
use crate::models::Models;
use crate::page_index::PageIndex;
use crate::rendered::Rendered;
use crate::store::{Contributor, Store};
use leaders::{Boards, Leaders};
use rate::RowRate;

/// Made anew at most so often.
const EVERY: Duration = Duration::from_secs(1);
/// Older than this it is given to nobody any more.
const STALE: Duration = Duration::from_millis(1_500);
/// For the hub and the store to say how things are.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows of the tally that are kept, and so given at most.
const MAX_ROWS: usize = 1000;
/// Rows of the tally if nobody says how many, and of its event.
const ROWS: usize = 100;

/// Where it is known how things are.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Whose tally it is; `None` is the public swarm.
    pub(crate) room: Option<RoomId>,
    pub(crate) hub: Hub,
    pub(crate) store: Store,
    pub(crate) models: Arc<Models>,
    pub(crate) page: Option<Arc<PageIndex>>,
}

/// What everybody is told.
#[derive(Debug)]
pub(crate) struct Board {
    sources: Sources,
    published: watch::Sender<Option<Arc<Snapshot>>>,
    /// Held while a new one is made.
    making: tokio::sync::Mutex<()>,
    rate: Mutex<RowRate>,
    leaders: Leaders,
    start: Instant,
}

/// How things were at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    at: Instant,
    pub(crate) swarm: Rendered,
    pub(crate) tally: Rendered,
    /// Each as JSON.
    rows: Vec<String>,
    /// As frames of an event stream: what it is of, and the frame.
    pub(crate) events: Vec<Event>,
}

/// What is pushed when it is another than before.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    pub(crate) frame: Bytes,
}

/// Nothing can be told now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BoardError {
    /// The hub does not answer, or ends.
    #[error("the hub does not answer")]
    Hub,
    /// The store does not answer.
    #[error("the store does not answer")]
    StoreTimeout,
    /// The store failed.
    #[error("the tally cannot be read")]
    Store(#[source] anyhow::Error),
    /// Never, as all that is told can be written.
    #[error("the view cannot be written")]
    Json(#[from] serde_json::Error),
}

impl Board {
    pub(crate) fn new(sources: Sources) -> Self {
        Self {
            sources,
            published: watch::Sender::new(None),
            making: tokio::sync::Mutex::default(),
            rate: Mutex::default(),
            leaders: Leaders::default(),
            start: Instant::now(),
        }
    }

    /// How things are, or were a moment ago.
    pub(crate) async fn snapshot(self: &Arc<Self>) -> Result<Arc<Snapshot>, BoardError> {
        match self.latest(STALE) {
            Some(snapshot) => {
                if snapshot.at.elapsed() > EVERY && self.making.try_lock().is_ok() {
                    let board = Arc::clone(self);
                    // Whoever asks after it failed learns of that.
                    tokio::spawn(async move { board.make().await });
                }
                Ok(snapshot)
            }
            None => self.make().await,
        }
    }

    /// What is published when it changes; see [`Board::keep_up`].
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Snapshot>>> {
        self.published.subscribe()
    }

    /// Makes a new one every second while there are subscribers.
    pub(crate) async fn keep_up(&self) -> Infallible {
        let mut seconds = interval(EVERY);
        loop {
            seconds.tick().await;
            if self.published.receiver_count() > 0
                && let Err(error) = self.make().await
            {
                tracing::warn!(%error, "nothing new can be told");
            }
        }
    }

    fn latest(&self, max_age: Duration) -> Option<Arc<Snapshot>> {
        self.published.borrow().clone().filter(|it| it.at.elapsed() < max_age)
    }

    async fn make(&self) -> Result<Arc<Snapshot>, BoardError> {
        let _alone = self.making.lock().await;
        // Another may have made one meanwhile.
        if let Some(snapshot) = self.latest(EVERY / 2) {
            return Ok(snapshot);
        }
        let Sources { room, hub, store, models, page } = &self.sources;
        let view = timeout(PATIENCE, hub.view(MAX_LISTED_NODES)).await;
        let view = view.ok().flatten().ok_or(BoardError::Hub)?;
        let most = u32::try_from(MAX_ROWS).unwrap_or(u32::MAX);
        let contributors = timeout(PATIENCE, store.contributors(*room, most))
            .await
            .map_err(|_| BoardError::StoreTimeout)?
            .map_err(|error| BoardError::Store(error.into()))?;
        let names = names(store, view.nodes.iter().map(|node| node.node).collect()).await?;
        let build = match page {
            Some(page) => page.build().await,
            None => None,
        };
        let rows_per_s = self
            .rate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .at(self.start.elapsed(), view.totals.rows);
        let swarm = Rendered::json(&swarm::swarm(models, &view, &names, rows_per_s))?;
        let rows = contributors.into_iter().map(|it| serde_json::to_string(&row(it)));
        let rows = rows.collect::<Result<Vec<String>, _>>()?;
        let tally = list(&rows, ROWS);
        let mut events = vec![event(SWARM_EVENT, &swarm.body), event(TALLY_EVENT, &tally.body)];
        events.splice(0..0, build.map(|build| event(BUILD_EVENT, build.as_bytes())));
        let snapshot = Arc::new(Snapshot { at: Instant::now(), swarm, tally, rows, events });
        self.published.send_replace(Some(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Who earned most, as it was a moment ago.
    pub(crate) async fn boards(&self) -> Result<Arc<Boards>, BoardError> {
        let Sources { room, store, .. } = &self.sources;
        self.leaders.latest(store, *room).await
    }

    /// The volunteers' nodes behind `after`, at most `limit`.
    pub(crate) async fn nodes(
        &self,
        after: Option<NodeId>,
        limit: usize,
    ) -> Result<NodesPage, BoardError> {
        let limit = limit.clamp(1, MAX_LISTED_NODES);
        // One more than wanted says whether there are more.
        let asked = timeout(PATIENCE, self.sources.hub.nodes(after, limit + 1)).await;
        let mut nodes = asked.ok().flatten().ok_or(BoardError::Hub)?;
        let more = nodes.len() > limit;
        nodes.truncate(limit);
        let names =
            names(&self.sources.store, nodes.iter().map(|node| node.node).collect()).await?;
        let describe = |node| swarm::describe(&self.sources.models, node, &names);
        Ok(NodesPage {
            nodes: nodes.iter().map(describe).collect(),
            next: nodes.last().filter(|_| more).map(|node| node.node),
        })
    }
}

impl Snapshot {
    /// The tally's first rows.
    pub(crate) fn tally(&self, limit: Option<usize>) -> Rendered {
        match limit {
            None => self.tally.clone(),
            Some(limit) => list(&self.rows, limit.min(MAX_ROWS)),
        }
    }
}

/// The names that these nodes chose.
async fn names(store: &Store, nodes: Vec<NodeId>) -> Result<HashMap<NodeId, String>, BoardError> {
    timeout(PATIENCE, store.names(&nodes))
        .await
        .map_err(|_| BoardError::StoreTimeout)?
        .map_err(|error| BoardError::Store(error.into()))
}

/// The first of `rows` as a list in JSON.
fn list(rows: &[String], limit: usize) -> Rendered {
    let listed = rows[..limit.min(rows.len())].join(",");
    Rendered::new(format!("[{listed}]").into(), "application/json")
}

/// A frame of an event stream. JSON as it is written here, and a build's name, are one line.
fn event(name: &'static str, data: &[u8]) -> Event {
    let frame = [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"].concat();
    Event { name, frame: frame.into() }
}

fn row(contributor: Contributor) -> TallyRow {
    TallyRow {
        node: contributor.node,
        name: contributor.node.name(),
        called: contributor.called,
        kind: contributor.kind,
        credit_gmac: format_gmac(contributor.macs).parse().unwrap_or(0.0),
        credit_macs: contributor.macs,
        receipts: contributor.receipts,
    }
}

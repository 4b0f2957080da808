//! `GET /api/v1/events`: swarm, tally and the page's build as server-sent events, when they change.
//!
//! A subscriber who reads slowly misses what was between, not what is: nothing is queued for it. One
//! who does not read at all is let go by the time limit on writes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use tokio::sync::watch;

use super::error::HttpError;
use crate::app::App;
use crate::board::{Event, Snapshot};
use crate::client_address::ClientAddress;
use crate::connection_limiter::{ConnectionPermit, LimitReached};

/// A comment is sent after so long without an event: proxies end what is silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a subscription begins with: how long to wait before it is renewed, milliseconds.
const RETRY: Bytes = Bytes::from_static(b"retry: 3000\n\n");
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

pub(super) async fn events(
    State(app): State<Arc<App>>,
    Extension(address): Extension<ClientAddress>,
) -> Result<Response, HttpError> {
    let permit = app.subscribers.acquire(address).map_err(|limit| match limit {
        LimitReached::Total => HttpError::Busy("too many are told of changes now; ask again later"),
        LimitReached::Address => HttpError::TooMany("too many are told of changes at this address"),
    })?;
    let board = &app.rooms.public().board;
    let published = board.subscribe();
    let feed = Feed {
        ready: VecDeque::from([RETRY]),
        sent: Vec::new(),
        published,
        stopping: app.stopping.clone(),
        _permit: permit,
    };
    let feed = feed.with(&*board.snapshot().await?);
    let body = Body::from_stream(futures::stream::unfold(feed, Feed::next));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would gather events until a buffer is full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One subscription.
struct Feed {
    ready: VecDeque<Bytes>,
    /// The last of each event.
    sent: Vec<Event>,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
    stopping: watch::Receiver<bool>,
    _permit: ConnectionPermit,
}

impl Feed {
    /// Takes what is new in `snapshot`.
    fn with(mut self, snapshot: &Snapshot) -> Self {
        for event in &snapshot.events {
            match self.sent.iter_mut().find(|sent| sent.name == event.name) {
                Some(sent) if sent.frame == event.frame => continue,
                Some(sent) => *sent = event.clone(),
                None => self.sent.push(event.clone()),
            }
            self.ready.push_back(event.frame.clone());
        }
        self
    }

    /// The next bytes; `None` when the server stops.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some((Ok(bytes), self));
            }
            let changed = tokio::select! {
                changed = self.published.changed() => changed.map(|()| true).ok()?,
                () = tokio::time::sleep(KEEP_ALIVE) => false,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            let snapshot = self.published.borrow_and_update().clone();
            match snapshot.filter(|_| changed) {
                Some(snapshot) => self = self.with(&snapshot),
                None => self.ready.push_back(COMMENT),
            }
        }
    }
}

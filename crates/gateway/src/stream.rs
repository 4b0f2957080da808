//! Answers as they come: server-sent events, or a line of JSON each.
//!
//! A client that reads slowly is waited for, one that reads nothing is let go, and one that is gone has
//! its question cancelled: whatever makes the events ends with the client.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use futures::stream::unfold;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Events on their way to a client at most.
const UNDER_WAY: usize = 64;
/// How long a client may read nothing while there is something to read.
const SLOW_CLIENT: Duration = Duration::from_secs(60);
/// How often a client that waits hears that its question does too: proxies give up after 30 to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Where events go.
#[derive(Debug)]
pub(crate) struct Sink<T>(mpsc::Sender<T>);

/// The client is gone, or does not read.
#[derive(Debug)]
pub(crate) struct Gone;

impl<T> Sink<T> {
    /// Sends one, as soon as the client has room for it.
    pub(crate) async fn send(&self, event: T) -> Result<(), Gone> {
        match timeout(SLOW_CLIENT, self.0.send(event)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

impl Sink<Event> {
    /// Sends data without a name.
    pub(crate) async fn data(&self, data: &Value) -> Result<(), Gone> {
        self.send(Event::default().data(data.to_string())).await
    }

    /// Sends data under a name.
    pub(crate) async fn named(&self, name: &str, data: &Value) -> Result<(), Gone> {
        self.send(Event::default().event(name).data(data.to_string())).await
    }
}

/// Server-sent events, made by `produce` for as long as the client is there.
pub(crate) fn events<F>(produce: impl FnOnce(Sink<Event>) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE).text("waiting");
    let mut response = Sse::new(produced(produce)).keep_alive(keep_alive).into_response();
    // A proxy that collects would make one piece of it.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Lines of JSON, likewise.
pub(crate) fn lines<F>(produce: impl FnOnce(Sink<Bytes>) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let json = HeaderValue::from_static("application/x-ndjson");
    let mut response = Body::from_stream(produced(produce)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl Sink<Bytes> {
    /// Sends one line.
    pub(crate) async fn line(&self, data: &Value) -> Result<(), Gone> {
        self.send(Bytes::from(format!("{data}\n"))).await
    }
}

fn produced<T, F>(
    produce: impl FnOnce(Sink<T>) -> F,
) -> impl Stream<Item = Result<T, Infallible>> + Send + 'static
where
    T: Send + 'static,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let client = sender.clone();
    let produced = produce(Sink(sender));
    tokio::spawn(async move {
        tokio::select! {
            _ = produced => {}
            () = client.closed() => {}
        }
    });
    unfold(receiver, |mut receiver| async move { Some((Ok(receiver.recv().await?), receiver)) })
}
